public import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// The fingerprints of a shard: user records and session rows apart.
public struct ShardHashes: Sendable, Equatable {
    public var user: ContentHash
    public var session: ContentHash

    public init(user: ContentHash = ContentHash(), session: ContentHash = ContentHash()) {
        self.user = user
        self.session = session
    }

    /// Of rows that are in none of both.
    public mutating func add(_ other: ShardHashes) {
        user.add(other.user)
        session.add(other.session)
    }

    /// Takes away what `add` of the same has added. What a shard has gained and lost is a difference, and may be of fewer rows
    /// than none: it is added up modulo 2^64 and 2^128.
    public mutating func remove(_ other: ShardHashes) {
        user.remove(other.user)
        session.remove(other.session)
    }

    func encode(to writer: inout ByteWriter) {
        for hash in [user, session] {
            writer.varint(hash.count)
            writer.fixed64(hash.high)
            writer.fixed64(hash.low)
        }
    }

    init(from reader: inout ByteReader) throws(CodingError) {
        user = ContentHash(count: try reader.varint(), high: try reader.fixed64(), low: try reader.fixed64())
        session = ContentHash(count: try reader.varint(), high: try reader.fixed64(), low: try reader.fixed64())
    }
}

/// Why a target may serve a shard.
public struct Activation: Sendable, Equatable {
    /// What the source froze, and every member in `stagedBy` has on its disk.
    public var hashes: ShardHashes
    /// The source's log time at the freeze.
    public var logTime: Milliseconds
    public var shardCount: Int
    /// Lives of the members that have staged the shard: a quorum of the membership as of this entry, or it is void.
    public var stagedBy: [Incarnation]

    public init(hashes: ShardHashes, logTime: Milliseconds, shardCount: Int, stagedBy: [Incarnation]) {
        self.hashes = hashes
        self.logTime = logTime
        self.shardCount = shardCount
        self.stagedBy = stagedBy
    }

    func encode(to writer: inout ByteWriter) {
        hashes.encode(to: &writer)
        writer.varint(logTime)
        writer.varint(shardCount)
        writer.varint(stagedBy.count)
        for life in stagedBy {
            writer.fixed64(life.high)
            writer.fixed64(life.low)
        }
    }

    init(from reader: inout ByteReader) throws(CodingError) {
        hashes = try ShardHashes(from: &reader)
        logTime = try reader.varint()
        shardCount = Int(clamping: try reader.varint())
        stagedBy = []
        for _ in 0..<(try reader.count()) {
            stagedBy.append(Incarnation(high: try reader.fixed64(), low: try reader.fixed64()))
        }
    }
}

/// What a shard group's log carries.
public enum GroupCommand: Sendable, Equatable {
    case write(key: [UInt8], KeyOperation, SessionStamp?)
    /// The client will not use the session again in this shard.
    case closeSession(ShardID, token: [UInt8])
    /// The controller has given this group a shard that nobody had before.
    case adopt(ShardEpoch, shardCount: Int)
    /// Source: the shard is being copied to group `to`: note what changes from here on.
    case prepare(ShardEpoch, to: GroupID)
    /// Source: no more writes to the shard; it goes to group `to`.
    case freeze(ShardEpoch, to: GroupID)
    /// Source: the target has rejected the move.
    case unfreeze(ShardEpoch)
    /// Source: the target has activated; remove the copy.
    case collect(ShardEpoch)
    /// Target: members begin to stage the shard. Whoever leads later knows by this what is still to be decided.
    case expect(ShardEpoch)
    /// Target: serve.
    case activate(ShardEpoch, Activation)
    /// Target: never serve this shard under this epoch.
    case reject(ShardEpoch)
    /// Nothing but its stamp: expired sessions go.
    case passTime
    /// Source: never freeze the shard for this move. Void once it is frozen for it: then the target has the last word.
    case abandon(ShardEpoch)
    /// Source: the map says that the shard stays here, under this epoch, whatever earlier moves were to become of.
    case thaw(ShardEpoch)

