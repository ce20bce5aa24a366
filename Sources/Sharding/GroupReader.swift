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
        for row in rows {
            guard let shard = ShardDecision.shard(ofKey: Array(row.key.dropFirst(2))) else { continue }
            decisions.append((shard, try decode(row.value, ShardDecision.init)))
        }
        return decisions
    }

    /// Moves that the group's members stage, or have staged, and the log has not decided, with what lies staged here.
    public func undecided() throws(EngineError) -> [ShardEpoch] {
        var found: [ShardEpoch] = []
        let prefix = [GroupLayout.statePrefix, ShardDecision.expectationPrefix]
        try view.scan(layout.meta, lower: prefix, upper: successor(ofPrefix: prefix), reading: .keys) { key, _ in
            if let shard = ShardDecision.shard(ofKey: Array(key.dropFirst(2))) { found.append(shard) }
            return true
        }
        for shard in try stagedShards() where !found.contains(shard) {
            if try decision(shard) == nil { found.append(shard) }
        }
        return found
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

    /// A shard that is being copied under this epoch, or frozen for that, as it is in this view.
    public struct MovingShard {
        public var rows: FrozenRows
        /// What the group has applied.
        public var through: LogIndex
    }

    /// `nil`: it isn't on the move under this epoch.
    public func moving(_ shard: ShardEpoch) throws(EngineError) -> MovingShard? {
        guard let record = try record(shard.shard), record.isMoving(under: shard.epoch) else { return nil }
        let rows = try family(shard.shard).map { FrozenRows.family($0) } ?? .none
        return MovingShard(rows: rows, through: try applied().position.index)
    }

    /// What has changed in a shard since a copy of it was as of `index`; `nil`: it isn't on the move under this epoch.
    ///
    /// - Parameter bytesMax: the page ends with the entry of the log that reaches it.
    public func changes(
        of shard: ShardEpoch, after index: LogIndex, bytesMax: Int
    ) throws(EngineError) -> ShardChanges? {
        guard let record = try record(shard.shard), record.isMoving(under: shard.epoch) else { return nil }
        let applied = try applied().position.index
        let isFrozen = record.state != .serving
        var page = ShardChanges(through: max(applied, index), isAll: true, isFrozen: isFrozen && applied >= index)
        guard record.tracking?.epoch == shard.epoch,
            let notes = try layout.family(ChangeRows.family(shard.shard), in: view)
        else { return page }
        var keys: [(index: LogIndex, row: [UInt8])] = []
        var isMalformed = false
        // As many as fit, if their values are small; the rest are looked up again.
        let lower = ChangeRows.key(index + 1)
        try view.scan(notes, lower: lower, upper: [ChangeRows.byIndex + 1], reading: .keys) { key, _ in
            guard let note = ChangeRows.read(key) else {
                isMalformed = true
                return false
            }
            if keys.count >= Self.changesMax, note.index != keys.last?.index {
                page.isAll = false
                return false
            }
            keys.append(note)
            return true
        }
        if isMalformed { throw .corruption(place: "the notes of what changes in shard \(shard.shard)") }
        let family = try family(shard.shard)
        var bytes = 0
        for (number, note) in keys.enumerated() {
            if bytes >= bytesMax, note.index != keys[number - 1].index {
                page.isAll = false
                break
            }
            let value = try family.flatMap { family throws(EngineError) in try view.get(family, key: note.row) }
            page.rows.append(ShardChanges.Row(key: note.row, value: value))
            bytes += note.row.count + (value?.count ?? 0)
        }
        if !page.isAll { page.through = keys[page.rows.count - 1].index }
        return page
    }

    /// Rows that a page looks up at most, beyond those of one entry.
    private static let changesMax = 4_096

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
