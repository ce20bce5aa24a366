internal import Bytes
public import Engines
public import Keyspace
internal import RaftLog
internal import Sharding

/// The user keys of a snapshot or backup: shard by shard, in order within each, and on from behind any of them.
///
/// Every byte is verified before it is shown, and one chunk is held at a time. One thread at a time.
public final class ArchiveKeys {
    /// A place in that order.
    public struct Position: Sendable, Equatable {
        public var shard: ShardID
        public var key: [UInt8]

        public init(shard: ShardID, key: [UInt8]) {
            self.shard = shard
            self.key = key
        }
    }

    public struct Record: Sendable {
        public var position: Position
        public var value: [UInt8]

        /// Bytes of key and value.
        public var bytes: Int { position.key.count + value.count }
    }

    /// What a reading of all keys has found.
    public struct Measure: Sendable, Equatable {
        public var keys: UInt64 = 0
        /// Of keys and values.
        public var bytes: UInt64 = 0
        /// Bytes of the longest key.
        public var longestKey = 0
        /// Keys that are longer than was asked for, and the first of them.
        public var longKeys: UInt64 = 0
        public var firstLong: Position?
    }

    public let archive: Archive
    /// What a reader should know about the choice of shards.
    public private(set) var notes: [String] = []

    private let store: InspectedStore
    private let shards: [UserShard]
    private let prefix: [UInt8]
    private var cursor: (any Cursor)?
    /// The shard that is read, by its place in `shards`.
    private var place = 0

    /// Opens an archive; `prefix` chooses among its keys. A directory is refused: nothing vouches for its rows.
    public init(_ path: String, prefix: [UInt8] = []) throws(EngineError) {
        let store = try InspectedStore(path)
        guard let archive = store.archive else {
            throw .mismatch(
                "\(path) is a node's directory, which has no seal; make a snapshot of it first (flotilla snapshot save "
                    + "--from \(path) --out SNAPSHOT)")
        }
        self.archive = archive
        self.store = store
        self.prefix = prefix
        shards = try store.userShards()
        for shard in shards where shard.isFrozen {
            notes.append(
                "\(shard.group.title) had frozen shard \(shard.shard) for a move; what it held then is what is read")
        }
        if archive.manifest.kind == .backup, let map = try store.shardMap() {
            let held = Set(shards.map(\.shard))
            for shard in map.shardIDs where map[shard].gid != .none && !held.contains(shard) {
                notes.append("shard \(shard) is group \(map[shard].gid)'s, and no group in \(path) holds it")
            }
        }
    }

    /// Reads everything once, and counts the keys that are longer than `keyBytesMax`.
    public func measure(
        keyBytesMax: Int, _ progress: ReadProgress = ReadProgress()
    ) throws(EngineError) -> Measure {
        var measure = Measure()
        for shard in shards {
            try shard.scan(prefix: prefix, progress) { key, value in
                measure.keys += 1
                measure.bytes += UInt64(key.count + value.count)
                measure.longestKey = max(measure.longestKey, key.count)
                if key.count > keyBytesMax {
                    measure.longKeys += 1
                    if measure.firstLong == nil { measure.firstLong = Position(shard: shard.shard, key: Array(key)) }
                }
                return true
            }
        }
        return measure
    }

    /// Bytes to read, for a progress bar.
    public var bytesEstimate: UInt64 { store.bytesEstimate }

    /// The next record is the first behind a position, or without one the first of all.
    public func goOn(after position: Position?) throws(EngineError) {
        cursor = nil
        place = 0
        guard let position else { return }
        place = shards.firstIndex { $0.shard >= position.shard } ?? shards.count
        guard place < shards.count, shards[place].shard == position.shard else { return }
        // The least key that is greater.
        cursor = try shards[place].cursor(prefix: prefix, from: position.key + [0])
    }

    /// `nil` at the end.
    public func next() throws(EngineError) -> Record? {
        while place < shards.count {
            let shard = shards[place]
            let cursor: any Cursor
            if let open = self.cursor { cursor = open } else { cursor = try shard.cursor(prefix: prefix, from: prefix) }
            self.cursor = cursor
            let record = try cursor.next { key, record in
                Record(
                    position: Position(shard: shard.shard, key: Array(key.dropFirst())),
                    value: Array(ShardRows.value(ofRecord: record)))
            }
            if let record { return record }
            self.cursor = nil
            place += 1
        }
        return nil
    }
}

extension UserShard {
    /// Runs over the records from a key on that begin with a prefix.
    fileprivate func cursor(prefix: [UInt8], from key: [UInt8]) throws(EngineError) -> any Cursor {
        try group.view.cursor(
            family.family, lower: ShardRows.userKey(key), upper: successor(ofPrefix: ShardRows.userKey(prefix)),
            reverse: false)
    }
}

extension InspectedStore {
    /// The controller's newest map; `nil` without a controller.
    fileprivate func shardMap() throws(EngineError) -> ShardMap? {
        for group in groups where group.isController {
            return try ControllerMachine.map(number: nil, layout: group.layout, in: group.view)
        }
        return nil
    }
}