    /// A write that needs more room than it frees.
    public var addsData: Bool {
        guard case .write(_, let operation, _) = self else { return false }
        return operation.addsData
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 64)
        func epoch(_ tag: UInt8, _ value: ShardEpoch) {
            writer.byte(tag)
            writer.varint(value.shard.index)
            writer.varint(value.epoch)
        }
        switch self {
        case .write(let key, let operation, let stamp):
            let origin = stamp?.origin ?? 0
            writer.byte(origin == 0 ? 1 : 10)
            writer.blob(key)
            if origin != 0 { writer.fixed32(origin) }
            writer.optional(stamp) { writer, stamp in
                writer.blob(stamp.token)
                writer.varint(stamp.end)
                writer.varint(stamp.sequence)
                writer.varint(stamp.lowestUnanswered)
            }
            switch operation {
            case .put(let value):
                writer.byte(1)
                writer.blob(value)
            case .append(let value):
                writer.byte(2)
                writer.blob(value)
            case .delete: writer.byte(3)
            case .compareAndSet(let expected, let value):
                writer.byte(4)
                writer.optional(expected) { $0.blob($1) }
                writer.optional(value) { $0.blob($1) }
            }
        case .adopt(let shard, let shardCount):
            epoch(2, shard)
            writer.varint(shardCount)
        case .freeze(let shard, let target):
            epoch(3, shard)
            writer.varint(target.rawValue)
        case .unfreeze(let shard): epoch(4, shard)
        case .collect(let shard): epoch(5, shard)
        case .activate(let shard, let activation):
            epoch(7, shard)
            activation.encode(to: &writer)
        case .reject(let shard): epoch(8, shard)
        case .prepare(let shard, let target):
            epoch(12, shard)
            writer.varint(target.rawValue)
        case .passTime: writer.byte(9)
        case .abandon(let shard): epoch(14, shard)
        case .thaw(let shard): epoch(15, shard)
        case .expect(let shard): epoch(16, shard)
        case .closeSession(let shard, let token):
            writer.byte(11)
            writer.varint(shard.index)
            writer.blob(token)
        }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "group command")
        func epoch(_ reader: inout ByteReader) throws(CodingError) -> ShardEpoch {
            ShardEpoch(shard: ShardID(clamping: try reader.varint()), epoch: try reader.varint())
        }
        func blob(_ reader: inout ByteReader) throws(CodingError) -> [UInt8] { try reader.blob() }
        let tag = try reader.byte()
        switch tag {
        case 1, 10:
            let key = try reader.blob()
            let origin = tag == 10 ? try reader.fixed32() : 0
            let stamp = try reader.optional { (reader) throws(CodingError) in
                SessionStamp(
                    token: try reader.blob(), end: try reader.varint(), sequence: try reader.varint(),
                    lowestUnanswered: try reader.varint(), origin: origin)
            }
            let operation: KeyOperation
            switch try reader.byte() {
            case 1: operation = .put(value: try reader.blob())
            case 2: operation = .append(value: try reader.blob())
            case 3: operation = .delete
            case 4: operation = .compareAndSet(expected: try reader.optional(blob), value: try reader.optional(blob))
            default: throw CodingError("group command")
            }
            self = .write(key: key, operation, stamp)
        case 2: self = .adopt(try epoch(&reader), shardCount: Int(clamping: try reader.varint()))
        case 3: self = .freeze(try epoch(&reader), to: GroupID(try reader.varint()))
        case 4: self = .unfreeze(try epoch(&reader))
        case 5: self = .collect(try epoch(&reader))
        case 7: self = .activate(try epoch(&reader), try Activation(from: &reader))
        case 8: self = .reject(try epoch(&reader))
        case 9: self = .passTime
        case 12: self = .prepare(try epoch(&reader), to: GroupID(try reader.varint()))
        case 11: self = .closeSession(ShardID(clamping: try reader.varint()), token: try reader.blob())
        case 14: self = .abandon(try epoch(&reader))
        case 15: self = .thaw(try epoch(&reader))
        case 16: self = .expect(try epoch(&reader))
        default: throw CodingError("group command")
        }
        try reader.finish()
    }
}

/// As a session's row keeps it (docs/formats.md).
extension KeyReply {
    /// With the number before it: each is a byte and at most one number of 10.
    static let encodedBytesMax = 21

    func encode(to writer: inout ByteWriter) {
        switch self {
        case .put: writer.byte(0)
        case .appended(let length):
            writer.byte(1)
            writer.varint(length)
        case .deleted(let existed): writer.byte(existed ? 3 : 2)
        case .compared(let succeeded): writer.byte(succeeded ? 5 : 4)
        }
    }

    init(from reader: inout ByteReader) throws(CodingError) {
        switch try reader.byte() {
        case 0: self = .put
        case 1: self = .appended(length: Int(clamping: try reader.varint()))
        case 2: self = .deleted(existed: false)
        case 3: self = .deleted(existed: true)
        case 4: self = .compared(succeeded: false)
        case 5: self = .compared(succeeded: true)
        default: throw CodingError("session row")
        }
    }
}

/// Why a write changed nothing.
public enum KeyRefusal: Error, Sendable, Equatable {
    /// This group doesn't serve the shard.
    case wrongGroup(shard: ShardID)
    /// The shard is frozen for a move.
    case frozen(shard: ShardID)
    /// The session's end has passed, by the shard's time: a retry can't be told from a new write any more.
    case sessionExpired(logTime: Milliseconds)
    /// The end that the session wants lies too far ahead of the shard's time. Nothing was done.
    case sessionTooLong(logTime: Milliseconds)
    /// Too many sessions, or too many unanswered writes in one.
    case busy(String)
    case invalid(String)
}

/// What the group's log answers.
public enum GroupReply: Sendable, Equatable {
    case key(KeyReply)
    case refused(KeyRefusal)
    /// A step of a move was taken, now or before.
    case stepped
    /// A step of a move doesn't fit what the log has decided.
    case outOfStep(String)
}
