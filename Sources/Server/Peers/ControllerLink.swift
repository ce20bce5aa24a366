internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Sharding
internal import Synchronization
internal import Wire

/// A group node's line to the controller.
final class ControllerLink: Sendable {
    private let addresses: [String]
    private let caller = LeaderCaller(connections: ConnectionPool())
    private let leader = Mutex<String?>(nil)

    init(_ addresses: [String]) { self.addresses = addresses }

    private func call<Result: Sendable>(
        timeout: Duration = .seconds(5),
        _ body:
            @escaping @Sendable (Flotilla_V1_Controller.Client<Connection.Transport>, CallOptions) async throws ->
            Result
    ) async throws -> Result {
        let hint = leader.withLock { $0 }
        do {
            let (result, address) = try await caller.call(addresses, first: hint, timeout: timeout) { client, options in
                try await body(Flotilla_V1_Controller.Client(wrapping: client), options)
            }
            leader.withLock { $0 = address }
            return result
        } catch {
            leader.withLock { $0 = nil }
            throw error
        }
    }

    /// The identity of the cluster; `nil` if no controller says so.
    func clusterID() async -> [UInt8]? {
        try? await call { try await $0.cluster(Flotilla_V1_ClusterRequest(), options: $1) }.clusterID.array
    }

    /// The identity of the cluster, if a controller says so at once.
    func clusterIDNow() async -> [UInt8]? {
        let answer = try? await caller.call(addresses, timeout: .milliseconds(700)) {
            try await Flotilla_V1_Controller.Client(wrapping: $0).cluster(Flotilla_V1_ClusterRequest(), options: $1)
        }
        return answer?.result.clusterID.array
    }

    /// The newest config, or, when `newerThan` is given, the first one above it (or the same after a while).
    func config(newerThan: UInt64?) async throws -> ShardMap {
        var request = Flotilla_V1_QueryRequest()
        if let newerThan {
            request.newerThan = newerThan
            request.waitMs = 5_000
        }
        return try await call(timeout: .seconds(8)) { [request] client, options in
            HeldMap(try await client.query(request, options: options).config).map
        }
    }

    func report(
        gid: GroupID, _ addresses: [String], membershipIndex: UInt64, identity: [UInt8]
    ) async throws {
        var request = Flotilla_V1_ReportGroupRequest()
        request.gid = gid.rawValue
        request.addresses = addresses
        request.membershipIndex = membershipIndex
        request.identity = Data(identity)
        _ = try await call { [request] client, options in try await client.reportGroup(request, options: options) }
    }

    func report(_ shard: ShardEpoch, _ event: ControllerCommand.MoveEvent) async throws {
        var request = Flotilla_V1_ReportMoveRequest()
        request.shard = shard.shard.rawValue
        request.epoch = shard.epoch
        request.event =
            switch event {
            case .activated: .activated
            case .rejected: .rejected
            case .collected: .collected
            }
        _ = try await call { [request] client, options in try await client.reportMove(request, options: options) }
    }
}
