internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// A shard group: the keys of its shards, the sessions of their writers, and its side of every move.
///
/// The map of shards lives in state rows, the data in one family for each shard, which is made when the first
/// row is written. Everything about a move is keyed by (shard, epoch), and every step may come twice.
///
///     source:  serving ── freeze ──> frozen ── collect ──> gone
///                 ^                    │
///                 └──── unfreeze ──────┘  (only after the target's reject)
///     target:  (nothing) ── activate ──> serving
///                  └─────── reject ────> rejected
///
/// What the target serves was staged beside the log, by each replica for itself (`StagedFamily`). Activate names the
/// replicas that have done so; one that hasn't applies nothing more until a snapshot has brought it the shard.
public struct GroupMachine: StateMachine {
    static let shardCountKey = Array("count".utf8)
    static let timeFloorKey = Array("time".utf8)

    /// Fixed when the cluster was founded; `nil` until the group hears of its first shard.
    public private(set) var shardCount: Int?
    public private(set) var shards: [ShardID: ShardRecord] = [:]
    /// Log time never falls behind that of a shard which was taken over.
    private var timeFloor: Milliseconds = 0

    private struct SessionKey: Hashable {
        var shard: ShardID
        var token: [UInt8]
    }
    /// Session rows as this batch leaves them; clean ones stay as a cache.
    private var sessions: [SessionKey: SessionRow] = [:]
    private var dirtySessions: Set<SessionKey> = []
    private var dirtyShards: Set<ShardID> = []

    public init() {}

    public mutating func load(in context: inout ApplyContext) throws(EngineError) {
        self = GroupMachine()
        shards = [:]
        shardCount = try context.stateRow(Self.shardCountKey)
            .flatMap { row in row.withUnsafeBytes { bigEndianNumber($0) } }.map { Int(clamping: $0) }
        timeFloor =
            try context.stateRow(Self.timeFloorKey)
            .flatMap { row in row.withUnsafeBytes { bigEndianNumber($0) } } ?? 0
        for row in try context.stateRows(prefix: [ShardRecord.prefix]) where row.key.count == 9 {
            guard let shard = row.key.dropFirst().withUnsafeBytes({ bigEndianNumber($0) }) else { continue }
            shards[ShardID(clamping: shard)] = try decode(row.value, ShardRecord.init(encoded:))
        }
    }

    public mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> GroupReply {
        let command: GroupCommand
        do throws(CodingError) { command = try GroupCommand(encoded: entry.payload) } catch {
            return .refused(.invalid(error.description))
        }
        let now = max(context.logTime, timeFloor)
        switch command {
        case .write(let key, let operation, let stamp):
            switch try write(key, operation, stamp, now: now, in: &context) {
            case .success(let reply): return .key(reply)
            case .failure(let refusal): return .refused(refusal)
            }
        case .passTime:
            for shard in shards.keys.sorted() where shards[shard]?.state == .serving {
                try evictExpired(shard, now: now, in: &context)
            }
            return .stepped
        case .adopt(let shard, let count): return adopt(shard, shardCount: count, in: &context)
        case .freeze(let shard, let target): return freeze(shard, to: target)
        case .unfreeze(let shard): return unfreeze(shard)
        case .collect(let shard): return collect(shard, in: &context)
        case .activate(let shard, let activation): return try activate(shard, activation, in: &context)
        case .reject(let shard): return try reject(shard, in: &context)
        }
    }

    public mutating func flush(in context: inout ApplyContext) throws(EngineError) {
        for key in dirtySessions {
            guard let row = sessions[key], let family = context.families[ShardRecord.family(key.shard)] else {
                continue
            }
            context.put(family, [ShardRows.session] + key.token, row.encoded)
        }
        dirtySessions.removeAll(keepingCapacity: true)
        if sessions.count > SessionLimits.cacheMax { sessions.removeAll(keepingCapacity: true) }
        for shard in dirtyShards.sorted() {
            if let record = shards[shard] { context.setStateRow(ShardRecord.key(shard), record.encoded) }
        }
        dirtyShards.removeAll(keepingCapacity: true)
    }

