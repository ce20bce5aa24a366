internal import ClientCore
internal import Keyspace
internal import Synchronization
internal import Wire

/// A client of a Flotilla cluster.
///
/// Operations are linearizable per key. A write is executed once, however often it had to be sent: every
/// attempt carries the same session token and number. When time runs out, or a server refuses, after an earlier
/// attempt may have reached a server and had no answer, the error is `outcomeUnknown`; with any other error nothing was
/// done, except for `internal`.
///
/// One client serves any number of concurrent callers; their requests to one node share one stream.
public final class FlotillaClient: Sendable {
    /// Times and sizes of a client.
    public struct Options: Sendable {
        /// Operations fail after this long.
        public var deadline: Duration = .seconds(10)
        /// A node that has answered nobody's request for this long is given up, and another one tried.
        public var attemptPatience: Duration = .milliseconds(1_500)
        /// Streams to each node; callers are spread over them.
        public var streamsPerNode = 1
        /// A session of writes lasts this long on the servers, at most 25 hours, and is renewed after half of it. It
        /// must outlast `deadline` and the difference between the clocks here and there.
        public var sessionLifetime: Duration = .seconds(3_600)

        public init() {}
    }

    /// A pair of a scan.
    public typealias Pair = (key: [UInt8], value: [UInt8])

    private let options: Options
    private let controller: ControllerClient
    private let connections = Mutex<[String: [SessionStream?]]>([:])
    private let state: Mutex<ClientState>
    private let spread = Atomic<Int>(0)

    /// - Parameter endpoints: addresses of the controller's nodes, HOST:PORT.
    public init(endpoints: [String], options: Options = Options()) {
        self.options = options
        controller = ControllerClient(endpoints: endpoints, deadline: options.deadline)
        state = Mutex(
            ClientState(
                attemptPatience: options.attemptPatience, sessionLifetime: options.sessionLifetime,
                seed: .random(in: .min ... .max)))
    }

    /// Ends the sessions of this client's writes, so that the servers need not remember them until they end by
    /// themselves, and closes the connections. What can't be told within a second is left to the sessions' ends.
    public func shutdown() async {
        let sessions = state.withLock { $0.sessions.retireAll() }
        let end = ClientClock.now + .seconds(1)
        await withTaskGroup(of: Void.self) { group in
            for (shard, token) in sessions {
                group.addTask {
                    let call = KvCall(.shard(shard), isWrite: false, end: end)
                    _ = try? await self.carryOut(call) { _ in .closeSession(shard, token: token) }
                }
            }
        }
        close()
    }

    public func close() {
        for stream in connections.withLock({ $0.values.joined() }) { stream?.close() }
    }

    // MARK: - Operations

    /// The value of a key, or `nil`.
    public func get(_ key: [UInt8]) async throws(ClientError) -> [UInt8]? {
        try check(key)
        let call = KvCall(.key(key), isWrite: false, end: ClientClock.now + options.deadline)
        let answer = try await carryOut(call) { _ in .get(key: key) }
        guard case .value(let value) = answer else { throw Self.confused }
        return value
    }

    public func put(_ key: [UInt8], _ value: [UInt8]) async throws(ClientError) {
        try check(key, value)
        guard case .put = try await write(key, .put(value: value)) else { throw Self.confused }
    }

    /// Appends to the value, an absent one counting as empty; returns its length afterwards.
    public func append(_ key: [UInt8], _ value: [UInt8]) async throws(ClientError) -> Int {
        try check(key, value)
        guard case .appended(let length) = try await write(key, .append(value: value)) else { throw Self.confused }
        return length
    }

    /// Returns whether the key existed.
    public func delete(_ key: [UInt8]) async throws(ClientError) -> Bool {
        try check(key)
        guard case .deleted(let existed) = try await write(key, .delete) else { throw Self.confused }
        return existed
    }

