package import Bytes
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
    /// While the shard is being copied to another group, and frozen for that.
    public var tracking: ShardTracking?

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

    /// It is being copied under this epoch, or was frozen for it, and the target has not decided.
    public func isMoving(under epoch: UInt64) -> Bool {
        if case .frozen(_, epoch) = state { return true }
        return state != .gone && tracking?.epoch == epoch
    }

    /// What changed so far under this epoch; nothing, if it isn't noted.
    func changed(under epoch: UInt64) -> ShardHashes {
        guard let tracking, tracking.epoch == epoch else { return ShardHashes() }
        return tracking.hashes
    }

    private static let shiftedFlag: UInt8 = 0x10
    private static let trackedFlag: UInt8 = 0x20

    package var encoded: [UInt8] {
        var writer = ByteWriter()
        let flags = (timeShift > 0 ? Self.shiftedFlag : 0) | (tracking == nil ? 0 : Self.trackedFlag)
        switch state {
        case .serving: writer.byte(1 | flags)
        case .frozen(let target, let moveEpoch):
            writer.byte(2 | flags)
            writer.varint(target.rawValue)
            writer.varint(moveEpoch)
        case .gone: writer.byte(3 | flags)
        }
        writer.varint(epoch)
        writer.varint(rejectedEpoch)
        writer.varint(sessions)
        if timeShift > 0 { writer.varint(timeShift) }
        tracking?.encode(to: &writer)
        return writer.bytes
    }

    package init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "shard record")
        let tag = try reader.byte()
        switch tag & ~(Self.shiftedFlag | Self.trackedFlag) {
        case 1: state = .serving
        case 2: state = .frozen(to: GroupID(try reader.varint()), epoch: try reader.varint())
        case 3: state = .gone
        default: throw CodingError("shard record")
        }
        epoch = try reader.varint()
        rejectedEpoch = try reader.varint()
        sessions = Int(clamping: try reader.varint())
        if tag & Self.shiftedFlag != 0 { timeShift = try reader.varint() }
        if tag & Self.trackedFlag != 0 { tracking = try ShardTracking(from: &reader) }
        try reader.finish()
    }
}

/// The last word on a move, in the target's log. The first decision stands.
public enum ShardDecision: Sendable, Equatable {
    case activated(ShardHashes)
    case rejected

    static let prefix: UInt8 = UInt8(ascii: "d")
    /// Of moves that are to be decided.
    static let expectationPrefix: UInt8 = UInt8(ascii: "e")
    static func key(_ shard: ShardEpoch) -> [UInt8] { key(prefix, shard) }
    static func expectationKey(_ shard: ShardEpoch) -> [UInt8] { key(expectationPrefix, shard) }

    private static func key(_ prefix: UInt8, _ shard: ShardEpoch) -> [UInt8] {
        [prefix] + bigEndianBytes(UInt64(shard.shard.rawValue)) + bigEndianBytes(shard.epoch)
    }

    /// Reads the end of a key, behind the prefix.
    static func shard(ofKey key: [UInt8]) -> ShardEpoch? {
        guard key.count == 16 else { return nil }
        let numbers = key.withUnsafeBytes { key in
            (
                bigEndianNumber(UnsafeRawBufferPointer(rebasing: key[..<8])),
                bigEndianNumber(UnsafeRawBufferPointer(rebasing: key[8...]))
            )
        }
        guard let shard = numbers.0, let epoch = numbers.1 else { return nil }
        return ShardEpoch(shard: ShardID(clamping: shard), epoch: epoch)
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

    static func isOpen(_ origin: [UInt8]) -> Bool { !origin.withUnsafeBytes(isClosed) }

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
