internal import Foundation
internal import GRPCCore
public import Keyspace
internal import Synchronization
internal import Wire

/// The controller's clients' side: follows the leader, retries with the same request id.
public final class ControllerClient: Sendable {
    public let endpoints: [String]
    private let connections = ConnectionPool()
    private let leader = Mutex<String?>(nil)
    /// Whom to ask while no leader is known. Kept from call to call: one that never answers must not be the first each
    /// time.
    private let turn = Atomic<Int>(0)
    private let deadline: Duration

    public init(endpoints: [String], deadline: Duration = .seconds(10)) {
        self.endpoints = endpoints
        self.deadline = deadline
    }

    /// - Parameter force: don't ask the nodes who they are.
    public func join(_ groups: [GroupID: [String]], force: Bool = false) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_JoinRequest()
        request.force = force
        request.requestID = Self.requestID()
        request.groups = groups.sorted { $0.key < $1.key }.map { gid, addresses in
            var group = Flotilla_V1_GroupAddresses()
            group.gid = gid.rawValue
            group.addresses = addresses
            return group
        }
        return try await call(changes: true) { [request] in HeldMap(try await $0.join(request, options: $1).config) }
    }

    public func leave(_ gids: [GroupID]) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_LeaveRequest()
        request.requestID = Self.requestID()
        request.gids = gids.map(\.rawValue)
        return try await call(changes: true) { [request] in HeldMap(try await $0.leave(request, options: $1).config) }
    }

    /// Gives up the data of a group that has lost all its disks: it begins again with empty shards.
    public func giveUp(_ gid: GroupID) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_GiveUpRequest()
        request.requestID = Self.requestID()
        request.gid = gid.rawValue
        return try await call(changes: true) { [request] in HeldMap(try await $0.giveUp(request, options: $1).config) }
    }

    public func move(shard: ShardID, to gid: GroupID) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_MoveRequest()
        request.requestID = Self.requestID()
        request.shard = shard.rawValue
        request.gid = gid.rawValue
        return try await call(changes: true) { [request] in HeldMap(try await $0.move(request, options: $1).config) }
    }

    /// Keeps moves from starting. Waits, up to the deadline, while somebody else holds them.
    /// - Parameters:
    ///   - id: 16 random bytes, which the calls that follow repeat.
    ///   - holder: who holds, for people.
    ///   - lasts: from now on, unless `prolong` comes in time.
    public func hold(_ id: [UInt8], holder: String, lasts: Duration) async throws(ClientError) -> HeldMap {
        try await hold(id, holder, lasts, prolong: false, patience: nil)
    }

    /// Refused (`failedPrecondition`) once the hold has ended.
    public func prolong(
        _ id: [UInt8], lasts: Duration, patience: Duration? = nil
    ) async throws(ClientError) -> HeldMap {
        try await hold(id, "", lasts, prolong: true, patience: patience)
    }

    private func hold(
        _ id: [UInt8], _ holder: String, _ lasts: Duration, prolong: Bool, patience: Duration?
    ) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_HoldRequest()
        request.requestID = Self.requestID()
        request.id = Data(id)
        request.holder = holder
        request.lastsMs = UInt32(clamping: lasts.components.seconds * 1000)
        request.prolong = prolong
        return try await call(patience: patience) { [request] in HeldMap(try await $0.hold(request, options: $1).config)
        }
    }

    /// What waited starts. Refused (`failedPrecondition`) if the hold had ended before.
    public func release(_ id: [UInt8]) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_ReleaseRequest()
        request.requestID = Self.requestID()
        request.id = Data(id)
        return try await call { [request] in HeldMap(try await $0.release(request, options: $1).config) }
    }

    /// The config of a number, or the newest.
    /// - Parameter patience: how long to look for a controller that answers; `nil`: the client's deadline.
    public func query(
        _ number: UInt64? = nil, patience: Duration? = nil
    ) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_QueryRequest()
        if let number { request.number = number }
        return try await call(patience: patience) { [request] in
            HeldMap(try await $0.query(request, options: $1).config)
        }
    }

    private static func requestID() -> Data {
        var random = SystemRandomNumberGenerator()
        return Data((0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) })
    }

    /// - Parameter changes: whether an attempt that had no answer may have changed something.
    private func call<Result: Sendable>(
        patience: Duration? = nil, changes: Bool = false,
        _ body: @Sendable (Flotilla_V1_Controller.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws(ClientError) -> Result {
        let whole = patience ?? deadline
        let end = ContinuousClock.now + whole
        // Time for each, also when the first ones never answer.
        let attempt = min(.seconds(3), max(.milliseconds(500), whole / max(1, endpoints.count)))
        var last = "no controller address is known; give --endpoints HOST:PORT,… or set FLOTILLA_ENDPOINTS"
        var busy: String?
        var failures = 0
        var mayHaveRun = false
        while ContinuousClock.now < end, !endpoints.isEmpty {
            let turn = turn.load(ordering: .relaxed)
            let address = leader.withLock { $0 } ?? endpoints[turn % endpoints.count]
            guard let endpoint = Address(toCall: address) else {
                throw ClientError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
            }
            do {
                let connection = try connections.connection(to: endpoint)
                let result = try await body(
                    Flotilla_V1_Controller.Client(wrapping: connection.client), .flotilla(timeout: attempt))
                leader.withLock { $0 = address }
                return result
            } catch {
                if let refusal = KvError(carriedBy: error) {
                    last = refusal.message
                    switch refusal.code {
                    case .invalidArgument: throw ClientError(.invalidArgument, refusal.message)
                    case .notFound: throw ClientError(.notFound, refusal.message)
                    case .failedPrecondition: throw ClientError(.failedPrecondition, refusal.message)
                    case .notLeader:
                        let hint = refusal.leader
                        leader.withLock { $0 = hint.isEmpty || hint == address ? nil : hint }
                        if hint.isEmpty { self.turn.add(1, ordering: .relaxed) }
                        continue
                    case .busy:
                        // The leader's word: whoever else is asked only points at it.
                        busy = refusal.message
                        leader.withLock { $0 = address }
                        try? await Task.sleep(for: .milliseconds(100))
                        continue
                    case .outcomeUnknown: mayHaveRun = true
                    default: break
                    }
                } else {
                    last = "no controller answers at \(endpoints.joined(separator: ", "))"
                    if (error as? RPCError)?.code == .deadlineExceeded { mayHaveRun = true }
                }
                busy = nil
                leader.withLock { $0 = nil }
                self.turn.add(1, ordering: .relaxed)
                failures += 1
                try? await Task.sleep(for: .milliseconds(failures < endpoints.count ? 5 : 100))
            }
        }
        if changes, mayHaveRun {
            throw ClientError(.outcomeUnknown, "\(last); whether the request was carried out isn't known, see `query`")
        }
        throw ClientError(.unavailable, busy ?? last)
    }
}
