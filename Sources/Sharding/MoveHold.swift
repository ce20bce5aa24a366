public import Engines
public import RaftLog

/// Keeps moves from starting while somebody copies the cluster (docs/adr/0019-moves-are-held-in-the-log.md).
///
/// It is a lease by log time: its holder prolongs it, and it ends by itself when the holder is gone. What would have moved
/// meanwhile waits here, or in the map's pending balance, and starts at the end.
public struct MoveHold: Sendable, Equatable {
    /// A lease is prolonged again and again; one that outlives its holder for long would be in the way.
    public static let lastsMax: Milliseconds = 600_000
    static let idBytes = 16
    static let holderBytesMax = 200

    /// 16 random bytes, its holder's.
    public var id: [UInt8]
    /// Who holds, for people.
    public var holder: String
    /// Log time at which it ends.
    public var until: Milliseconds
    /// Moves that were asked for meanwhile: shard to group.
    public var waiting: [Int: UInt64]

    public init(id: [UInt8], holder: String, until: Milliseconds, waiting: [Int: UInt64] = [:]) {
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
            writer.varint(shard)
            writer.varint(gid)
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
        for _ in 0..<(try reader.count()) { waiting[Int(clamping: try reader.varint())] = try reader.varint() }
        try reader.finish()
    }
}

/// Map and hold together: what a command of the controller changes.
struct HeldMap: Equatable {
    var map: ShardMap
    var hold: MoveHold?

    private static func check(_ lasts: Milliseconds) throws(ControllerRefusal) {
        guard (1...MoveHold.lastsMax).contains(lasts) else {
            throw ControllerRefusal(.invalid, "a hold lasts 1 to \(MoveHold.lastsMax) ms, not \(lasts)")
        }
    }

    mutating func hold(
        _ id: [UInt8], _ holder: String, lasts: Milliseconds, at now: Milliseconds
    ) throws(ControllerRefusal) {
        try Self.check(lasts)
        guard id.count == MoveHold.idBytes, holder.utf8.count <= MoveHold.holderBytesMax else {
            throw ControllerRefusal(
                .invalid,
                "a hold has an id of \(MoveHold.idBytes) bytes and a holder of at most \(MoveHold.holderBytesMax)")
        }
        if let hold, hold.id != id {
            throw ControllerRefusal(.busy, "moves are held already, by \(hold.holder); try again when it is done")
        }
        hold = MoveHold(id: id, holder: holder, until: now + lasts, waiting: hold?.waiting ?? [:])
    }

    mutating func prolong(_ id: [UInt8], lasts: Milliseconds, at now: Milliseconds) throws(ControllerRefusal) {
        try Self.check(lasts)
        guard let present = hold, present.id == id else { throw Self.lost }
        hold?.until = max(present.until, now + lasts)
    }

    mutating func release(_ id: [UInt8]) throws(ControllerRefusal) {
        guard hold?.id == id else { throw Self.lost }
        lift()
    }

    private static let lost = ControllerRefusal(
        .precondition, "the hold on moves has ended; moves may have started since: begin again")

    mutating func move(_ shard: Int, to gid: UInt64) throws(ControllerRefusal) {
        guard hold != nil else { return try map.move(shard, to: gid) }
        // The same refusals as ever, and the same "it is there already".
        var wanted = map
        try wanted.move(shard, to: gid)
        hold?.waiting[shard] = wanted.shards[shard] == map.shards[shard] ? nil : gid
    }

    /// Ends the hold. First what was asked for by hand starts, then the balance is made up around it.
    mutating func lift() {
        guard let ended = hold else { return }
        hold = nil
        for (shard, gid) in ended.waiting.sorted(by: { $0.key < $1.key }) {
            // The group may have left meanwhile.
            guard map.groups[gid]?.isLeaving == false, map.shards.indices.contains(shard),
                map.shards[shard].move == nil, map.shards[shard].gid != gid
            else { continue }
            map.send(shard, to: gid)
        }
        map.settle()
    }
}

extension ControllerMachine {
    static let holdKey = Array("hold".utf8)

    /// The hold on moves, read from a view of the engine.
    public static func hold(layout: GroupLayout, in view: any ReadView) throws(EngineError) -> MoveHold? {
        guard let row = try view.get(layout.meta, key: [GroupLayout.statePrefix] + holdKey) else { return nil }
        return try decodeHold(row)
    }

    static func decodeHold(_ row: [UInt8]) throws(EngineError) -> MoveHold {
        do throws(CodingError) { return try MoveHold(encoded: row) } catch {
            throw .corruption(place: "controller: \(error.place)")
        }
    }
}
