internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// Reads a group's state from one engine snapshot: a shard's record and its data always belong together.
public struct GroupReader {
    private let layout: GroupLayout
    private let view: any ReadView

    public init(_ layout: GroupLayout, in view: any ReadView) {
        self.layout = layout
        self.view = view
    }

    private func stateRow(_ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        try view.get(layout.meta, key: [GroupLayout.statePrefix] + key)
    }

    private func decode<Value>(
        _ bytes: [UInt8], _ make: ([UInt8]) throws(CodingError) -> Value
    ) throws(EngineError) -> Value {
        do throws(CodingError) { return try make(bytes) } catch {
            throw .corruption(place: "group \(layout.gid): \(error.place)")
        }
    }

    /// Fixed once it is known.
    public func shardCount() throws(EngineError) -> Int? {
        try stateRow(GroupMachine.shardCountKey).flatMap { $0.withUnsafeBytes { bigEndianNumber($0) } }
            .map { Int(clamping: $0) }
    }

    public func record(_ shard: ShardID) throws(EngineError) -> ShardRecord? {
        guard let row = try stateRow(ShardRecord.key(shard)) else { return nil }
        return try decode(row, ShardRecord.init(encoded:))
    }

    /// Every shard that the group has or has had.
    public func records() throws(EngineError) -> [ShardID: ShardRecord] {
        var rows: [(key: [UInt8], value: [UInt8])] = []
        let prefix = [GroupLayout.statePrefix, ShardRecord.prefix]
        try view.scan(layout.meta, lower: prefix, upper: successor(ofPrefix: prefix)) { key, value in
            rows.append((Array(key), Array(value)))
            return true
        }
        var records: [ShardID: ShardRecord] = [:]
        for row in rows where row.key.count == 10 {
            guard let shard = row.key.dropFirst(2).withUnsafeBytes({ bigEndianNumber($0) }) else { continue }
            records[ShardID(clamping: shard)] = try decode(row.value, ShardRecord.init(encoded:))
        }
        return records
    }

    public func decision(_ shard: ShardEpoch) throws(EngineError) -> ShardDecision? {
        guard let row = try stateRow(ShardDecision.key(shard)) else { return nil }
        return try decode(row, ShardDecision.init(encoded:))
    }

    /// Every decision that the group's log has made, ordered by shard and epoch.
    public func decisions() throws(EngineError) -> [(shard: ShardEpoch, decision: ShardDecision)] {
        var rows: [(key: [UInt8], value: [UInt8])] = []
        let prefix = [GroupLayout.statePrefix, ShardDecision.prefix]
        try view.scan(layout.meta, lower: prefix, upper: successor(ofPrefix: prefix)) { key, value in
            rows.append((Array(key), Array(value)))
            return true
        }
        var decisions: [(shard: ShardEpoch, decision: ShardDecision)] = []
        for row in rows where row.key.count == 18 {
            let numbers = row.key.withUnsafeBytes { key in
                (
                    bigEndianNumber(UnsafeRawBufferPointer(rebasing: key[2..<10])),
                    bigEndianNumber(UnsafeRawBufferPointer(rebasing: key[10..<18]))
                )
            }
            guard let shard = numbers.0, let epoch = numbers.1 else { continue }
            decisions.append(
                (ShardEpoch(shard: ShardID(clamping: shard), epoch: epoch), try decode(row.value, ShardDecision.init)))
        }
        return decisions
    }

    /// What is staged here of a shard.
    public func staged(_ shard: ShardEpoch) throws(EngineError) -> StagedShard? {
        guard let staged = try layout.staged(StagedShard.name(shard), in: view) else { return nil }
        return try decode(staged.note, StagedShard.init(encoded:))
    }

    /// Shards that are staged here.
    public func stagedShards() throws(EngineError) -> [ShardEpoch] {
        try layout.stagedFamilies(in: view).keys.compactMap { StagedShard.shard(ofName: $0) }
    }

    /// Staged shards that no entry can map any more: their move is decided, or a newer epoch is here.
    public func staleStagedShards() throws(EngineError) -> [ShardEpoch] {
        var stale: [ShardEpoch] = []
        for shard in try stagedShards() {
            let record = try record(shard.shard)
            if try decision(shard) != nil || (record.map { $0.epoch >= shard.epoch } ?? false) { stale.append(shard) }
        }
        return stale
    }

    /// The group's time as expiry sees it: the log's, or a later one that came with a shard.
    public func logTime() throws(EngineError) -> Milliseconds {
        let floor = try stateRow(GroupMachine.timeFloorKey).flatMap { $0.withUnsafeBytes { bigEndianNumber($0) } } ?? 0
        return max(try applied().logTime, floor)
    }

    /// The shard's time: the group's, and what the shard is ahead of it.
    public func time(of shard: ShardID) throws(EngineError) -> Milliseconds {
        try logTime().addingClamped(try record(shard)?.timeShift ?? 0)
    }

    public func applied() throws(EngineError) -> AppliedState { try GroupStorageRows.load(layout, in: view).applied }

    /// The shard's family; `nil` while it has no rows.
    public func family(_ shard: ShardID) throws(EngineError) -> FamilyID? {
        try layout.family(ShardRecord.family(shard), in: view)
    }

