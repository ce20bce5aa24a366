internal import Foundation
internal import Keyspace
internal import Synchronization
internal import Wire

/// A client of a Flotilla cluster.
///
/// Operations are linearizable per key. A write is executed once, however often it had to be sent: every
/// attempt carries the same session token and number. When time runs out after a write may have reached a
/// server, the error is `outcomeUnknown`; before that it is `unavailable`, and nothing was done.
///
/// One client serves any number of concurrent callers; their requests to one node share one stream.
public final class FlotillaClient: Sendable {
    /// Times and sizes of a client.
    public struct Options: Sendable {
        /// Operations fail after this long.
        public var deadline: Duration = .seconds(10)
        /// One attempt is given up, and another node tried, after this long.
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
    private let routes = Mutex(RoutingTable())
    private let refreshedAt = Mutex<ContinuousClock.Instant?>(nil)
    /// One for each shard: its time is that of the group that serves it.
    private let sessions = Mutex<[ShardID: ShardSession]>([:])
    private struct ShardSession {
        var session: WriteSession
        /// The shard's time less that of this machine, in milliseconds.
        var ahead: Int64 = 0
    }
    private let spread = Atomic<Int>(0)

    /// - Parameter endpoints: addresses of the controller's nodes, HOST:PORT.
    public init(endpoints: [String], options: Options = Options()) {
        self.options = options
        controller = ControllerClient(endpoints: endpoints, deadline: options.deadline)
    }

