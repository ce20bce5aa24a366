internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// What commands of the controller make of map and hold.
extension HeldMap {
    private static func check(_ lasts: Milliseconds) throws(ControllerRefusal) {
        guard (1...MoveHold.lastsMaxMilliseconds).contains(lasts) else {
            throw ControllerRefusal(.invalid, "a hold lasts 1 to \(MoveHold.lastsMaxMilliseconds) ms, not \(lasts)")
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
        hold = MoveHold(id: id, holder: holder, until: now.addingClamped(lasts), waiting: hold?.waiting ?? [:])
    }

    mutating func prolong(_ id: [UInt8], lasts: Milliseconds, at now: Milliseconds) throws(ControllerRefusal) {
        try Self.check(lasts)
        guard let present = hold, present.id == id else { throw Self.lost }
        hold?.until = max(present.until, now.addingClamped(lasts))
    }

    mutating func release(_ id: [UInt8]) throws(ControllerRefusal) {
        guard hold?.id == id else { throw Self.lost }
        lift()
    }

    private static let lost = ControllerRefusal(
        .precondition, "the hold on moves has ended; moves may have started since: begin again")

    mutating func move(_ shard: ShardID, to gid: GroupID) throws(ControllerRefusal) {
        guard hold != nil else { return try map.move(shard, to: gid) }
        // The same refusals as ever, and the same "it is there already".
        var wanted = map
        try wanted.move(shard, to: gid)
        hold?.waiting[shard] = wanted[shard] == map[shard] ? nil : gid
    }

    /// What is under way may end while moves are held, and what waits need not start.
    mutating func abort(_ shard: ShardID, isForced: Bool) throws(ControllerRefusal) {
        if hold?.waiting.removeValue(forKey: shard) != nil { return }
        try map.abort(shard, isForced: isForced, isHeld: hold != nil)
    }

    /// Ends the hold. First what was asked for by hand starts, then the balance is made up around it.
    mutating func lift() {
        guard let ended = hold else { return }
        hold = nil
        for (shard, gid) in ended.waiting.sorted(by: { $0.key < $1.key }) {
            // The group may have left meanwhile.
            guard map.groups[gid]?.isLeaving == false, let row = map.row(shard), row.move == nil, row.gid != gid
            else { continue }
            map.send(shard, to: gid)
        }
        map.settle()
    }
}

extension ControllerMachine {
    package static let holdKey = Array("hold".utf8)

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
