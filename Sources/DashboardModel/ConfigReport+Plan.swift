public import Sharding

extension ConfigReport {
    /// What groups that join and groups that leave would move, by the controller's own rules, as if moves weren't held.
    /// What waits for a hold to end is not in it.
    public func plan(
        joining: [UInt64: [String]], leaving: [UInt64]
    ) throws(ControllerRefusal) -> Answer.Plan {
        let config = normalized()
        let map = config.map
        let moves = try map.plan(joining: joining, leaving: leaving)
        var before: [UInt64: Int] = [:]
        for gid in config.groups.map(\.gid) + joining.keys { before[gid] = 0 }
        for shard in config.destinations where shard != 0 { before[shard, default: 0] += 1 }
        var after = before
        for move in moves {
            if move.from != 0 { after[move.from, default: 0] -= 1 }
            if move.to != 0 { after[move.to, default: 0] += 1 }
        }
        return Answer.Plan(
            moves: moves.map { Answer.PlanMove(shardId: $0.shard, from: $0.from, to: $0.to) },
            before: Self.byName(before), after: Self.byName(after))
    }

    /// Where each shard will be when everything on the move has arrived.
    private var destinations: [UInt64] {
        var destinations = shards
        for move in moves where move.phase != .rejected { destinations[move.shard] = move.to }
        return destinations
    }

    /// The map as the controller has it, as far as plans look: epochs say nothing here, and counting on from those of a
    /// stranger could overflow.
    private var map: ShardMap {
        var groups: [UInt64: ShardMap.Group] = [:]
        for group in self.groups {
            groups[group.gid] = ShardMap.Group(addresses: group.addresses, isLeaving: group.isLeaving)
        }
        var rows = shards.map { ShardMap.Row(gid: $0, epoch: 0) }
        for move in moves {
            let phase: ShardMap.Move.Phase =
                switch move.phase {
                case .moving: .moving
                case .collecting: .collecting
                case .rejected: .rejected
                }
            rows[move.shard].move = ShardMap.Move(from: move.from, to: move.to, epoch: 1, phase: phase)
        }
        return ShardMap(number: number, clusterID: [], groups: groups, shards: rows)
    }

    private static func byName(_ counts: [UInt64: Int]) -> [String: Int] {
        Dictionary(uniqueKeysWithValues: counts.map { ("\($0)", $1) })
    }
}
