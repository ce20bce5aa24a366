internal import Keyspace

/// How moves end that don't arrive, and what becomes of shards whose group is lost
/// (docs/adr/0028-a-move-ends-where-it-is-decided.md).
extension ShardMap {
    /// An operator wants the move to end. Who decides is the target's log, as ever, or the source's as long as it hasn't
    /// frozen the shard; the map only says that they are to reject it.
    ///
    /// - Parameter isForced: the target is lost for good: the source serves again under a higher epoch, which overrules
    ///   whatever the target has made of the move. What it has acknowledged is lost.
    mutating func abort(_ shard: ShardID, isForced: Bool, isHeld: Bool) throws(ControllerRefusal) {
        guard let row = row(shard) else { throw outOfRange(shard) }
        guard let move = row.move else {
            throw ControllerRefusal(.precondition, "shard \(shard) is not on the move; `query` shows what is")
        }
        switch move.phase {
        case .rejected: return
        case .moving where !isForced: self[shard].move?.phase = .aborting
        case .aborting where !isForced: return
        case .collecting where !isForced:
            throw ControllerRefusal(
                .precondition,
                "group \(move.to) has taken shard \(shard) over already; `controller move \(shard) \(move.from)` brings it "
                    + "back")
        case .moving, .aborting, .collecting:
            if move.from == .none {
                declareLost(shard)
            } else {
                self[shard] = Row(gid: move.from, epoch: move.epoch + 1, isBlank: false)
            }
            moveHasEnded(isHeld: isHeld)
        }
    }

    /// Groups that leave take nothing over any more, unless they have done so already.
    mutating func abortMoves(to gids: [GroupID]) {
        for (shard, move) in moves where move.phase == .moving && gids.contains(move.to) {
            self[shard].move?.phase = .aborting
        }
    }

    /// The group's data is lost for good: it may begin again with empty shards. What is on the move from it ends where its
    /// newest copy is: the target's log decides whether it has that copy, and needs nothing of the source to do so.
    mutating func giveUp(_ gid: GroupID, isHeld: Bool) throws(ControllerRefusal) {
        guard groups[gid] != nil else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        groups[gid]?.identity = []
        groups[gid]?.membershipIndex = 0
        var hasEnded = false
        for shard in shardIDs {
            let row = self[shard]
            guard let move = row.move else {
                if row.gid == gid { self[shard] = Row(gid: gid, epoch: row.epoch + 1, isBlank: true) }
                continue
            }
            // Somebody else serves it, or may soon: it must not begin here as well.
            if row.gid == gid { self[shard].isBlank = false }
            guard move.from == gid else { continue }
            switch move.phase {
            case .moving, .aborting:
                self[shard].move?.phase = .aborting
                self[shard].move?.from = .none
            case .rejected:
                declareLost(shard)
                hasEnded = true
            case .collecting:
                self[shard].move = nil
                hasEnded = true
            }
        }
        if hasEnded { moveHasEnded(isHeld: isHeld) }
    }

    /// Nobody has the shard any more: the group that had it begins with nothing, under an epoch that nothing was ever
    /// frozen for.
    mutating func declareLost(_ shard: ShardID) {
        let row = self[shard]
        self[shard] = Row(gid: row.gid, epoch: (row.move?.epoch ?? row.epoch) + 1, isBlank: true)
    }
}
