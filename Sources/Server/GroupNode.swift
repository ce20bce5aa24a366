public import Engines
internal import Foundation
internal import HTTPService
internal import Keyspace
public import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// One node of a shard group: keys for clients, shards for other groups.
public final class GroupNode: Sendable {
    let node: Node<GroupMachine>
    private let listener: GRPCListener
    private let http: HTTPListener?
    private let tasks: [Task<Void, Never>]

    /// Opens the directory, listens, and comes to life in the background.
    public init(_ options: ServeOptions, log: Logger) async throws {
        let endpoint = try options.validated()
        // A new directory isn't made for a node that can't listen.
        if try NodeDirectory.identity(at: options.directory) == nil {
            for address in try options.addressesToListenOn() { try address.checkIsFree() }
        }
        let controllers = ControllerLink(options.controllers)
        try await Self.checkCluster(options, controllers)
        let node = try Node(options, log: log) { GroupMachine() }
        self.node = node
        let target = MoveTarget(node: node)
        let front = GroupFront(node: node, target: target)
        let source = MoveSource(node: node, target: target)
        let status = StatusService(node: node) { status, request in try front.complete(&status, request) }
        listener = try await GRPCListener(
            endpoint,
            services: [
                PeerService(node: node, shards: source), KvService(handler: front),
                status,
            ])
        do { http = try await NodeHTTP.serve(options, node, status) } catch {
            await node.stop(listener)
            throw error
        }
        node.log.info(
            "node \(options.id) of group \(options.gid) listens on \(listener.endpoint), data in \(options.directory)")
        tasks = [
            Task {
                do {
                    // A group that is founded already works without the controller.
                    let founded = node.directory.identity.clusterId != nil
                    let cluster = founded ? [] : try await controllers.clusterID(log: node.log)
                    try await node.start(clusterID: cluster)
                } catch is CancellationError {
                    return
                } catch {
                    node.log.critical("can't start: \(error)")
                    exit(1)
                }
                await ShardMover(node: node, controllers: controllers, front: front, target: target).run()
            }
        ]
    }

    /// A directory of another cluster is refused before it is touched, if a controller can be asked. (If none
    /// answers the group works without; `ShardMover` then follows only its own cluster's configs.)
    private static func checkCluster(_ options: ServeOptions, _ controllers: ControllerLink) async throws {
        guard let identity = try NodeDirectory.identity(at: options.directory), let own = identity.clusterId,
            let theirs = await controllers.clusterIDNow()
        else { return }
        let answered = theirs.hexadecimal
        guard answered != own else { return }
        throw EngineError.mismatch(
            "\(options.directory) belongs to cluster \(own), and the controllers at "
                + "\(options.controllers.joined(separator: ", ")) answer for cluster \(answered); name the right "
                + "controllers, or choose another directory")
    }

    /// Why the node can no longer work, once it can't.
    public var failure: EngineError? { node.failure }

    /// Hands leadership over, ends what waits and closes the engine; see `Node.stop`.
    public func stop(closesConnections: Bool = true) async {
        for task in tasks { task.cancel() }
        http?.stop()
        await node.stop(closesConnections ? listener : nil)
    }
}

/// Turns requests of clients into proposals and reads.
final class GroupFront: KvHandler {
    /// Bytes of pairs in one page of a scan.
    private static let pageBytesMax = 1 << 20
    private static let pagePairsMax = 1_000
    /// Shards with so few keys are counted for a status; more would take too long.
    private static let countedKeysMax = 1_000
    private static let countedBytesMax: UInt64 = 1 << 20
    /// Of all shards together: dashboards ask every second.
    private struct CountingBudget {
        var keys = 20_000
        var bytes: UInt64 = 8 << 20

        /// False: an estimate must do.
        mutating func take(keys: UInt64, bytes: UInt64) -> Bool {
            guard keys <= min(GroupFront.countedKeysMax, self.keys),
                bytes <= min(GroupFront.countedBytesMax, self.bytes)
            else { return false }
            self.keys -= Int(keys)
            self.bytes -= bytes
            return true
        }
    }

    private let node: Node<GroupMachine>
    private let target: MoveTarget
    /// The newest config that this node has heard of: tells clients to ask again.
    private let newestConfig = Mutex<UInt64>(0)
    /// Shards that this group serves already and whose source has not removed its copy yet.
    private let collecting = Mutex<Set<Int>>([])
    private let shardCount = Mutex<Int?>(nil)

    init(node: Node<GroupMachine>, target: MoveTarget) {
        self.node = node
        self.target = target
    }

