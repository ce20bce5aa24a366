internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// A shard group: the keys of its shards, the sessions of their writers, and its side of every move.
///
/// The map of shards lives in state rows, the data in one family for each shard, which is made when the first
/// row is written. Everything about a move is keyed by (shard, epoch), and every step may come twice.
///
///     source:  serving ── prepare ──> serving, with its changes noted ── freeze ──> frozen ── collect ──> gone
///                 ^                               │                                  │
///                 ├──────────── abandon ──────────┘                                  │
///                 ├──────────────────────────── unfreeze ────────────────────────────┤  (after the target's reject)
///                 └────────────────────────────── thaw ──────────────────────────────┘  (by a map that overrules it)
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
    /// Log time never falls behind this. Of groups that took over shards before shards had times of their own.
    private var timeFloor: Milliseconds = 0
    /// Sessions by their ends, for shards that were asked about since the machine was loaded.
    private var indexes: [ShardID: SessionIndex] = [:]

    private struct SessionKey: Hashable {
        var shard: ShardID
        var token: [UInt8]
    }
    /// Session rows as this batch leaves them; clean ones stay as a cache.
    private var sessions: [SessionKey: SessionRow] = [:]
    /// With the entry that has changed them last.
    private var dirtySessions: [SessionKey: LogIndex] = [:]
    private var dirtyShards: Set<ShardID> = []
    /// Shards whose changes are noted.
    private var tracked: Set<ShardID> = []

    /// A known defect that is put back, for the simulator to find.
    package var plant: Plant?

    /// Defects that the rows of sessions are there to prevent.
    package enum Plant: Sendable {
        /// Answers that the client has not acknowledged are forgotten, and the lowest number that counts isn't raised.
        case forgetsAnswersEarly
        /// The rows of sessions go a while before they end.
        case evictsLiveSessions
        /// The row of a session that had one already is not written.
        case keepsAnswersInMemoryOnly
        /// A delete's answer is not recorded.
        case forgetsDeletes
        /// A session that its client has closed leaves nothing behind.
        case forgetsClosedSessions
        /// A shard is activated however few members have staged it.
        case activatesUnstaged
        /// The rows of sessions don't come with an activated shard.
        case leavesSessionsBehind
        /// A shard is adopted whether it was here already or not.
        case adoptsTwice
        /// Writes of a frozen shard are taken.
        case writesWhileFrozen
        /// A source ends a move for which it has frozen the shard, without a word of its target.
        case abandonsFrozen
        /// A shard that was collected is served further.
        case servesAfterCollect
        /// A row that goes while its shard is being copied is not noted.
        case notesNoDeletes
        /// The rows of sessions that change while their shard is being copied are not noted.
        case notesNoSessions
    }

    public init() {}

    public mutating func load(in context: inout ApplyContext) throws(EngineError) {
        let plant = plant
        self = GroupMachine()
        self.plant = plant
        shards = [:]
        shardCount = try context.stateRow(Self.shardCountKey)
            .flatMap { row in row.withUnsafeBytes { bigEndianNumber($0) } }.map { Int(clamping: $0) }
        timeFloor =
            try context.stateRow(Self.timeFloorKey)
            .flatMap { row in row.withUnsafeBytes { bigEndianNumber($0) } } ?? 0
        for row in try context.stateRows(prefix: [ShardRecord.prefix]) where row.key.count == 9 {
            guard let shard = row.key.dropFirst().withUnsafeBytes({ bigEndianNumber($0) }) else { continue }
            let record = try decode(row.value, ShardRecord.init(encoded:))
            shards[ShardID(clamping: shard)] = record
            if record.tracking != nil { tracked.insert(ShardID(clamping: shard)) }
        }
    }

    public mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> GroupReply {
        let command: GroupCommand
        do throws(CodingError) { command = try GroupCommand(encoded: entry.payload) } catch {
            return .refused(.invalid(error.description))
        }
        switch command {
        case .write(let key, let operation, let stamp):
            switch try write(key, operation, stamp, at: entry.index, in: &context) {
            case .success(let reply): return .key(reply)
            case .failure(let refusal): return .refused(refusal)
            }
        case .passTime:
            for shard in shards.keys.sorted() where shards[shard]?.state == .serving {
                try evictExpired(shard, now: time(of: shard, in: context), at: entry.index, in: &context)
            }
            return .stepped
        case .closeSession(let shard, let token): return try closeSession(shard, token, at: entry.index, in: &context)
        case .adopt(let shard, let count): return adopt(shard, shardCount: count, in: &context)
        case .prepare(let shard, let target): return try prepare(shard, to: target, in: &context)
        case .freeze(let shard, let target): return freeze(shard, to: target, in: &context)
        case .unfreeze(let shard): return unfreeze(shard, in: &context)
        case .collect(let shard): return collect(shard, in: &context)
        case .expect(let shard): return try expect(shard, in: &context)
        case .activate(let shard, let activation): return try activate(shard, activation, in: &context)
        case .reject(let shard): return try reject(shard, in: &context)
        case .abandon(let shard): return abandon(shard, in: &context)
        case .thaw(let shard): return thaw(shard, in: &context)
        }
    }

    public mutating func flush(in context: inout ApplyContext) throws(EngineError) {
        for key in dirtySessions.keys { try flush(key, in: &context) }
        dirtySessions.removeAll(keepingCapacity: true)
        if sessions.count > SessionLimits.cacheMax { sessions.removeAll(keepingCapacity: true) }
        for shard in dirtyShards.sorted() {
            if let record = shards[shard] { context.setStateRow(ShardRecord.key(shard), record.encoded) }
        }
        dirtyShards.removeAll(keepingCapacity: true)
    }

    /// Writes the rows of a shard's sessions before the batch ends: whether they are written before or after what follows must
    /// not depend on how entries fall into batches.
    mutating func flushSessions(of shard: ShardID, in context: inout ApplyContext) throws(EngineError) {
        for key in dirtySessions.keys where key.shard == shard {
            try flush(key, in: &context)
            dirtySessions[key] = nil
        }
    }

    private mutating func flush(_ key: SessionKey, in context: inout ApplyContext) throws(EngineError) {
        guard let index = dirtySessions[key], let row = sessions[key],
            let family = context.families[ShardRecord.family(key.shard)]
        else { return }
        try setRow(key.shard, family, [ShardRows.session] + key.token, row.encoded, at: index, in: &context)
    }

    private func decode<Value>(
        _ bytes: [UInt8], _ make: ([UInt8]) throws(CodingError) -> Value
    ) throws(EngineError) -> Value {
        do throws(CodingError) { return try make(bytes) } catch { throw .corruption(place: error.place) }
    }

    mutating func setTracking(_ shard: ShardID, _ tracking: ShardTracking) {
        shards[shard]?.tracking = tracking
        dirtyShards.insert(shard)
    }

    private mutating func countSessions(of shard: ShardID) {
        shards[shard]?.sessions = indexes[shard]?.open ?? 0
        dirtyShards.insert(shard)
    }

    mutating func setRecord(_ shard: ShardID, _ record: ShardRecord) {
        shards[shard] = record
        dirtyShards.insert(shard)
        if record.tracking == nil { tracked.remove(shard) } else { tracked.insert(shard) }
    }

    // MARK: - Rows of shards

    /// Writes a row of a shard, or deletes it (`nil`). Every row goes through here: what is copied to another group would
    /// lack what isn't noted.
    ///
    /// - Parameter index: of the entry that has changed it.
    private mutating func setRow(
        _ shard: ShardID, _ family: FamilyID, _ key: [UInt8], _ value: [UInt8]?, at index: LogIndex,
        in context: inout ApplyContext
    ) throws(EngineError) {
        if tracked.contains(shard) { try noteChange(of: shard, family, key, value, at: index, in: &context) }
        if let value { context.put(family, key, value) } else { context.delete(family, key) }
    }

    // MARK: - Writes

    private mutating func write(
        _ key: [UInt8], _ operation: KeyOperation, _ stamp: SessionStamp?, at index: LogIndex,
        in context: inout ApplyContext
    ) throws(EngineError) -> Result<KeyReply, KeyRefusal> {
        do throws(KeyspaceError) { try Limits.check(key: key) } catch { return .failure(.invalid(error.description)) }
        guard let shardCount else { return .failure(.wrongGroup(shard: 0)) }
        let shard = Slot.shard(of: key, shardCount: shardCount)
        switch shards[shard]?.state {
        case .serving: break
        case .frozen where plant == .writesWhileFrozen: break
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
            return try execute(key, operation, of: shard, in: family, at: index, &context)
        }
        guard stamp.token.count == SessionStamp.tokenBytes else {
            return .failure(.invalid("a session token has \(SessionStamp.tokenBytes) bytes"))
        }
        let sessionKey = SessionKey(shard: shard, token: stamp.token)
        let (before, isNew): (SessionRow, Bool)
        let now = time(of: shard, in: context)
        switch try session(sessionKey, stamp, now: now, family: family, at: index, in: &context) {
        case .success(let found): (before, isNew) = found
        case .failure(let refusal): return .failure(refusal)
        }
        var row = before
        if let answer = row.answer(to: stamp.sequence) { return .success(answer) }
        if stamp.sequence < row.lowest {
            return .failure(.invalid("write \(stamp.sequence) of the session was answered, and its answer forgotten"))
        }
        row.forget(below: min(stamp.lowestUnanswered, stamp.sequence))
        if plant == .forgetsAnswersEarly { row.answers.removeAll { $0.sequence < stamp.sequence } }
        // The lowest always finds room: its answer is what lets the client acknowledge the others.
        guard row.hasRoom || stamp.sequence == row.lowest else {
            return .failure(.busy("the session has \(row.answers.count) unanswered writes in shard \(shard)"))
        }
        let result = try execute(key, operation, of: shard, in: family, at: index, &context)
        // The row is kept after a refusal too: a session that is counted has one.
        if case .success(let reply) = result, !(plant == .forgetsDeletes && operation == .delete) {
            row.record(reply, for: stamp.sequence)
        }
        sessions[sessionKey] = row
        // What hasn't changed was changed last by an earlier entry, in whichever batch that was.
        if isNew || row != before, plant != .keepsAnswersInMemoryOnly || row.answers.count < 2 {
            dirtySessions[sessionKey] = index
        }
        return result
    }

    private mutating func execute(
        _ key: [UInt8], _ operation: KeyOperation, of shard: ShardID, in family: FamilyID, at index: LogIndex,
        _ context: inout ApplyContext
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
            try setRow(shard, family, rowKey, ShardRows.record(value), at: index, in: &context)
            return .success(.put)
        case .append(let value):
            let record = try context.get(family, rowKey).map { $0 + value } ?? ShardRows.record(value)
            let length = record.count - 1
            if length > Limits.valueBytesMax {
                return .failure(.invalid(KeyspaceError.valueTooLarge(bytes: length).description))
            }
            try setRow(shard, family, rowKey, record, at: index, in: &context)
            return .success(.appended(length: length))
        case .delete:
            let existed = try context.get(family, rowKey) != nil
            if existed { try setRow(shard, family, rowKey, nil, at: index, in: &context) }
            return .success(.deleted(existed: existed))
        case .compareAndSet(let expected, let value):
            if let value, let refusal = check(value) { return .failure(refusal) }
            let present = try context.get(family, rowKey).map(ShardRows.value(ofRecord:))
            guard present == expected else { return .success(.compared(succeeded: false)) }
            if let value {
                try setRow(shard, family, rowKey, ShardRows.record(value), at: index, in: &context)
            } else if present != nil {
                try setRow(shard, family, rowKey, nil, at: index, in: &context)
            }
            return .success(.compared(succeeded: true))
        }
    }

    // MARK: - Sessions

    /// The session's row; a new one at first sight, while its end is ahead of log time. A row goes only once
    /// its end has passed, so a session that is missing and not over was never here.
    private mutating func session(
        _ key: SessionKey, _ stamp: SessionStamp, now: Milliseconds, family: FamilyID, at index: LogIndex,
        in context: inout ApplyContext
    ) throws(EngineError) -> Result<(SessionRow, isNew: Bool), KeyRefusal> {
        if let found = try row(key, family: family, in: context) {
            return found.end > now && !found.isClosed
                ? .success((found, isNew: false)) : .failure(.sessionExpired(logTime: now))
        }
        guard stamp.end > now else { return .failure(.sessionExpired(logTime: now)) }
        guard stamp.end <= now.addingClamped(SessionLimits.lifetimeMax) else {
            return .failure(.sessionTooLong(logTime: now))
        }
        try evictExpired(key.shard, now: now, at: index, in: &context)
        let known = try self.index(of: key.shard, in: context)
        guard shards[key.shard] != nil, known.open < SessionLimits.sessionsMax else {
            return .failure(.busy("shard \(key.shard) has \(SessionLimits.sessionsMax) sessions"))
        }
        guard known.count < SessionLimits.rowsMax else {
            return .failure(
                .busy("shard \(key.shard) remembers \(SessionLimits.rowsMax) sessions that were closed lately"))
        }
        guard stamp.origin == 0 || known.count(of: stamp.origin) < SessionLimits.sessionsOfOriginMax else {
            return .failure(
                .busy(
                    "this client's address has \(SessionLimits.sessionsOfOriginMax) sessions in shard \(key.shard); close "
                        + "clients that are no longer used, or give sessions a shorter life"))
        }
        indexes[key.shard]?.insert(SessionIndex.Entry(end: stamp.end, token: key.token, origin: stamp.origin))
        countSessions(of: key.shard)
        try setRow(
            key.shard, family, SessionEndRow.key(stamp.end, key.token), SessionEndRow.value(stamp.origin), at: index,
            in: &context)
        return .success((SessionRow(end: stamp.end), isNew: true))
    }

    /// The row of a session as this batch leaves it; `nil`: it has none.
    private func row(
        _ key: SessionKey, family: FamilyID, in context: ApplyContext
    ) throws(EngineError) -> SessionRow? {
        if let known = sessions[key] { return known }
        guard let stored = try context.get(family, [ShardRows.session] + key.token) else { return nil }
        return try decode(stored, SessionRow.init(encoded:))
    }

    private mutating func index(of shard: ShardID, in context: ApplyContext) throws(EngineError) -> SessionIndex {
        if let known = indexes[shard] { return known }
        var index = SessionIndex()
        if let family = context.families[ShardRecord.family(shard)] {
            let rows = try context.scan(
                family, lower: [ShardRows.sessionEnd], upper: [ShardRows.sessionEnd + 1], limit: .max)
            for row in rows {
                guard let entry = SessionEndRow.read(row.key, row.value) else {
                    throw .corruption(place: "the session rows of shard \(shard)")
                }
                index.insert(entry)
            }
        }
        indexes[shard] = index
        return index
    }

    private mutating func evictExpired(
        _ shard: ShardID, now: Milliseconds, at index: LogIndex, in context: inout ApplyContext
    ) throws(EngineError) {
        guard shards[shard] != nil, let family = context.families[ShardRecord.family(shard)] else { return }
        _ = try self.index(of: shard, in: context)
        let deadline = plant == .evictsLiveSessions ? now.addingClamped(1_500) : now
        let expired = indexes[shard]?.takeEnded(by: deadline, limit: SessionLimits.evictionsMax) ?? []
        guard !expired.isEmpty else { return }
        for entry in expired {
            invariant(
                entry.end <= deadline, "a session of shard \(shard) ends at \(entry.end), and log time is \(now)")
            let key = SessionKey(shard: shard, token: entry.token)
            try setRow(shard, family, SessionEndRow.key(entry.end, entry.token), nil, at: index, in: &context)
            // A row that no batch has written yet goes as one that was written: a copy may have it from another replica.
            try flush(key, in: &context)
            try setRow(shard, family, [ShardRows.session] + entry.token, nil, at: index, in: &context)
            sessions[key] = nil
            dirtySessions[key] = nil
        }
        countSessions(of: shard)
    }

    /// The client has closed the session: it counts no longer, and is remembered for a while.
    private mutating func closeSession(
        _ shard: ShardID, _ token: [UInt8], at index: LogIndex, in context: inout ApplyContext
    ) throws(EngineError) -> GroupReply {
        guard token.count == SessionStamp.tokenBytes, let record = shards[shard], record.state == .serving,
            let family = context.families[ShardRecord.family(shard)]
        else { return .stepped }
        let key = SessionKey(shard: shard, token: token)
        guard var row = try row(key, family: family, in: context), !row.isClosed else { return .stepped }
        _ = try self.index(of: shard, in: context)
        indexes[shard]?.remove(end: row.end, token: token)
        try setRow(shard, family, SessionEndRow.key(row.end, token), nil, at: index, in: &context)
        if plant == .forgetsClosedSessions {
            try setRow(shard, family, [ShardRows.session] + token, nil, at: index, in: &context)
            sessions[key] = nil
            dirtySessions[key] = nil
            return .stepped
        }
        row.isClosed = true
        row.answers = []
        row.end = min(row.end, time(of: shard, in: context).addingClamped(SessionLimits.closedLifetime))
        sessions[key] = row
        dirtySessions[key] = index
        indexes[shard]?.insert(SessionIndex.Entry(end: row.end, token: token, origin: SessionRow.closedOrigin))
        try setRow(
            shard, family, SessionEndRow.key(row.end, token), SessionEndRow.value(SessionRow.closedOrigin), at: index,
            in: &context)
        countSessions(of: shard)
        return .stepped
    }

    /// A shard's time: the log's, or ahead of it, if it came from a group whose log time was.
    func time(of shard: ShardID, in context: ApplyContext) -> Milliseconds {
        groupTime(in: context).addingClamped(shards[shard]?.timeShift ?? 0)
    }

    func groupTime(in context: ApplyContext) -> Milliseconds { max(context.logTime, timeFloor) }

    /// Cached rows of a shard whose family goes away.
    mutating func forgetSessions(of shard: ShardID) {
        indexes[shard] = nil
        sessions = sessions.filter { $0.key.shard != shard }
        dirtySessions = dirtySessions.filter { $0.key.shard != shard }
    }

    mutating func learnShardCount(_ count: Int, in context: inout ApplyContext) -> Bool {
        if let shardCount { return shardCount == count }
        guard (1...Limits.shardCountMax).contains(count) else { return false }
        shardCount = count
        context.setStateRow(Self.shardCountKey, bigEndianBytes(UInt64(count)))
        return true
    }
}
