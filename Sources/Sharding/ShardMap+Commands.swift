internal import Bytes
internal import Keyspace

/// What commands of the controller make of the map.
extension ShardMap {
    mutating func join(_ joining: [GroupID: [String]], isHeld: Bool) throws(ControllerRefusal) {
        guard !joining.isEmpty else { throw ControllerRefusal(.invalid, "join names no group") }
        guard Set(groups.keys).union(joining.keys).count <= Limits.groupsMax else {
            throw ControllerRefusal(.invalid, "a cluster has at most \(Limits.groupsMax) groups")
        }
        for (gid, addresses) in joining.sorted(by: { $0.key < $1.key }) {
            guard gid != .none else { throw ControllerRefusal(.invalid, "gid 0 means \"no group\"; choose another") }
            try Self.check(addresses, of: gid)
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
            if groups[gid] == nil {
                groups[gid] = Group(addresses: addresses, hasReported: false)
            } else {
                groups[gid]?.isLeaving = false
            }
        }
        if groups != before.groups { balance(isHeld: isHeld) }
    }

    /// The door asks for more (`Address`); what the log has taken must fit into rows on every replica alike.
    private static func check(_ addresses: [String], of gid: GroupID) throws(ControllerRefusal) {
        guard !addresses.isEmpty, addresses.allSatisfy({ !$0.isEmpty }) else {
            throw ControllerRefusal(.invalid, "group \(gid) names no address; give GID=HOST:PORT,…")
        }
        guard addresses.count <= Limits.groupAddressesMax else {
            throw ControllerRefusal(
                .invalid,
                "group \(gid) names \(addresses.count) addresses; at most \(Limits.groupAddressesMax) are kept")
        }
        guard addresses.allSatisfy({ $0.utf8.count <= Limits.addressBytesMax }) else {
            throw ControllerRefusal(
                .invalid, "group \(gid) names an address of more than \(Limits.addressBytesMax) bytes")
        }
        guard Set(addresses).count == addresses.count else {
            throw ControllerRefusal(.invalid, "group \(gid) names an address twice")
        }
    }

    /// A group says who it is, and where its members are.
    mutating func relocate(
        _ gid: GroupID, _ addresses: [String], membershipIndex: UInt64, identity: [UInt8]
    ) throws(ControllerRefusal) {
        guard var group = groups[gid] else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        guard identity.count <= Limits.clusterIDBytesMax else {
            throw ControllerRefusal(.invalid, "a group's identity has at most \(Limits.clusterIDBytesMax) bytes")
        }
        groups[gid]?.hasReported = true
        group.hasReported = true
        // A group that was given up may have been founded elsewhere, with the membership that it began with.
        let isFirstWord = group.identity.isEmpty && !identity.isEmpty
        if !identity.isEmpty {
            guard group.identity.isEmpty || group.identity == identity else {
                throw ControllerRefusal(
                    .precondition,
                    "group \(gid) was founded anew: what it had is lost; restore it from a backup, or give it up with "
                        + "`controller give-up \(gid)`")
            }
            group.identity = identity
            groups[gid] = group
        }
        // A leader that was deposed meanwhile may come late.
        guard membershipIndex > group.membershipIndex || (isFirstWord && group.membershipIndex == 0), !addresses.isEmpty
        else { return }
        try Self.check(addresses, of: gid)
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
        for gid in gids where groups[gid]?.hasReported == false { takeBack(from: gid) }
        if openGroups.isEmpty, shards.contains(where: { $0.gid != .none }) {
            throw ControllerRefusal(
                .precondition, "group \(gids[0]) is the last one and holds data; join another group first")
        }
        abortMoves(to: gids)
        balance(isHeld: isHeld)
        removeEmptiedGroups()
    }

    /// What was given to a group that nobody has ever heard of: it has served nothing, frozen nothing and decided nothing,
    /// so nothing need come from it, and no move to it has begun.
    private mutating func takeBack(from gid: GroupID) {
        for shard in shardIDs {
            let row = self[shard]
            if let move = row.move {
                guard move.to == gid, move.phase.isOpen else { continue }
                if move.from == .none {
                    declareLost(shard)
                    continue
                }
                // The epoch is used up: a next move must have a higher one.
                self[shard] = Row(gid: row.gid, epoch: move.epoch, isBlank: row.isBlank)
            } else if row.gid == gid, row.isBlank {
                self[shard] = Row(gid: .none, epoch: row.epoch, isBlank: false)
            }
        }
    }

    /// Spreads the shards, or leaves that for the end of the hold.
    private mutating func balance(isHeld: Bool) {
        if isHeld { isBalancePending = true } else { rebalance() }
    }

    mutating func move(_ shard: ShardID, to gid: GroupID) throws(ControllerRefusal) {
        guard let row = row(shard) else { throw outOfRange(shard) }
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

    func outOfRange(_ shard: ShardID) -> ControllerRefusal {
        ControllerRefusal(.invalid, "shard \(shard) is out of range; there are shards 0 to \(shards.count - 1)")
    }

    mutating func report(
        _ shard: ShardID, epoch: UInt64, _ event: ControllerCommand.MoveEvent, isHeld: Bool
    ) {
        // A report about anything but the move in progress is old news.
        guard var move = row(shard)?.move, move.epoch == epoch else { return }
        switch (event, move.phase) {
        case (.activated, .moving), (.activated, .aborting):
            invariant(
                epoch > self[shard].epoch, "shard \(shard) is served under epoch \(self[shard].epoch): not \(epoch)")
            move.phase = .collecting
            // Of a source that was given up nothing is left to remove.
            self[shard] = Row(gid: move.to, epoch: epoch, move: move.from == .none ? nil : move)
        case (.rejected, .moving), (.rejected, .aborting):
            move.phase = .rejected
            self[shard].move = move
            if move.from == .none { declareLost(shard) }
        case (.collected, .collecting): self[shard].move = nil
        case (.collected, .rejected):
            // The epoch is used up: a next move must have a higher one.
            self[shard] = Row(gid: move.from, epoch: epoch)
        default: return
        }
        guard self[shard].move == nil else { return }
        moveHasEnded(isHeld: isHeld)
    }

    /// While moves are held the next ones wait, and only what is under way ends.
    mutating func moveHasEnded(isHeld: Bool) { if isHeld { removeEmptiedGroups() } else { settle() } }

    /// Starts what waited for others to arrive.
    mutating func settle() {
        if isBalancePending { rebalance() } else { placeOrphans() }
        removeEmptiedGroups()
    }
}
