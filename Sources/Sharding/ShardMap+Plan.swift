public import Keyspace

/// One shard that a change of groups would move.
public struct PlannedMove: Sendable, Equatable {
    public var shard: ShardID
    /// Where it is, or will be once what is on the move has arrived; 0: nobody has it yet, so nothing is copied.
    public var from: GroupID
    public var to: GroupID

    public init(shard: ShardID, from: GroupID, to: GroupID) {
        self.shard = shard
        self.from = from
        self.to = to
    }
}

extension ShardMap {
    /// What groups that join and groups that leave would move, shard by shard, as if moves weren't held. The map stays
    /// as it is.
    ///
    /// It is what the controller itself would do, on a copy: first the joins, then the leaves, then, since shards that
    /// are on the move can't be sent elsewhere before they arrive, all arrivals and what follows from them.
    public func plan(
        joining: [GroupID: [String]], leaving: [GroupID]
    ) throws(ControllerRefusal) -> [PlannedMove] {
        var next = self
        if !joining.isEmpty || leaving.isEmpty { try next.join(joining, isHeld: false) }
        if !leaving.isEmpty { try next.leave(leaving, isHeld: false) }
        next.arrive()
        return shardIDs.compactMap { shard in
            let (from, to) = (destination(shard), next[shard].gid)
            return from == to ? nil : PlannedMove(shard: shard, from: from, to: to)
        }
    }

    /// Ends every move, and those that begin thereby, as reports of the groups would.
    private mutating func arrive() {
        // The second round ends what the last arrivals of the first began, and so on; each evens out what is left. A
        // map that never comes to rest would be a fault; nobody should wait for it.
        for _ in 0..<Self.roundsMax {
            let moving = shardIDs.filter { self[$0].move != nil }
            if moving.isEmpty { return }
            for shard in moving {
                guard let move = self[shard].move else { continue }
                report(
                    shard, epoch: move.epoch, move.phase == .aborting ? .rejected : .activated, isHeld: false)
                report(shard, epoch: move.epoch, .collected, isHeld: false)
            }
        }
    }

    private static let roundsMax = 16
}
