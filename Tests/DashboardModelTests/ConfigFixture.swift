import Keyspace

/// A shard map as a test writes it: row by row, with whatever nonsense it likes.
struct ConfigFixture {
    struct Group {
        var gid: GroupID
        var addresses: [String]
        var isLeaving = false
    }

    struct Move {
        var shard: ShardID
        var from: GroupID
        var to: GroupID
        var epoch: UInt64
        var phase: ShardMap.Move.Phase
    }

    struct Hold {
        struct Waiting {
            var shard: ShardID
            var to: GroupID
        }

        var holder: String
        var until: UInt64
        var waiting: [Waiting] = []
    }

    var number: UInt64
    var shardCount: Int
    var groups: [Group]
    var shards: [GroupID]
    var epochs: [UInt64]
    var moves: [Move] = []
    var clusterID: [UInt8] = []
    var hold: Hold?

    /// The map that it describes: a row for each shard, and what names none is in no map.
    var map: HeldMap {
        let count = min(max(shardCount, 0), Limits.shardCountMax)
        var map = ShardMap(
            number: number, clusterID: clusterID, groups: [:],
            shards: (0..<count).map { shard in
                ShardMap.Row(
                    gid: shards.indices.contains(shard) ? shards[shard] : .none,
                    epoch: epochs.indices.contains(shard) ? epochs[shard] : 0)
            })
        for group in groups where group.gid != .none && map.groups[group.gid] == nil {
            map.groups[group.gid] = ShardMap.Group(addresses: group.addresses, isLeaving: group.isLeaving)
        }
        for move in moves where map.row(move.shard) != nil && map[move.shard].move == nil {
            map[move.shard].move = ShardMap.Move(from: move.from, to: move.to, epoch: move.epoch, phase: move.phase)
        }
        let hold = hold.map { hold in
            MoveHold(
                id: [], holder: hold.holder, until: hold.until,
                waiting: Dictionary(hold.waiting.map { ($0.shard, $0.to) }, uniquingKeysWith: { first, _ in first }))
        }
        return HeldMap(map: map, hold: hold)
    }

    func gid(_ shard: ShardID) -> GroupID { shards[shard.index] }
}
