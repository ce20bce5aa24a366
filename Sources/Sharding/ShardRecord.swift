public import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// What a group's log says of one shard. Kept after the shard has gone, so that an old order can't bring it back.
public struct ShardRecord: Sendable, Equatable {
    public enum State: Sendable, Equatable {
        case serving
        /// Frozen for a move to `to` under `epoch`; the target has the last word.
        case frozen(to: GroupID, epoch: UInt64)
        /// Handed over under the record's epoch.
        case gone
    }

    public var state: State
    /// Serving, frozen: the epoch under which it serves. Gone: under which it went.
    public var epoch: UInt64
    /// Moves up to this epoch were rejected; freezing for them is refused.
    public var rejectedEpoch: UInt64 = 0
    /// Open sessions in the shard.
    public var sessions: Int = 0
    /// So far the shard's time is ahead of the log's: it came from a group whose log time was.
    public var timeShift: Milliseconds = 0

    public init(state: State, epoch: UInt64) {
        self.state = state
        self.epoch = epoch
    }

    /// The map gives the shard to another group under a later epoch, though this one never froze it: a replica that was
    /// made the only member by force slept through the move. What it serves is out of date.
    ///
    /// - Parameters:
    ///   - gid: who serves the shard by the map, and `epoch`: under which epoch.
    ///   - own: this group.
    public func isOverruled(by gid: GroupID, epoch: UInt64, own: GroupID) -> Bool {
        state == .serving && gid != .none && gid != own && epoch > self.epoch
    }

    static let prefix: UInt8 = UInt8(ascii: "s")
    static func key(_ shard: ShardID) -> [UInt8] { [prefix] + bigEndianBytes(UInt64(shard.rawValue)) }
    /// The name of the shard's family.
    public static func family(_ shard: ShardID) -> String { "shard/\(shard)" }
    /// Reads what `family` writes.
    public static func shard(ofFamily name: String) -> ShardID? {
        guard name.hasPrefix("shard/"), let number = UInt32(name.dropFirst(6)), case let shard = ShardID(number),
            family(shard) == name
        else { return nil }
        return shard
    }

    private static let shiftedFlag: UInt8 = 0x10

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        let shifted: UInt8 = timeShift > 0 ? Self.shiftedFlag : 0
        switch state {
        case .serving: writer.byte(1 | shifted)
        case .frozen(let target, let moveEpoch):
            writer.byte(2 | shifted)
            writer.varint(target.rawValue)
            writer.varint(moveEpoch)
        case .gone: writer.byte(3 | shifted)
        }
        writer.varint(epoch)
        writer.varint(rejectedEpoch)
        writer.varint(sessions)
        if timeShift > 0 { writer.varint(timeShift) }
        return writer.bytes
    }

    package init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "shard record")
        let tag = try reader.byte()
        switch tag & ~Self.shiftedFlag {
        case 1: state = .serving
        case 2: state = .frozen(to: GroupID(try reader.varint()), epoch: try reader.varint())
        case 3: state = .gone
        default: throw CodingError("shard record")
        }
        epoch = try reader.varint()
        rejectedEpoch = try reader.varint()
        sessions = Int(clamping: try reader.varint())
        if tag & Self.shiftedFlag != 0 { timeShift = try reader.varint() }
        try reader.finish()
    }
}

/// What a replica knows of a shard that it has staged: the note of its `StagedFamily`.
public struct StagedShard: Sendable, Equatable {
    public var hashes: ShardHashes
    /// Session rows in it.
    public var sessions: Int

    public init(hashes: ShardHashes, sessions: Int) {
        self.hashes = hashes
        self.sessions = sessions
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
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "staged shard")
        hashes = try ShardHashes(from: &reader)
        sessions = Int(clamping: try reader.varint())
        try reader.finish()
    }
}

/// The last word on a move, in the target's log. The first decision stands.
public enum ShardDecision: Sendable, Equatable {
    case activated(ShardHashes)
    case rejected

    static let prefix: UInt8 = UInt8(ascii: "d")
    static func key(_ shard: ShardEpoch) -> [UInt8] {
        [prefix] + bigEndianBytes(UInt64(shard.shard.rawValue)) + bigEndianBytes(shard.epoch)
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .activated(let hashes):
            writer.byte(1)
            hashes.encode(to: &writer)
        case .rejected: writer.byte(2)
        }
        return writer.bytes
    }

    package init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "shard decision")
        switch try reader.byte() {
        case 1: self = .activated(try ShardHashes(from: &reader))
        case 2: self = .rejected
        default: throw CodingError("shard decision")
        }
        try reader.finish()
    }
}

/// The rows of a shard's family, by the first byte of their key.
public enum ShardRows {
    /// Token (16 bytes) -> `SessionRow`.
    public static let session: UInt8 = 0x01
    /// End (8 bytes, big-endian), token -> nothing: which sessions end first.
    public static let sessionEnd: UInt8 = 0x02
    /// User key -> record.
    public static let user: UInt8 = 0x10

    public static func userKey(_ key: [UInt8]) -> [UInt8] { [user] + key }

    /// A record is a byte of flags, 0 for now, and the value.
    package static func record(_ value: [UInt8]) -> [UInt8] { [0] + value }

    static func value(ofRecord record: [UInt8]) -> [UInt8] { Array(record.dropFirst()) }

    /// The value of a record in place.
    public static func value(ofRecord record: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: record.dropFirst())
    }

    /// Adds one row to the fingerprints of its shard.
    public static func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, to hashes: inout ShardHashes) {
        if key.first == user {
            hashes.user.add(key: key, value: value)
        } else {
            hashes.session.add(key: key, value: value)
        }
    }

    /// Open sessions in a family.
    public static func sessions(of family: FamilyID, in view: any ReadView) throws(EngineError) -> Int {
        var count = 0
        try view.scan(family, lower: [sessionEnd], upper: [sessionEnd + 1]) { _, origin in
            if !isClosed(origin) { count += 1 }
            return true
        }
        return count
    }

    /// Whether the value of a session's end says that its client has closed it.
    public static func isClosed(_ origin: UnsafeRawBufferPointer) -> Bool {
        origin.count == 4 && origin.allSatisfy { $0 == 0xff }
    }

    /// The fingerprints of a whole family, by a scan.
    public static func hashes(of family: FamilyID, in view: any ReadView) throws(EngineError) -> ShardHashes {
        var hashes = ShardHashes()
        try view.scan(family) { key, value in
            add(key: key, value: value, to: &hashes)
            return true
        }
        return hashes
    }
}