    /// Replaces the value if it is `expected` (`nil`: absent) by `value` (`nil`: nothing); returns whether it was.
    public func compareAndSet(
        _ key: [UInt8], expected: [UInt8]?, value: [UInt8]?
    ) async throws(ClientError) -> Bool {
        try check(key, value ?? [])
        try check(key, expected ?? [])
        let reply = try await write(key, .compareAndSet(expected: expected, value: value))
        guard case .compared(let succeeded) = reply else { throw Self.confused }
        return succeeded
    }

    /// Pairs with `start <= key < end` in key order over all shards, at most `limit`. An empty `end` means no end.
    ///
    /// Each page of a shard is consistent in itself. A shard that moves meanwhile is read on at its new place,
    /// from after the last key.
    public func scan(
        start: [UInt8] = [], end: [UInt8] = [], limit: Int, keysOnly: Bool = false
    ) async throws(ClientError) -> [Pair] {
        var cursors = try await newestShards().map { ShardCursor(shard: $0, next: start) }
        var merged: [Pair] = []
        let page = max(0, min(limit, 1_000))
        // The first pages of all shards at once; later ones as the merge uses them up.
        try await fill(&cursors, end: end, page: page, keysOnly: keysOnly)
        while merged.count < limit {
            for index in cursors.indices where cursors[index].needsPage {
                try await fill(&cursors[index], end: end, page: page, keysOnly: keysOnly)
            }
            let heads = cursors.indices.filter { cursors[$0].head != nil }
            guard
                let least = heads.min(by: { left, right in
                    (cursors[left].head?.key ?? []).lexicographicallyPrecedes(cursors[right].head?.key ?? [])
                }), let pair = cursors[least].takeHead()
            else { break }
            merged.append(pair)
        }
        return merged
    }

    // MARK: - What the shards themselves are asked

    /// - Parameter changes: it may have been done, though nobody has answered.
    func ask(
        _ operation: KvRequest.Operation, of shard: ShardID, changes: Bool = false
    ) async throws(ClientError) -> KvResponse.Result {
        let call = KvCall(.shard(shard), isWrite: false, changes: changes, end: ClientClock.now + options.deadline)
        return try await carryOut(call) { _ in operation }
    }

    func controllerMap() async throws(ClientError) -> ShardMap { try await controller.query().map }

    // MARK: - Scans

    private struct ShardCursor: Sendable {
        let shard: ShardID
        var next: [UInt8]
        var page: [Pair] = []
        var position = 0
        var isDone = false

        init(shard: ShardID, next: [UInt8]) {
            self.shard = shard
            self.next = next
        }

        var head: Pair? { position < page.count ? page[position] : nil }
        var needsPage: Bool { position >= page.count && !isDone }

        mutating func takeHead() -> Pair? {
            defer { position += 1 }
            return head
        }
    }