    /// Ends the sessions of this client's writes, so that the servers need not remember them until they end by
    /// themselves, and closes the connections. What can't be told within a second is left to the sessions' ends.
    public func shutdown() async {
        let open = sessions.withLock { sessions in
            defer { sessions = [:] }
            return sessions.filter { $0.value.session.hasBegun }
        }
        let end = ContinuousClock.now + .seconds(1)
        await withTaskGroup(of: Void.self) { group in
            for (shard, open) in open {
                group.addTask {
                    let close = KvRequest.Operation.closeSession(shard, token: open.session.token)
                    _ = try? await self.attempts(until: end, { close }, shard: { _ in shard })
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
        let answer = try await attempts({ .get(key: key) }, shard: { $0.shard(of: key) })
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
        // Who has a map already can do without the controller, as for a get.
        if routes.withLock({ $0.isEmpty }) { try await refresh(beyond: nil) } else { try? await refresh(beyond: nil) }
        var cursors = routes.withLock { $0.shardIDs }.map { ShardCursor(shard: $0, next: start) }
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
        guard case .page(let pairs, let more) = try await attempts({ .scan(scan) }, shard: { _ in shard }) else {
            throw Self.confused
        }
        cursor.page = pairs.map { ($0.key, $0.value) }
        cursor.position = 0
        cursor.isDone = !more
        // The smallest key after the last one.
        if let last = cursor.page.last { cursor.next = last.key + [0] }
    }

    // MARK: - Attempts

    private static let controllerPatience: Duration = .milliseconds(300)

    private static var confused: ClientError { ClientError(.internal, "the server answered another question") }

    private func check(_ key: [UInt8], _ value: [UInt8] = []) throws(ClientError) {
        do throws(KeyspaceError) {
            try Limits.check(key: key)
            try Limits.check(value: value)
        } catch {
            throw ClientError(.invalidArgument, error.description)
        }
    }

    private static func wallMilliseconds() -> UInt64 { UInt64(max(0, Date().timeIntervalSince1970 * 1000)) }

    /// The session for new writes to a shard: a fresh one well before the old one ends.
    private func currentSession(_ shard: ShardID) -> WriteSession {
        let now = Int64(Self.wallMilliseconds())
        let lifetime = UInt64(max(1_000, options.sessionLifetime / .milliseconds(1)))
        return sessions.withLock { sessions in
            let known = sessions[shard]
            let time = UInt64(max(0, now + (known?.ahead ?? 0)))
            if let session = known?.session, session.end > time + lifetime / 2 { return session }
            let fresh = WriteSession(now: time, lifetime: lifetime)
            sessions[shard] = ShardSession(session: fresh, ahead: known?.ahead ?? 0)
            return fresh
        }
    }

    /// A shard's time is another one than this machine's: the next session follows it.
    private func follow(_ logTime: UInt64, in shard: ShardID, instead session: WriteSession) {
        let ahead = Int64(clamping: logTime) - Int64(Self.wallMilliseconds())
        sessions.withLock { sessions in
            guard sessions[shard]?.session === session else { return }
            let lifetime = UInt64(max(1_000, options.sessionLifetime / .milliseconds(1)))
            sessions[shard] = ShardSession(session: WriteSession(now: logTime, lifetime: lifetime), ahead: ahead)
        }
    }

    private static let renewalsMax = 3

    private func write(_ key: [UInt8], _ operation: KeyOperation) async throws(ClientError) -> KeyReply {
        let end = ContinuousClock.now + options.deadline
        if routes.withLock({ $0.isEmpty }) { try await refresh(beyond: nil) }
        guard let shard = routes.withLock({ $0.shard(of: key) }) else {
            throw ClientError(.unavailable, "the controller has no shard map yet")
        }
        for renewal in 0... {
            let session = currentSession(shard)
            let sequence = session.begin()
            defer { session.finish(sequence) }
            let answer = try await attempts(until: end, isWrite: true) {
                .write(key: key, operation, session.stamp(sequence))
            } shard: { _ in
                shard
            }
            switch answer {
            case .written(let reply): return reply
            case .failed(let error) where error.code == .sessionExpired && renewal < Self.renewalsMax:
                // Nothing was done, and the session doesn't fit the shard's time.
                follow(error.logTime, in: shard, instead: session)
            case .failed(let error): throw ClientError(.unavailable, error.message)
            default: throw Self.confused
            }
        }
        throw Self.confused
    }

    /// Sends until there is an answer or no more time.
    ///
    /// Returns a failure only of a session that doesn't fit the shard's time, where nothing was done.
    ///
    /// - Parameter operation: what to send, made anew for each attempt.
    private func attempts(
        until limit: ContinuousClock.Instant? = nil, isWrite: Bool = false, _ operation: () -> KvRequest.Operation,
        shard: (RoutingTable) -> ShardID?
    ) async throws(ClientError) -> KvResponse.Result {
        let end = limit ?? ContinuousClock.now + options.deadline
        var mayHaveRun = false
        var reason = "no answer in time"
        var failures = 0
        if routes.withLock({ $0.isEmpty }) { try await refresh(beyond: nil) }
        while true {
            let target = routes.withLock { routes -> (gid: GroupID, address: String, request: KvRequest)? in
                guard let gid = shard(routes).flatMap({ routes.group(of: $0) }), let address = routes.node(of: gid)
                else {
                    return nil
                }
                return (gid, address, KvRequest(id: 0, config: routes.number, operation()))
            }
            var pause = min(200, 2 << min(failures, 6))
            if let target {
                switch await stream(target.address)?.send(target.request) {
                case .answered(let response):
                    guard case .failed(let error) = response.result else {
                        routes.withLock { $0.leads(target.address, in: target.gid) }
                        return response.result
                    }
                    reason = error.message
                    switch error.code {
                    case .invalidArgument: throw ClientError(.invalidArgument, error.message)
                    case .sessionExpired:
                        if mayHaveRun {
                            throw ClientError(.outcomeUnknown, "the session ended before the write was answered")
                        }
                        if error.logTime > 0 { return response.result }
                        throw ClientError(
                            .unavailable,
                            "the session is over by the group's clock, and nothing was done; if it is new, the clocks of "
                                + "this machine and of the group's leader differ by more than a session lasts")
                    case .noSpace:
                        if mayHaveRun {
                            throw ClientError(
                                .outcomeUnknown, "the write may or may not have been executed; now: \(error.message)")
                        }
                        throw ClientError(.noSpace, error.message)
                    case .internal: throw ClientError(.internal, error.message)
                    case .notLeader:
                        routes.withLock { $0.doesNotLead(target.address, in: target.gid, hint: error.leader) }
                        if !error.leader.isEmpty, failures < 3 { pause = 0 }
                    case .wrongGroup:
                        try? await refresh(beyond: target.request.config)
                        pause = max(pause, Int(error.retryAfterMilliseconds))
                    case .busy:
                        pause = max(pause, Int(error.retryAfterMilliseconds))
                        if error.config > target.request.config { try? await refresh(beyond: target.request.config) }
                    case .outcomeUnknown: mayHaveRun = true
                    default: routes.withLock { $0.doesNotLead(target.address, in: target.gid, hint: "") }
                    }
                case .lost:
                    mayHaveRun = true
                    reason = "\(target.address) doesn't answer"
                    routes.withLock { $0.doesNotLead(target.address, in: target.gid, hint: "") }
                case .notSent, nil:
                    reason = "\(target.address) can't be reached"
                    routes.withLock { $0.doesNotLead(target.address, in: target.gid, hint: "") }
                }
            } else {
                reason = "no group serves the key's shard yet; join one with `controller join`"
                try? await refresh(beyond: nil)
                pause = 50
            }
            failures += 1
            // A group may have moved as a whole while its nodes can't be reached.
            if failures % 8 == 0 { try? await refresh(beyond: nil) }
            guard ContinuousClock.now + .milliseconds(pause) < end else { break }
            if pause > 0 {
                let jitter = Int.random(in: 0...max(1, pause / 2))
                try? await Task.sleep(for: .milliseconds(pause + jitter))
            }
        }
        if isWrite, mayHaveRun {
            throw ClientError(.outcomeUnknown, "the write may or may not have been executed: \(reason)")
        }
        throw ClientError(.unavailable, reason)
    }

    private func stream(_ address: String) -> SessionStream? {
        let place = spread.add(1, ordering: .relaxed).oldValue % max(1, options.streamsPerNode)
        return connections.withLock { connections in
            var streams = connections[address] ?? Array(repeating: nil, count: max(1, options.streamsPerNode))
            if let stream = streams[place], !stream.isBroken { return stream }
            guard let endpoint = Address(toCall: address), let connection = try? Connection(endpoint) else {
                return nil
            }
            let stream = SessionStream(connection, patience: options.attemptPatience)
            streams[place] = stream
            connections[address] = streams
            return stream
        }
    }

    /// Asks the controller for the newest map, unless one above `number` (or a young one) is here already.
    private func refresh(beyond number: UInt64?) async throws(ClientError) {
        let now = ContinuousClock.now
        let isDue = refreshedAt.withLock { last -> Bool in
            if let last, now - last < .milliseconds(20), !routes.withLock({ $0.isEmpty }) { return false }
            last = now
            return true
        }
        if let number, routes.withLock({ $0.number }) > number { return }
        guard isDue else { return }
        // Who has a map already can do without the controller, and must not spend an operation's time on waiting for it.
        let hasMap = !routes.withLock { $0.isEmpty }
        let config = try await controller.query(patience: hasMap ? Self.controllerPatience : nil)
        routes.withLock { $0.adopt(config.map) }
    }
}
