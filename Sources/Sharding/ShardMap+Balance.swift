internal import Keyspace

/// How shards are spread over the groups.
extension ShardMap {
    /// Groups that may receive shards, in order.
    var openGroups: [GroupID] { groups.filter { !$0.value.isLeaving }.keys.sorted() }

    /// Gives every shard a place with as few moves as possible, so that no two groups differ by more than one.
    /// The same input gives the same output on every replica: everything is visited in order.
    mutating func rebalance() {
        let open = openGroups
        guard !open.isEmpty else { return }
        placeOrphans()
        while true {
            let load = load()
            let share = open.reduce(0) { $0 + load[$1, default: 0] } / open.count
            guard let emptiest = open.min(by: { (load[$0, default: 0], $0) < (load[$1, default: 0], $1) }) else {
                return
            }
            let givers = open.filter { load[$0, default: 0] > max(share, load[emptiest, default: 0] + 1) }
                .sorted { (load[$1, default: 0], $0) < (load[$0, default: 0], $1) }
            isBalancePending = !givers.isEmpty
            // What is on the move already can't be sent elsewhere; a giver that has nothing else waits.
            let resting = givers.compactMap { giver in
                shardIDs.first { self[$0].move == nil && self[$0].gid == giver }
            }
            guard let shard = resting.first else { return }
            send(shard, to: emptiest)
        }
    }

    /// Places shards that have no group, or whose group is leaving, and that are not on the move already.
    mutating func placeOrphans() {
        let open = openGroups
        for shard in shardIDs where self[shard].move == nil {
            let gid = self[shard].gid
            if gid != .none, groups[gid]?.isLeaving == false { continue }
            let load = load()
            guard let target = open.min(by: { (load[$0, default: 0], $0) < (load[$1, default: 0], $1) }) else { return }
            send(shard, to: target)
        }
    }

    mutating func send(_ shard: ShardID, to target: GroupID) {
        let row = self[shard]
        if row.gid == .none {
            // Nobody has ever had it: there is nothing to copy.
            self[shard] = Row(gid: target, epoch: row.epoch + 1, isBlank: true)
        } else {
            self[shard].move = Move(from: row.gid, to: target, epoch: row.epoch + 1, phase: .moving)
        }
    }

    /// Shards per group, with everything on the move counted at its destination.
    private func load() -> [GroupID: Int] {
        var load: [GroupID: Int] = [:]
        for shard in shardIDs { load[destination(shard), default: 0] += 1 }
        return load
    }

    /// Removes groups that are leaving and have nothing left, neither to serve nor to hand over.
    mutating func removeEmptiedGroups() {
        for (gid, group) in groups where group.isLeaving {
            let isInUse = shards.contains { $0.gid == gid || $0.move?.from == gid || $0.move?.to == gid }
            if !isInUse { groups[gid] = nil }
        }
    }
}
