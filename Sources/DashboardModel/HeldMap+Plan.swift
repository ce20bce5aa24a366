public import Keyspace
public import Sharding

extension HeldMap {
    /// What groups that join and groups that leave would move, by the controller's own rules, as if moves weren't held.
    /// What waits for a hold to end is not in it.
    public func plan(
        joining: [GroupID: [String]], leaving: [GroupID]
    ) throws(ControllerRefusal) -> Answer.Plan {
        let moves = try plannable.plan(joining: joining, leaving: leaving)
        var before: [GroupID: Int] = [:]
        for gid in Array(map.groups.keys) + joining.keys { before[gid] = 0 }
        for shard in map.shardIDs {
            let gid = map.destination(shard)
            if gid != .none { before[gid, default: 0] += 1 }
        }
        var after = before
        for move in moves {
            if move.from != .none { after[move.from, default: 0] -= 1 }
            if move.to != .none { after[move.to, default: 0] += 1 }
        }
        return Answer.Plan(
            moves: moves.map { Answer.PlanMove(shardId: $0.shard, from: $0.from, to: $0.to) },
            before: Self.byName(before), after: Self.byName(after))
    }

    /// The map as far as plans look: epochs say nothing here, and counting on from those of a stranger could overflow.
    private var plannable: ShardMap {
        var plannable = map
        plannable.isBalancePending = false
        for shard in map.shardIDs {
            plannable[shard].epoch = 0
            plannable[shard].move?.epoch = 1
        }
        return plannable
    }

    private static func byName(_ counts: [GroupID: Int]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: counts.map { ("\($0)", $1) })
    }
}