    private func fill(
        _ cursors: inout [ShardCursor], end: [UInt8], page: Int, keysOnly: Bool
    ) async throws(ClientError) {
        let copies = cursors
        let filled = await withTaskGroup(of: (Int, Result<ShardCursor, ClientError>).self) { group in
            for (index, cursor) in copies.enumerated() {
                group.addTask {
                    var cursor = cursor
                    do throws(ClientError) {
                        try await self.fill(&cursor, end: end, page: page, keysOnly: keysOnly)
                        return (index, .success(cursor))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var filled: [(Int, Result<ShardCursor, ClientError>)] = []
            for await result in group { filled.append(result) }
            return filled
        }
        for (index, result) in filled { cursors[index] = try result.get() }
    }

    private func fill(
        _ cursor: inout ShardCursor, end: [UInt8], page: Int, keysOnly: Bool
    ) async throws(ClientError) {
        let shard = cursor.shard
        let scan = KvScan(shard: shard, start: cursor.next, end: end, limit: page, keysOnly: keysOnly)
        let call = KvCall(.shard(shard), isWrite: false, end: ClientClock.now + options.deadline)
        guard case .page(let pairs, let more) = try await carryOut(call, { _ in .scan(scan) }) else {
            throw Self.confused
        }
        cursor.page = pairs.map { ($0.key, $0.value) }
        cursor.position = 0
        cursor.isDone = !more
        // The smallest key after the last one.
        if let last = cursor.page.last { cursor.next = last.key + [0] }
    }

    // MARK: - Attempts

    private static var confused: ClientError { ClientError(.internal, "the server answered another question") }

    private func check(_ key: [UInt8], _ value: [UInt8] = []) throws(ClientError) {
        do throws(KeyspaceError) {
            try Limits.check(key: key)
            try Limits.check(value: value)
        } catch {
            throw ClientError(.invalidArgument, error.description)
        }
    }

    private func write(_ key: [UInt8], _ operation: KeyOperation) async throws(ClientError) -> KeyReply {
        let call = KvCall(.key(key), isWrite: true, end: ClientClock.now + options.deadline)
        let answer = try await carryOut(call) { .write(key: key, operation, $0) }
        guard case .written(let reply) = answer else { throw Self.confused }
        return reply
    }

    /// Does what the core says until the operation is over.
    ///
    /// - Parameter operation: what to send, made anew for each attempt.
    private func carryOut(
        _ started: KvCall, _ operation: (SessionStamp?) -> KvRequest.Operation
    ) async throws(ClientError) -> KvResponse.Result {
        var call = started
        var step = state.withLock { call.begin(&$0, now: ClientClock.now, wall: ClientClock.wall) }
        while true {
            switch step {
            case .ask(let ask):
                let asked = KvRequest(id: 0, config: ask.config, cluster: ask.cluster, operation(ask.stamp))
                let outcome = await stream(ask.address)?.send(asked, ask.patience) ?? .notSent
                step = state.withLock { call.heard(outcome, &$0, now: ClientClock.now) }
            case .askMap(let until):
                let answer = await askMap(patience: until - ClientClock.now)
                step = state.withLock { state in
                    switch answer {
                    case .success(let map): call.mapArrived(map, &state, now: ClientClock.now)
                    case .failure(let error): call.mapMissing(error.core, &state, now: ClientClock.now)
                    }
                }
            case .openSession:
                let token = RandomBytes.make(SessionStamp.tokenBytes)
                step = state.withLock { call.opened(token, &$0, now: ClientClock.now) }
            case .wait(let until):
                let isOver = await !ClientClock.sleep(until: until)
                step = state.withLock { state in
                    isOver ? call.cancelled(&state) : call.woken(&state, now: ClientClock.now)
                }
            case .done(let result): return result
            case .failed(let failure): throw ClientError(failure)
            }
        }
    }

    private func stream(_ address: String) -> SessionStream? {
        let place = spread.add(1, ordering: .relaxed).oldValue % max(1, options.streamsPerNode)
        return connections.withLock { connections in
            var streams = connections[address] ?? Array(repeating: nil, count: max(1, options.streamsPerNode))
            if let stream = streams[place], !stream.isBroken { return stream }
            guard let endpoint = Address(toCall: address), let connection = try? Connection(endpoint) else {
                return nil
            }
            let stream = SessionStream(connection)
            streams[place] = stream
            connections[address] = streams
            return stream
        }
    }

    /// The shards of the newest map, or of the present one if the controller doesn't answer: who has a map can do without
    /// it, as for a get.
    private func newestShards() async throws(ClientError) -> [ShardID] {
        let (hasMap, isDue) = state.withLock { state in
            (!state.routes.isEmpty, state.mustAskForMap(beyond: nil, now: ClientClock.now))
        }
        if isDue {
            switch await askMap(patience: hasMap ? ClientState.mapPatience : options.deadline) {
            case .success(let map): state.withLock { $0.routes.adopt(map) }
            case .failure(let error): if !hasMap { throw error }
            }
        }
        return state.withLock { $0.routes.shardIDs }
    }

    private func askMap(patience: Duration) async -> Result<ShardMap, ClientError> {
        do throws(ClientError) {
            let held = try await controller.query(patience: patience)
            return .success(held.map)
        } catch {
            return .failure(error)
        }
    }
}
