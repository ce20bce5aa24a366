internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// What a source notes of a shard while it is being copied: which rows have changed since the copy began, at which entry of
/// the log, and what that has made of the shard's fingerprints.
///
/// The notes are rows of a family of their own, written with the changes themselves in one batch on every replica, so that
/// any of them can tell a target what its copy lacks. A note says *which* row has changed, not what it was changed to: a row
/// that changes again moves to the end. So they take no more room than the keys that were touched (decision 0027). Indexes of the log are the same on all replicas; how many changes a replica makes of a batch of entries
/// is not.
public struct ShardTracking: Sendable, Equatable {
    /// Of the move.
    public var epoch: UInt64
    public var target: GroupID
    /// Bytes of all rows that were changed so far, each as often as it was, about.
    public var bytes: UInt64 = 0
    /// The difference to the fingerprints at the beginning.
    public var hashes = ShardHashes()

    public init(epoch: UInt64, target: GroupID) {
        self.epoch = epoch
        self.target = target
    }

    func encode(to writer: inout ByteWriter) {
        writer.varint(epoch)
        writer.varint(target.rawValue)
        writer.varint(bytes)
        hashes.encode(to: &writer)
    }

    init(from reader: inout ByteReader) throws(CodingError) {
        epoch = try reader.varint()
        target = GroupID(try reader.varint())
        bytes = try reader.varint()
        hashes = try ShardHashes(from: &reader)
    }
}

/// The rows of the family in which a shard's changes are noted.
enum ChangeRows {
    /// Index (8 bytes, big-endian), key of the shard's row -> nothing.
    static let byIndex: UInt8 = 0x01
    /// Key of the shard's row -> index of its last change (8 bytes, big-endian).
    static let byKey: UInt8 = 0x02

    /// The family's name.
    static func family(_ shard: ShardID) -> String { "moving/\(shard)" }

    static func key(_ index: LogIndex, _ row: [UInt8] = []) -> [UInt8] { [byIndex] + bigEndianBytes(index) + row }
    static func key(of row: [UInt8]) -> [UInt8] { [byKey] + row }

    /// Reads what `key(_:_:)` writes.
    static func read(_ key: UnsafeRawBufferPointer) -> (index: LogIndex, row: [UInt8])? {
        guard key.count >= 9, let index = bigEndianNumber(UnsafeRawBufferPointer(rebasing: key[1..<9])) else {
            return nil
        }
        return (index, Array(key[9...]))
    }
}

extension ShardRecord {
    /// The shard whose changes a family notes; `nil`: it is no such family.
    public static func shard(ofChanges name: String) -> ShardID? {
        guard name.hasPrefix("moving/"), let number = UInt32(name.dropFirst(7)), case let shard = ShardID(number),
            ChangeRows.family(shard) == name
        else { return nil }
        return shard
    }
}

extension ShardHashes {
    /// One row more, or less.
    mutating func count(_ key: [UInt8], _ value: [UInt8], isThere: Bool) {
        key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                switch (key.first == ShardRows.user, isThere) {
                case (true, true): user.add(key: key, value: value)
                case (true, false): user.remove(key: key, value: value)
                case (false, true): session.add(key: key, value: value)
                case (false, false): session.remove(key: key, value: value)
                }
            }
        }
    }
}

/// What has changed in a shard after an index of its log: a page of it.
public struct ShardChanges: Sendable, Equatable {
    /// A row as it is now.
    public struct Row: Sendable, Equatable {
        public var key: [UInt8]
        /// `nil`: there is none any more.
        public var value: [UInt8]?

        public init(key: [UInt8], value: [UInt8]?) {
            self.key = key
            self.value = value
        }
    }

    /// In the order of their last changes; those of one entry of the log are in one page.
    public var rows: [Row]
    /// A copy that has these has what the source had applied up to here.
    public var through: LogIndex
    /// There are no more for now.
    public var isAll: Bool
    /// Nor will there be.
    public var isFrozen: Bool

    public init(rows: [Row] = [], through: LogIndex, isAll: Bool, isFrozen: Bool) {
        self.rows = rows
        self.through = through
        self.isAll = isAll
        self.isFrozen = isFrozen
    }

    /// Of the rows: what arrives is what was sent.
    public var checksum: ContentHash {
        var sum = ContentHash()
        for row in rows {
            // A row without a value is something else than one with an empty one.
            let marked = row.value.map { [1] + $0 } ?? [0]
            row.key.withUnsafeBytes { key in marked.withUnsafeBytes { sum.add(key: key, value: $0) } }
        }
        return sum
    }
}
