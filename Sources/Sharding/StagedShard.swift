public import Bytes
internal import Engines
public import Keyspace
public import RaftLog

/// What a replica knows of a shard that it has staged: the note of its `StagedFamily`.
public struct StagedShard: Sendable, Equatable {
    public var hashes: ShardHashes
    /// Open sessions in it.
    public var sessions: Int
    /// It has what the source had applied up to here; 0 in a copy of a shard whose changes were not noted.
    public var through: LogIndex

    public init(hashes: ShardHashes, sessions: Int, through: LogIndex = 0) {
        self.hashes = hashes
        self.sessions = sessions
        self.through = through
    }

    /// Takes one of the source's changes in: what the row is from now on.
    ///
    /// - Parameter before: the row as it is here; `nil`: there is none.
    public mutating func take(_ row: ShardChanges.Row, before: [UInt8]?) {
        if let before { hashes.count(row.key, before, isThere: false) }
        if let value = row.value { hashes.count(row.key, value, isThere: true) }
        guard row.key.first == ShardRows.sessionEnd else { return }
        let isOpen = row.value.map(ShardRows.isOpen) ?? false
        let wasOpen = before.map(ShardRows.isOpen) ?? false
        // Never below what can be written: a copy that is so wrong isn't what was frozen, which its fingerprints tell.
        sessions = max(0, sessions + (isOpen ? 1 : 0) - (wasOpen ? 1 : 0))
    }

    private static let prefix = "shard/"

    /// The staged family's name.
    public static func name(_ shard: ShardEpoch) -> String { "\(prefix)\(shard.shard)/\(shard.epoch)" }

    /// Reads what `name` writes.
    public static func shard(ofName name: String) -> ShardEpoch? {
        guard name.hasPrefix(prefix) else { return nil }
        let parts = name.dropFirst(prefix.count).split(separator: "/")
        guard parts.count == 2, let shard = UInt32(parts[0]), let epoch = UInt64(parts[1]) else { return nil }
        return ShardEpoch(shard: ShardID(shard), epoch: epoch)
    }

    static func read(_ shard: ShardEpoch, in context: ApplyContext) throws(EngineError) -> StagedShard? {
        guard let staged = try context.staged(name(shard)) else { return nil }
        do throws(CodingError) { return try StagedShard(encoded: staged.note) } catch {
            throw .corruption(place: error.place)
        }
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        hashes.encode(to: &writer)
        writer.varint(sessions)
        if through > 0 { writer.varint(through) }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "staged shard")
        hashes = try ShardHashes(from: &reader)
        sessions = Int(clamping: try reader.varint())
        through = 0
        if !reader.isAtEnd {
            through = try reader.varint()
            if through == 0 { throw CodingError("staged shard") }
        }
        try reader.finish()
    }
}
