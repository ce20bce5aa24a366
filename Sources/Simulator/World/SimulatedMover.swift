internal import Keyspace
internal import RaftLog
internal import Sharding

/// What a group's leader does about the shard map, as `MoveDriver` does: it tells the controller who the group is,
/// and adopts the shards that were given to it blank. A move's steps have their place here; they are not simulated yet.
struct SimulatedMover {
    enum Act {
        case propose(GroupCommand)
        case report(addresses: [String], membershipIndex: LogIndex, identity: [UInt8])
    }

    /// The index of the membership that the controller has heard of.
    var reported: LogIndex = 0

    func acts(
        on map: ShardMap, own gid: GroupID, identity: [UInt8], records: [ShardID: ShardRecord], _ membership: Membership
    ) -> [Act] {
        guard let known = map.groups[gid] else { return [] }
        guard known.identity.isEmpty || known.identity == identity else { return [] }
        var acts: [Act] = []
        let isNew = known.identity != identity
        if !isNew {
            for shard in map.shardIDs
            where map[shard].gid == gid && map[shard].isBlank && records[shard] == nil {
                let adopted = ShardEpoch(shard: shard, epoch: map[shard].epoch)
                acts.append(.propose(.adopt(adopted, shardCount: map.shardCount)))
            }
        }
        if isNew || membership.index > reported {
            acts.append(
                .report(
                    addresses: membership.members.map(\.address), membershipIndex: membership.index, identity: identity)
            )
        }
        return acts
    }
}
