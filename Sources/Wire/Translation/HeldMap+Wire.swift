import Foundation
public import Keyspace

extension HeldMap {
    /// Reads a map, whatever its sender has made of it: rows that name no shard of the map, groups that come twice and
    /// numbers beyond what a cluster can have are left out, so that everybody else may rely on it.
    public init(_ wire: Flotilla_V1_Config) {
        let count = min(Int(wire.shardCount), Limits.shardCountMax)
        var rows = (0..<count).map { shard in
            ShardMap.Row(
                gid: wire.shards.indices.contains(shard) ? GroupID(wire.shards[shard]) : .none,
                epoch: wire.epochs.indices.contains(shard) ? wire.epochs[shard] : 0, isBlank: false)
        }
        for move in wire.moves where Int(move.shard) < count && rows[Int(move.shard)].move == nil {
            let phase: ShardMap.Move.Phase =
                switch move.phase {
                case .collecting: .collecting
                case .rejected: .rejected
                case .aborting: .aborting
                case .moving, .unspecified, .UNRECOGNIZED: .moving
                }
            rows[Int(move.shard)].move = ShardMap.Move(
                from: GroupID(move.from), to: GroupID(move.to), epoch: move.epoch, phase: phase)
        }
        for shard in wire.blank where Int(shard) < count { rows[Int(shard)].isBlank = true }
        var groups: [GroupID: ShardMap.Group] = [:]
        for group in wire.groups where group.gid != 0 && groups[GroupID(group.gid)] == nil {
            groups[GroupID(group.gid)] = ShardMap.Group(
                addresses: group.addresses, isLeaving: group.leaving, identity: group.identity.array)
        }
        var map = ShardMap(number: wire.number, clusterID: wire.clusterID.array, groups: groups, shards: rows)
        var hold: MoveHold?
        if wire.hasHold {
            map.isBalancePending = wire.hold.balanceWaits
            var waiting: [ShardID: GroupID] = [:]
            for move in wire.hold.waiting where Int(move.shard) < count {
                waiting[ShardID(move.shard)] = GroupID(move.to)
            }
            hold = MoveHold(
                id: wire.hold.id.array, holder: wire.hold.holder, until: wire.hold.untilMs, waiting: waiting)
        }
        self.init(map: map, hold: hold)
    }

    public var wire: Flotilla_V1_Config {
        var wire = Flotilla_V1_Config()
        wire.number = map.number
        wire.shardCount = UInt32(map.shardCount)
        wire.clusterID = Data(map.clusterID)
        wire.groups = map.groups.sorted { $0.key < $1.key }.map { gid, group in
            var row = Flotilla_V1_GroupAddresses()
            row.gid = gid.rawValue
            row.addresses = group.addresses
            row.leaving = group.isLeaving
            row.identity = Data(group.identity)
            return row
        }
        wire.shards = map.shards.map(\.gid.rawValue)
        wire.epochs = map.shards.map(\.epoch)
        wire.blank = map.shardIDs.filter { map[$0].isBlank }.map(\.rawValue)
        wire.moves = map.moves.map { shard, move in
            var row = Flotilla_V1_MoveRow()
            row.shard = shard.rawValue
            row.from = move.from.rawValue
            row.to = move.to.rawValue
            row.epoch = move.epoch
            row.phase =
                switch move.phase {
                case .moving: .moving
                case .collecting: .collecting
                case .rejected: .rejected
                case .aborting: .aborting
                }
            return row
        }
        guard let hold else { return wire }
        wire.hold.id = Data(hold.id)
        wire.hold.holder = hold.holder
        wire.hold.untilMs = hold.until
        wire.hold.balanceWaits = map.isBalancePending
        wire.hold.waiting = hold.waiting.sorted { $0.key < $1.key }.map { shard, gid in
            var move = Flotilla_V1_WaitingMove()
            move.shard = shard.rawValue
            move.to = gid.rawValue
            return move
        }
        return wire
    }
}