    func note(_ config: Flotilla_V1_Config) {
        newestConfig.withLock { $0 = max($0, config.number) }
        // Fixed when a cluster begins.
        if config.shardCount > 0 { shardCount.withLock { $0 = $0 ?? Int(config.shardCount) } }
        let own = config.moves.filter { $0.to == node.options.gid && $0.phase == .collecting }
        collecting.withLock { $0 = Set(own.map { Int($0.shard) }) }
    }

    func handle(_ requests: [Flotilla_V1_Request], reply: any ResponseSink) {
        guard let host = node.host else {
            return reply.send(requests.map { Self.failure($0.id, node.unavailable()) })
        }
        var proposals: [([UInt8], @Sendable (ProposalResult<GroupReply>) -> Void)] = []
        var reads: [@Sendable (ReadResult) -> Void] = []
        let now = HostClock.nanoseconds()
        for request in requests {
            let id = request.id
            guard let operation = NodeMetrics.Operation(request) else {
                reply.send([Self.failure(id, Flotilla_V1_Error(.invalidArgument, "the request names no operation"))])
                continue
            }
            let pending = NodeMetrics.Pending(operation: operation, shard: shard(of: request), start: now)
            switch request.op {
            case .get(let get):
                let key = get.key.array
                if let error = Self.invalid(key: key) {
                    finish(pending, Self.failure(id, error), reply)
                    continue
                }
                reads.append { result in
                    self.finish(pending, reply.isFull ? Self.crowded(id) : self.answer(id, key, result), reply)
                }
            case .scan(let scan):
                reads.append { result in
                    self.finish(pending, reply.isFull ? Self.crowded(id) : self.answer(id, scan, result), reply)
                }
            default:
                switch Self.command(request) {
                case .failure(let error): finish(pending, Self.failure(id, error), reply)
                case .success(let command)
                where command.addsData && node.space.isShort && host.status.role == .leader:
                    finish(pending, Self.failure(id, Self.noSpace), reply)
                case .success(let command):
                    proposals.append(
                        (command.encoded, { result in self.finish(pending, self.answer(id, result), reply) }))
                }
            }
        }
        host.submit(proposals: proposals, reads: reads)
    }

    private func finish(
        _ pending: NodeMetrics.Pending, _ response: Flotilla_V1_Response, _ reply: any ResponseSink
    ) {
        // Counted before it is sent: who has an answer finds it in the counts.
        node.metrics.answered(pending, response, at: HostClock.nanoseconds())
        reply.send([response])
    }

    /// Whose load a request is; `nil` before the group has learned how many shards there are.
    private func shard(of request: Flotilla_V1_Request) -> Int? {
        let key: Data
        switch request.op {
        case .get(let get): key = get.key
        case .put(let put): key = put.key
        case .append(let append): key = append.key
        case .delete(let delete): key = delete.key
        case .compareAndSet(let swap): key = swap.key
        case .scan(let scan): return Int(scan.shard)
        case nil: return nil
        }
        guard let count = shardCount.withLock({ $0 }) else { return nil }
        return key.withUnsafeBytes { Slot.shard(of: $0, shardCount: count) }
    }

    static func failure(_ id: UInt64, _ error: Flotilla_V1_Error) -> Flotilla_V1_Response {
        var response = Flotilla_V1_Response()
        response.id = id
        response.error = error
        return response
    }

    private static let noSpace = Flotilla_V1_Error(
        .noSpace, "the leader's disk is nearly full: deletes are taken, new values are not; make room on it")

    private static func crowded(_ id: UInt64) -> Flotilla_V1_Response {
        failure(
            id, Flotilla_V1_Error(.busy, "too many answers wait for this client", retryAfterMilliseconds: 20))
    }

    private static func invalid(key: [UInt8]) -> Flotilla_V1_Error? {
        do throws(KeyspaceError) { try Limits.check(key: key) } catch {
            return Flotilla_V1_Error(.invalidArgument, error.description)
        }
        return nil
    }

