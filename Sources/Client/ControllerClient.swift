internal import ClientCore
internal import Foundation
internal import GRPCCore
public import Keyspace
internal import Synchronization
internal import Wire

/// The controller's clients' side: follows the leader, retries with the same request id.
public final class ControllerClient: Sendable {
    public let endpoints: [String]
    private let connections = ConnectionPool()
    private let state = Mutex(ControllerState(seed: .random(in: .min ... .max)))
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

    /// Ends the shard's move, unless its target serves already.
    /// - Parameter acceptsLoss: the target is lost for good: the source serves again, whatever the target has made of the
    ///   move. What it has acknowledged since it took the shard over is lost.
    public func abortMove(of shard: ShardID, acceptsLoss: Bool = false) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_MoveRequest()
        request.requestID = Self.requestID()
        request.shard = shard.rawValue
        request.abort = true
        request.force = acceptsLoss
        request.acceptLoss = acceptsLoss
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
        // Nobody needs to hear of a prolongation that nobody has answered for: the next one tells.
        return try await call(patience: patience, changes: !prolong) { [request] in
            HeldMap(try await $0.hold(request, options: $1).config)
        }
    }

    /// What waited starts. Refused (`failedPrecondition`) if the hold had ended before.
    public func release(_ id: [UInt8]) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_ReleaseRequest()
        request.requestID = Self.requestID()
        request.id = Data(id)
        return try await call(changes: true) { [request] in
            HeldMap(try await $0.release(request, options: $1).config)
        }
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

    /// The newest config, once its number is above this one, or after the wait.
    public func query(newerThan number: UInt64, wait: Duration) async throws(ClientError) -> HeldMap {
        var request = Flotilla_V1_QueryRequest()
        request.newerThan = number
        request.waitMs = UInt32(clamping: Int64(wait / .milliseconds(1)))
        return try await call { [request] in HeldMap(try await $0.query(request, options: $1).config) }
    }

    private static func requestID() -> Data { Data(RandomBytes.make(16)) }

    private enum Answer<Result: Sendable>: Sendable {
        case done(Result)
        case refused(KvError)
        /// - Parameter hasLeft: the request may have reached the node.
        case silent(hasLeft: Bool)
    }

    /// Does what the core says until the call is over.
    ///
    /// - Parameter changes: whether an attempt that had no answer may have changed something.
    private func call<Result: Sendable>(
        patience: Duration? = nil, changes: Bool = false,
        _ body: @Sendable (Flotilla_V1_Controller.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws(ClientError) -> Result {
        var core = ControllerCall(
            endpoints: endpoints, changes: changes, now: ClientClock.now, within: patience ?? deadline)
        var step = state.withLock { core.begin(&$0, now: ClientClock.now) }
        while true {
            switch step {
            case .ask(let address, let patience):
                switch await ask(address, patience, body) {
                case .done(let result):
                    state.withLock { core.answered(&$0) }
                    return result
                case .refused(let error): step = state.withLock { core.refused(error, &$0, now: ClientClock.now) }
                case .silent(let hasLeft):
                    step = state.withLock { core.silent(hasLeft: hasLeft, &$0, now: ClientClock.now) }
                }
            case .wait(let until):
                if await ClientClock.sleep(until: until) {
                    step = state.withLock { core.woken(&$0, now: ClientClock.now) }
                } else {
                    step = core.cancelled()
                }
            case .failed(let failure): throw ClientError(failure)
            }
        }
    }

    private func ask<Result: Sendable>(
        _ address: String, _ patience: Duration,
        _ body: @Sendable (Flotilla_V1_Controller.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async -> Answer<Result> {
        guard let endpoint = Address(toCall: address) else { return .silent(hasLeft: false) }
        let departure = Departure()
        do {
            let connection = try connections.connection(to: endpoint)
            return .done(
                try await departure.watch {
                    try await body(
                        Flotilla_V1_Controller.Client(wrapping: connection.client), .flotilla(timeout: patience))
                })
        } catch {
            return KvError(carriedBy: error).map { .refused($0) } ?? .silent(hasLeft: departure.hasLeft)
        }
    }
}