    /// The family of a shard that is served here.
    private func serving(_ shard: ShardID) throws(EngineError) -> Result<FamilyID?, KeyRefusal> {
        switch try record(shard)?.state {
        case .serving: return .success(try family(shard))
        case .frozen: return .failure(.frozen(shard: shard))
        case .gone, nil: return .failure(.wrongGroup(shard: shard))
        }
    }

    public func get(_ key: [UInt8], shardCount: Int) throws(EngineError) -> Result<[UInt8]?, KeyRefusal> {
        switch try serving(Slot.shard(of: key, shardCount: shardCount)) {
        case .failure(let refusal): return .failure(refusal)
        case .success(nil): return .success(nil)
        case .success(let family?):
            return .success(try view.get(family, key: ShardRows.userKey(key)).map(ShardRows.value(ofRecord:)))
        }
    }

    /// One page of a shard: pairs from `start` on, below `end` if that is not empty.
    ///
    /// - Parameter bytesMax: the page ends with the pair that reaches it, also of keys alone where the engine has read so
    ///   much for them: others wait until the page is made.
    public func scan(
        _ shard: ShardID, start: [UInt8], end: [UInt8], limit: Int, keysOnly: Bool, bytesMax: Int
    ) throws(EngineError) -> Result<(pairs: [KvPair], more: Bool), KeyRefusal> {
        let family: FamilyID
        switch try serving(shard) {
        case .failure(let refusal): return .failure(refusal)
        case .success(nil): return .success((pairs: [], more: false))
        case .success(let found?): family = found
        }
        var pairs: [KvPair] = []
        var bytes = 0
        var more = false
        let upper = end.isEmpty ? [ShardRows.user + 1] : ShardRows.userKey(end)
        let contents: CursorContents = keysOnly ? .keys : .pairs
        let cursor = try view.cursor(
            family, lower: ShardRows.userKey(start), upper: upper, reverse: false, reading: contents)
        while !more {
            if keysOnly, !pairs.isEmpty, cursor.valueBytesRead >= bytesMax {
                // Whether there is a next key would take reading it.
                more = true
                break
            }
            let isShown: Void? = try cursor.next { key, value in
                if pairs.count >= limit || (bytes >= bytesMax && !pairs.isEmpty) {
                    more = true
                    return
                }
                let record = keysOnly ? [] : ShardRows.value(ofRecord: Array(value))
                pairs.append(KvPair(key: Array(key.dropFirst()), value: record))
                bytes += key.count + record.count
            }
            if isShown == nil { break }
        }
        return .success((pairs: pairs, more: more))
    }

    /// One page of the sessions of a shard that is served here, in the order of their ends.
    public func sessions(
        _ shard: ShardID, after: KvSession?, limit: Int
    ) throws(EngineError) -> Result<(sessions: [KvSession], more: Bool), KeyRefusal> {
        let family: FamilyID
        switch try serving(shard) {
        case .failure(let refusal): return .failure(refusal)
        case .success(nil): return .success((sessions: [], more: false))
        case .success(let found?): family = found
        }
        let lower = after.map { SessionEndRow.key($0.end, $0.token) + [0] } ?? [ShardRows.sessionEnd]
        var sessions: [KvSession] = []
        var more = false
        try view.scan(family, lower: lower, upper: [ShardRows.sessionEnd + 1]) { key, value in
            guard sessions.count < limit else {
                more = true
                return false
            }
            guard let row = SessionEndRow.read(Array(key), Array(value)) else { return true }
            let origin = SessionOrigin(row.origin)
            sessions.append(
                KvSession(
                    token: row.token, end: row.end, origin: origin == .closed ? .unknown : origin,
                    isClosed: origin == .closed))
            return true
        }
        return .success((sessions: sessions, more: more))
    }

    /// What is there of a frozen shard.
    public enum FrozenRows { case family(FamilyID), none }

    /// The rows of a shard that is frozen under this epoch; `nil` if it isn't.
    public func frozen(_ shard: ShardEpoch) throws(EngineError) -> FrozenRows? {
        guard case .frozen(_, let epoch)? = try record(shard.shard)?.state, epoch == shard.epoch else { return nil }
        return try family(shard.shard).map { .family($0) } ?? FrozenRows.none
    }

    /// The fingerprints of a shard as it is in this view.
    public func hashes(_ shard: ShardID) throws(EngineError) -> ShardHashes {
        guard let family = try family(shard) else { return ShardHashes() }
        return try ShardRows.hashes(of: family, in: view)
    }

    /// The end, in log time, of the session that ends first.
    public func firstSessionEnd(_ shard: ShardID) throws(EngineError) -> Milliseconds? {
        guard let family = try family(shard) else { return nil }
        var end: Milliseconds?
        let upper = [ShardRows.sessionEnd + 1]
        try view.scan(family, lower: [ShardRows.sessionEnd], upper: upper, reading: .keys) { key, _ in
            end = bigEndianNumber(UnsafeRawBufferPointer(rebasing: key.dropFirst()))
            return false
        }
        return end
    }
}
