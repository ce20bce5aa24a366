public import Bytes

/// Keeps moves from starting while somebody copies the cluster (docs/adr/0019-moves-are-held-in-the-log.md).
///
/// It is a lease by log time: its holder prolongs it, and it ends by itself when the holder is gone. What would have moved
/// meanwhile waits here, or in the map's pending balance, and starts at the end.
public struct MoveHold: Sendable, Equatable {
    /// A lease is prolonged again and again; one that outlives its holder for long would be in the way.
    public static let lastsMaxMilliseconds: UInt64 = 600_000
    public static let idBytes = 16
    public static let holderBytesMax = 200

    /// 16 random bytes, its holder's.
    public var id: [UInt8]
    /// Who holds, for people.
    public var holder: String
    /// Log time at which it ends, in Unix milliseconds.
    public var until: UInt64
    /// Moves that were asked for meanwhile: shard to group.
    public var waiting: [ShardID: GroupID]

    public init(id: [UInt8], holder: String, until: UInt64, waiting: [ShardID: GroupID] = [:]) {
        self.id = id
        self.holder = holder
        self.until = until
        self.waiting = waiting
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.byte(1)
        writer.blob(id)
        writer.string(holder)
        writer.varint(until)
        writer.varint(waiting.count)
        for (shard, gid) in waiting.sorted(by: { $0.key < $1.key }) {
            writer.varint(shard.index)
            writer.varint(gid.rawValue)
        }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "hold on moves")
        guard try reader.byte() == 1 else { throw CodingError("hold on moves (unknown version)") }
        id = try reader.blob()
        holder = try reader.string()
        until = try reader.varint()
        waiting = [:]
        for _ in 0..<(try reader.count()) {
            waiting[ShardID(clamping: try reader.varint())] = GroupID(try reader.varint())
        }
        try reader.finish()
    }
}

/// The shard map and the hold on its moves: what the controller's log holds, and what it answers.
public struct HeldMap: Sendable, Equatable {
    public var map: ShardMap
    /// While it is there, no move starts. Only the newest map has one.
    public var hold: MoveHold?

    public init(map: ShardMap, hold: MoveHold? = nil) {
        self.map = map
        self.hold = hold
    }
}
