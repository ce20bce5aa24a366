internal import Keyspace

/// What commands of the controller make of the map.
extension ShardMap {
    mutating func join(_ joining: [GroupID: [String]], isHeld: Bool) throws(ControllerRefusal) {
        guard !joining.isEmpty else { throw ControllerRefusal(.invalid, "join names no group") }
        for (gid, addresses) in joining.sorted(by: { $0.key < $1.key }) {
            guard gid != .none else { throw ControllerRefusal(.invalid, "gid 0 means \"no group\"; choose another") }
            guard !addresses.isEmpty, addresses.allSatisfy({ !$0.isEmpty }) else {
                throw ControllerRefusal(.invalid, "group \(gid) names no address; give GID=HOST:PORT,…")
            }
            guard Set(addresses).count == addresses.count else {
                throw ControllerRefusal(.invalid, "group \(gid) names an address twice")
            }
            for (other, theirs) in joining.merging(groups.mapValues(\.addresses), uniquingKeysWith: { mine, _ in mine })
                .sorted(by: { $0.key < $1.key }) where other != gid
            {
                if let shared = addresses.first(where: theirs.contains) {
                    throw ControllerRefusal(
                        .precondition, "group \(gid) shares the address \(shared) with group \(other)")
                }
            }
            if let present = groups[gid], Set(present.addresses) != Set(addresses) {
                throw ControllerRefusal(
                    .precondition,
                    "group \(gid) has joined already with \(present.addresses.joined(separator: ",")); "
                        + "change its nodes with `group member`")
            }
        }
        let before = self
        for (gid, addresses) in joining {
            if groups[gid] == nil { groups[gid] = Group(addresses: addresses) } else { groups[gid]?.isLeaving = false }
        }
        if groups != before.groups { balance(isHeld: isHeld) }
    }

    mutating func relocate(
        _ gid: GroupID, _ addresses: [String], membershipIndex: UInt64
    ) throws(ControllerRefusal) {
        guard var group = groups[gid] else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        // A leader that was deposed meanwhile may come late.
        guard membershipIndex > group.membershipIndex, !addresses.isEmpty else { return }
        for (other, theirs) in groups.sorted(by: { $0.key < $1.key }) where other != gid {
            if let shared = addresses.first(where: theirs.addresses.contains) {
                throw ControllerRefusal(
                    .precondition, "group \(gid) shares the address \(shared) with group \(other)")
            }
        }
        group.addresses = addresses
        group.membershipIndex = membershipIndex
        groups[gid] = group
    }

    mutating func leave(_ gids: [GroupID], isHeld: Bool) throws(ControllerRefusal) {
        guard !gids.isEmpty else { throw ControllerRefusal(.invalid, "leave names no group") }
        for gid in gids where groups[gid] == nil {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        for gid in gids { groups[gid]?.isLeaving = true }
        if openGroups.isEmpty, shards.contains(where: { $0.gid != .none }) {
            throw ControllerRefusal(
                .precondition, "group \(gids[0]) is the last one and holds data; join another group first")
        }
        balance(isHeld: isHeld)
        removeEmptiedGroups()
    }

    /// Spreads the shards, or leaves that for the end of the hold.
    private mutating func balance(isHeld: Bool) {
        if isHeld { isBalancePending = true } else { rebalance() }
    }

    mutating func move(_ shard: ShardID, to gid: GroupID) throws(ControllerRefusal) {
        guard let row = row(shard) else {
            throw ControllerRefusal(
                .invalid, "shard \(shard) is out of range; there are shards 0 to \(shards.count - 1)")
        }
        guard let group = groups[gid] else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        if group.isLeaving { throw ControllerRefusal(.precondition, "group \(gid) is leaving") }
        if destination(shard) == gid { return }
        if let move = row.move {
            throw ControllerRefusal(
                .busy, "shard \(shard) is on its way from group \(move.from) to group \(move.to); try again later")
        }
        send(shard, to: gid)
    }

    mutating func report(
        _ shard: ShardID, epoch: UInt64, _ event: ControllerCommand.MoveEvent, isHeld: Bool
    ) {
        // A report about anything but the move in progress is old news.
        guard var move = row(shard)?.move, move.epoch == epoch else { return }
        switch (event, move.phase) {
        case (.activated, .moving):
            precondition(
                epoch > self[shard].epoch, "shard \(shard) is served under epoch \(self[shard].epoch): not \(epoch)")
            move.phase = .collecting
            self[shard] = Row(gid: move.to, epoch: epoch, move: move)
        case (.rejected, .moving):
            move.phase = .rejected
            self[shard].move = move
        case (.collected, .collecting): self[shard].move = nil
        case (.collected, .rejected):
            // The epoch is used up: a next move must have a higher one.
            self[shard] = Row(gid: move.from, epoch: epoch)
        default: return
        }
        guard self[shard].move == nil else { return }
        // While moves are held the next ones wait, and only what is under way ends.
        if isHeld { removeEmptiedGroups() } else { settle() }
    }

    /// Starts what waited for others to arrive.
    mutating func settle() {
        if isBalancePending { rebalance() } else { placeOrphans() }
        removeEmptiedGroups()
    }
}