    /// Refuses what the log would refuse, before it costs a log entry.
    private static func command(_ request: Flotilla_V1_Request) -> Result<GroupCommand, Flotilla_V1_Error> {
        let key: [UInt8]
        let operation: KeyOperation
        var value: [UInt8] = []
        switch request.op {
        case .put(let put):
            (key, value) = (put.key.array, put.value.array)
            operation = .put(value: value)
        case .append(let append):
            (key, value) = (append.key.array, append.value.array)
            operation = .append(value: value)
        case .delete(let delete):
            key = delete.key.array
            operation = .delete
        case .compareAndSet(let swap):
            key = swap.key.array
            // Both are checked below: the longer one stands for both.
            value = swap.value.array
            if swap.expected.count > value.count { value = swap.expected.array }
            operation = .compareAndSet(
                expected: swap.hasExpected ? swap.expected.array : nil, value: swap.hasValue ? swap.value.array : nil)
        default: return .failure(Flotilla_V1_Error(.invalidArgument, "not a write"))
        }
        do throws(KeyspaceError) {
            try Limits.check(key: key)
            try Limits.check(value: value)
        } catch {
            return .failure(Flotilla_V1_Error(.invalidArgument, error.description))
        }
        guard !request.session.isEmpty else { return .success(.write(key: key, operation, nil)) }
        guard request.session.count == 16, request.sequence > 0 else {
            return .failure(
                Flotilla_V1_Error(.invalidArgument, "a session token has 16 bytes, and its writes count from 1"))
        }
        let stamp = SessionStamp(
            token: request.session.array, end: request.sessionEndMs, sequence: request.sequence,
            lowestUnanswered: request.lowestUnanswered)
        return .success(.write(key: key, operation, stamp))
    }

    // MARK: - Answers

    private func answer(_ id: UInt64, _ result: ProposalResult<GroupReply>) -> Flotilla_V1_Response {
        var response = Flotilla_V1_Response()
        response.id = id
        switch result {
        case .applied(_, .key(let reply)):
            switch reply {
            case .put: response.put = Flotilla_V1_PutResult()
            case .appended(let length): response.append.length = UInt64(length)
            case .deleted(let existed): response.delete.existed = existed
            case .compared(let succeeded): response.compareAndSet.succeeded = succeeded
            }
        case .applied(_, .refused(let refusal)): response.error = error(refusal)
        case .applied: response.error = Flotilla_V1_Error(.internal, "the log answered another question")
        case .notLeader: response.error = node.notLeader()
        case .busy: response.error = Flotilla_V1_Error(.busy, "too many requests wait", retryAfterMilliseconds: 10)
        case .unknown:
            response.error = Flotilla_V1_Error(
                .outcomeUnknown, "leadership was lost before the write was answered; repeat it in its session")
        }
        return response
    }

    private func error(_ refusal: KeyRefusal) -> Flotilla_V1_Error {
        switch refusal {
        case .wrongGroup(let shard):
            Flotilla_V1_Error(
                .wrongGroup, "group \(node.options.gid) doesn't serve shard \(shard)",
                config: newestConfig.withLock { $0 }, retryAfterMilliseconds: 20)
        case .frozen(let shard):
            Flotilla_V1_Error(
                .busy, "shard \(shard) is being moved", config: newestConfig.withLock { $0 }, retryAfterMilliseconds: 10
            )
        case .sessionExpired:
            Flotilla_V1_Error(.sessionExpired, "the session is over; begin a new one")
        case .busy(let why): Flotilla_V1_Error(.busy, why, retryAfterMilliseconds: 50)
        case .invalid(let why): Flotilla_V1_Error(.invalidArgument, why)
        }
    }

    private func readFailure(_ result: ReadResult) -> Flotilla_V1_Error {
        switch result {
        case .notLeader: node.notLeader()
        case .busy, .ready: Flotilla_V1_Error(.busy, "too many requests wait", retryAfterMilliseconds: 10)
        case .failed(let error): Flotilla_V1_Error(.internal, error.description)
        }
    }

    private func knownShardCount(_ reader: GroupReader) throws(EngineError) -> Int? {
        if let known = shardCount.withLock({ $0 }) { return known }
        let found = try reader.shardCount()
        shardCount.withLock { $0 = found }
        return found
    }

    private func answer(_ id: UInt64, _ key: [UInt8], _ result: ReadResult) -> Flotilla_V1_Response {
        guard case .ready(let snapshot) = result else { return Self.failure(id, readFailure(result)) }
        let reader = GroupReader(node.layout, in: snapshot)
        do throws(EngineError) {
            guard let count = try knownShardCount(reader) else { return Self.failure(id, error(.wrongGroup(shard: 0))) }
            switch try reader.get(key, shardCount: count) {
            case .failure(let refusal): return Self.failure(id, error(refusal))
            case .success(let value):
                var response = Flotilla_V1_Response()
                response.id = id
                response.get.found = value != nil
                if let value { response.get.value = Data(value) }
                return response
            }
        } catch {
            return Self.failure(id, Flotilla_V1_Error(.internal, error.description))
        }
    }

