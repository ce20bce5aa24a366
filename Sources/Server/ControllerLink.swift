internal import Foundation
internal import GRPCCore
internal import Logging
internal import Synchronization
internal import Wire

/// Calls that want a group's leader: tries the addresses in turn and follows the hints in refusals.
struct LeaderCaller: Sendable {
    let connections: ConnectionPool

    /// The first answer of a node that leads. Throws the last refusal when nobody answers within `attempts` calls.
    func call<Result: Sendable>(
        _ addresses: [String], first: String? = nil, attempts: Int = 6, timeout: Duration = .seconds(5),
        _ body: @Sendable (GRPCClient<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> (result: Result, address: String) {
        var queue = (first.map { [$0] } ?? []) + addresses
        var last: any Error = Flotilla_V1_Error(.unavailable, "no address is known").status
        let options = CallOptions.flotilla(timeout: timeout)
        var tried = 0
        while tried < attempts, !queue.isEmpty {
            tried += 1
            let address = queue.removeFirst()
            guard let endpoint = Address(address) else { continue }
            do {
                let connection = try connections.connection(to: endpoint)
                return (try await body(connection.client, options), address)
            } catch {
                last = error
                try Task.checkCancellation()
                if let refusal = Flotilla_V1_Error(error) {
                    guard [.notLeader, .noLeader, .unavailable].contains(refusal.code) else { throw error }
                    if !refusal.leaderAddress.isEmpty { queue.insert(refusal.leaderAddress, at: 0) }
                }
            }
        }
        throw last
    }
}

/// A group node's line to the controller.
final class ControllerLink: Sendable {
    private let addresses: [String]
    private let caller = LeaderCaller(connections: ConnectionPool())
    private let leader = Mutex<String?>(nil)

    init(_ addresses: [String]) { self.addresses = addresses }

    private func call<Result: Sendable>(
        timeout: Duration = .seconds(5),
        _ body: @Sendable (Flotilla_V1_Controller.Client<Connection.Transport>, CallOptions) async throws -> Result
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

    /// The identity of the cluster; waits for the controller for as long as it takes.
    func clusterID(log: Logger) async throws -> [UInt8] {
        var announced = false
        while !Task.isCancelled {
            if let response = try? await call({ try await $0.cluster(Flotilla_V1_ClusterRequest(), options: $1) }) {
                return response.clusterID.array
            }
            if !announced {
                announced = true
                log.info("waiting for the controller at \(addresses.joined(separator: ", "))")
            }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw CancellationError()
    }

    /// The identity of the cluster, if a controller says so at once.
    func clusterIDNow() async -> [UInt8]? {
        let answer = try? await caller.call(addresses, attempts: addresses.count, timeout: .milliseconds(700)) {
            try await Flotilla_V1_Controller.Client(wrapping: $0).cluster(Flotilla_V1_ClusterRequest(), options: $1)
        }
        return answer?.result.clusterID.array
    }

    /// The newest config, or, when `newerThan` is given, the first one above it (or the same after a while).
    func config(newerThan: UInt64?) async throws -> Flotilla_V1_Config {
        var request = Flotilla_V1_QueryRequest()
        if let newerThan {
            request.newerThan = newerThan
            request.waitMs = 5_000
        }
        return try await call(timeout: .seconds(8)) { [request] client, options in
            try await client.query(request, options: options).config
        }
    }

    func report(gid: UInt64, _ addresses: [String], membershipIndex: UInt64) async throws {
        var request = Flotilla_V1_ReportGroupRequest()
        request.gid = gid
        request.addresses = addresses
        request.membershipIndex = membershipIndex
        _ = try await call { [request] client, options in try await client.reportGroup(request, options: options) }
    }

    func report(shard: Int, epoch: UInt64, _ event: Flotilla_V1_MoveEvent) async throws {
        var request = Flotilla_V1_ReportMoveRequest()
        request.shard = UInt32(shard)
        request.epoch = epoch
        request.event = event
        _ = try await call { [request] client, options in try await client.reportMove(request, options: options) }
    }
}