    private func decode<Value>(
        _ bytes: [UInt8], _ make: ([UInt8]) throws(CodingError) -> Value
    ) throws(EngineError) -> Value {
        do throws(CodingError) { return try make(bytes) } catch { throw .corruption(place: error.place) }
    }

    mutating func setRecord(_ shard: ShardID, _ record: ShardRecord) {
        shards[shard] = record
        dirtyShards.insert(shard)
    }

    // MARK: - Writes

    private mutating func write(
        _ key: [UInt8], _ operation: KeyOperation, _ stamp: SessionStamp?, now: Milliseconds,
        in context: inout ApplyContext
    ) throws(EngineError) -> Result<KeyReply, KeyRefusal> {
        do throws(KeyspaceError) { try Limits.check(key: key) } catch { return .failure(.invalid(error.description)) }
        guard let shardCount else { return .failure(.wrongGroup(shard: 0)) }
        let shard = Slot.shard(of: key, shardCount: shardCount)
        switch shards[shard]?.state {
        case .serving: break
        case .frozen: return .failure(.frozen(shard: shard))
        case .gone, nil: return .failure(.wrongGroup(shard: shard))
        }
        let family: FamilyID
        if let mapped = context.families[ShardRecord.family(shard)] {
            family = mapped
        } else {
            family = try context.mapFamily(ShardRecord.family(shard))
        }
        guard let stamp else {
            return try execute(key, operation, in: family, &context)
        }
        guard stamp.token.count == 16 else { return .failure(.invalid("a session token has 16 bytes")) }
        let sessionKey = SessionKey(shard: shard, token: stamp.token)
        var row: SessionRow
        switch try session(sessionKey, stamp, now: now, family: family, in: &context) {
        case .success(let found): row = found
        case .failure(let refusal): return .failure(refusal)
        }
        if let answer = row.answer(to: stamp.sequence) { return .success(answer) }
        if stamp.sequence < row.lowest {
            return .failure(.invalid("write \(stamp.sequence) of the session was answered, and its answer forgotten"))
        }
        row.forget(below: min(stamp.lowestUnanswered, stamp.sequence))
        if row.answers.count >= SessionLimits.answersMax {
            return .failure(.busy("the session has \(row.answers.count) unanswered writes in shard \(shard)"))
        }
        let result = try execute(key, operation, in: family, &context)
        // The row is kept after a refusal too: a session that is counted has one.
        if case .success(let reply) = result { row.record(reply, for: stamp.sequence) }
        sessions[sessionKey] = row
        dirtySessions.insert(sessionKey)
        return result
    }

    private mutating func execute(
        _ key: [UInt8], _ operation: KeyOperation, in family: FamilyID, _ context: inout ApplyContext
    ) throws(EngineError) -> Result<KeyReply, KeyRefusal> {
        let rowKey = ShardRows.userKey(key)
        func check(_ value: [UInt8]) -> KeyRefusal? {
            do throws(KeyspaceError) {
                try Limits.check(value: value)
                return nil
            } catch {
                return .invalid(error.description)
            }
        }
        switch operation {
        case .put(let value):
            if let refusal = check(value) { return .failure(refusal) }
            context.put(family, rowKey, ShardRows.record(value))
            return .success(.put)
        case .append(let value):
            let record = try context.get(family, rowKey).map { $0 + value } ?? ShardRows.record(value)
            let length = record.count - 1
            if length > Limits.valueBytesMax {
                return .failure(.invalid(KeyspaceError.valueTooLarge(bytes: length).description))
            }
            context.put(family, rowKey, record)
            return .success(.appended(length: length))
        case .delete:
            let existed = try context.get(family, rowKey) != nil
            if existed { context.delete(family, rowKey) }
            return .success(.deleted(existed: existed))
        case .compareAndSet(let expected, let value):
            if let value, let refusal = check(value) { return .failure(refusal) }
            let present = try context.get(family, rowKey).map(ShardRows.value(ofRecord:))
            guard present == expected else { return .success(.compared(succeeded: false)) }
            if let value {
                context.put(family, rowKey, ShardRows.record(value))
            } else if present != nil {
                context.delete(family, rowKey)
            }
            return .success(.compared(succeeded: true))
        }
    }