    private func answer(_ id: UInt64, _ scan: Flotilla_V1_Scan, _ result: ReadResult) -> Flotilla_V1_Response {
        guard case .ready(let snapshot) = result else { return Self.failure(id, readFailure(result)) }
        let reader = GroupReader(node.layout, in: snapshot)
        do throws(EngineError) {
            guard let count = try knownShardCount(reader) else { return Self.failure(id, error(.wrongGroup(shard: 0))) }
            guard scan.shard < UInt32(count) else {
                let sentence = "shard \(scan.shard) is out of range; there are shards 0 to \(count - 1)"
                return Self.failure(id, Flotilla_V1_Error(.invalidArgument, sentence))
            }
            let limit = scan.limit == 0 ? Self.pagePairsMax : min(Int(scan.limit), Self.pagePairsMax)
            let page = try reader.scan(
                Int(scan.shard), start: scan.start.array, end: scan.end.array, limit: limit, keysOnly: scan.keysOnly,
                bytesMax: Self.pageBytesMax)
            switch page {
            case .failure(let refusal): return Self.failure(id, error(refusal))
            case .success(let page):
                var response = Flotilla_V1_Response()
                response.id = id
                response.scan.more = page.more
                response.scan.pairs = page.pairs.map { key, value in
                    var pair = Flotilla_V1_Pair()
                    pair.key = Data(key)
                    pair.value = Data(value)
                    return pair
                }
                return response
            }
        } catch {
            return Self.failure(id, Flotilla_V1_Error(.internal, error.description))
        }
    }

    // MARK: - Status

    func complete(_ status: inout Flotilla_V1_NodeStatus, _ request: Flotilla_V1_NodeStatusRequest) throws {
        status.config = newestConfig.withLock { $0 }
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        let reader = GroupReader(node.layout, in: snapshot)
        status.logTimeMs = try reader.logTime()
        status.transfers = target.transfers
        let exactShards = Set(request.exactShards)
        let index = try reader.applied().position.index
        var budget = CountingBudget()
        for (shard, record) in try reader.records().sorted(by: { $0.key < $1.key }) where record.state != .gone {
            var row = Flotilla_V1_ShardStatus()
            row.shard = UInt32(shard)
            row.group = node.options.gid
            row.epoch = record.epoch
            let exact = request.exact || exactShards.contains(row.shard)
            let load = node.metrics.load(of: shard)
            (row.reads, row.writes) = (load.reads, load.writes)
            if exact { row.appliedIndex = index }
            if case .frozen = record.state {
                row.state = .bePulling
            } else {
                row.state = collecting.withLock { $0.contains(shard) } ? .gcing : .serving
            }
            if let family = try reader.family(shard) {
                (row.keys, row.bytes) = try Self.count(
                    family, sessions: record.sessions, in: snapshot, exact: exact, budget: &budget, node.engine)
                if exact {
                    let hashes = try reader.hashes(shard)
                    row.userHash = hashes.user.description
                    row.sessionHash = hashes.session.description
                }
            } else if exact {
                row.userHash = ContentHash().description
                row.sessionHash = ContentHash().description
            }
            status.shards.append(row)
        }
        let here = Set(status.shards.map { Int($0.shard) })
        for shard in try target.pulling(reader).subtracting(here).sorted() {
            var row = Flotilla_V1_ShardStatus()
            row.shard = UInt32(shard)
            row.group = node.options.gid
            row.state = .pulling
            let load = node.metrics.load(of: shard)
            (row.reads, row.writes) = (load.reads, load.writes)
            status.shards.append(row)
        }
    }

    /// User keys, and the bytes of keys and values: counted if asked for or if they are few, else as the engine
    /// estimates them.
    private static func count(
        _ family: FamilyID, sessions: Int, in snapshot: any ReadSnapshot, exact: Bool, budget: inout CountingBudget,
        _ engine: any StorageEngine
    ) throws -> (keys: UInt64, bytes: UInt64) {
        if !exact {
            let estimate = try engine.statistics(of: family)
            // Engines count every row; a session has two.
            let keys = estimate.keys - min(estimate.keys, UInt64(sessions) * 2)
            if !budget.take(keys: keys, bytes: estimate.bytes) { return (keys, estimate.bytes) }
        }
        var keys: UInt64 = 0
        var bytes: UInt64 = 0
        try snapshot.scan(family, lower: [ShardRows.user], upper: [ShardRows.user + 1]) { key, value in
            keys += 1
            bytes += UInt64(key.count + value.count - 2)
            return true
        }
        return (keys, bytes)
    }
}