    // MARK: - Sessions

    /// The session's row; a new one at first sight, while its end is ahead of log time. A row goes only once
    /// its end has passed, so a session that is missing and not over was never here.
    private mutating func session(
        _ key: SessionKey, _ stamp: SessionStamp, now: Milliseconds, family: FamilyID, in context: inout ApplyContext
    ) throws(EngineError) -> Result<SessionRow, KeyRefusal> {
        var found = sessions[key]
        if found == nil, let stored = try context.get(family, [ShardRows.session] + key.token) {
            found = try decode(stored, SessionRow.init(encoded:))
        }
        if let found {
            return found.end > now ? .success(found) : .failure(.sessionExpired)
        }
        guard stamp.end > now else { return .failure(.sessionExpired) }
        guard stamp.end <= now + SessionLimits.lifetimeMax else {
            return .failure(.invalid("a session ends at most \(SessionLimits.lifetimeMax / 3_600_000) hours ahead"))
        }
        try evictExpired(key.shard, now: now, in: &context)
        guard var record = shards[key.shard], record.sessions < SessionLimits.sessionsMax else {
            return .failure(.busy("shard \(key.shard) has \(SessionLimits.sessionsMax) sessions"))
        }
        record.sessions += 1
        setRecord(key.shard, record)
        context.put(family, [ShardRows.sessionEnd] + bigEndianBytes(stamp.end) + key.token, [])
        return .success(SessionRow(end: stamp.end))
    }

    private mutating func evictExpired(_ shard: ShardID, now: Milliseconds, in context: inout ApplyContext)
        throws(EngineError)
    {
        guard var record = shards[shard], let family = context.families[ShardRecord.family(shard)] else { return }
        let upper = [ShardRows.sessionEnd] + bigEndianBytes(now + 1)
        let expired = try context.scan(
            family, lower: [ShardRows.sessionEnd], upper: upper, limit: SessionLimits.evictionsMax)
        guard !expired.isEmpty else { return }
        for row in expired {
            guard let end = row.key.dropFirst().withUnsafeBytes({ bigEndianNumber($0) }) else {
                throw .corruption(place: "the session rows of shard \(shard)")
            }
            precondition(end <= now, "a session of shard \(shard) ends at \(end), and log time is \(now)")
            let token = Array(row.key.dropFirst(9))
            context.delete(family, row.key)
            context.delete(family, [ShardRows.session] + token)
            sessions[SessionKey(shard: shard, token: token)] = nil
            dirtySessions.remove(SessionKey(shard: shard, token: token))
        }
        record.sessions = max(0, record.sessions - expired.count)
        setRecord(shard, record)
    }

    /// Cached rows of a shard whose family goes away.
    mutating func forgetSessions(of shard: ShardID) {
        sessions = sessions.filter { $0.key.shard != shard }
        dirtySessions = dirtySessions.filter { $0.shard != shard }
    }

    mutating func learnShardCount(_ count: Int, in context: inout ApplyContext) -> Bool {
        if let shardCount { return shardCount == count }
        guard (1...Limits.shardCountMax).contains(count) else { return false }
        shardCount = count
        context.setStateRow(Self.shardCountKey, bigEndianBytes(UInt64(count)))
        return true
    }

    mutating func raiseTimeFloor(_ time: Milliseconds, in context: inout ApplyContext) {
        guard time > timeFloor else { return }
        timeFloor = time
        context.setStateRow(Self.timeFloorKey, bigEndianBytes(time))
    }
}
