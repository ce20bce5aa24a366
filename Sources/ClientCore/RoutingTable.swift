package import Keyspace

/// Where keys live, as far as this client knows. A pure value.
package struct RoutingTable: Sendable {
    /// The newest map that was seen; `nil` before the first.
    package private(set) var map: ShardMap?
    /// What requests say of the map's cluster.
    package private(set) var cluster: UInt64 = 0
    /// Whom to ask first in each group.
    private var leaders: [GroupID: String] = [:]
    private var turn = 0

    package init() {}

    package var isEmpty: Bool { map == nil }
    package var number: UInt64 { map?.number ?? 0 }
    package var shardIDs: [ShardID] { map?.shardIDs ?? [] }

    /// Takes a map that is newer than the present one, or of another cluster: one that was restored in its place
    /// counts on from the backup's number, which this client may have seen the old cluster go beyond.
    package mutating func adopt(_ next: ShardMap) {
        guard next.shardCount > 0 else { return }
        // A cluster's number of shards never changes: a map that says otherwise would send keys to the wrong ones.
        if let map, map.clusterID == next.clusterID, map.number >= next.number || map.shardCount != next.shardCount {
            return
        }
        map = next
        cluster = ShardMap.mark(ofCluster: next.clusterID)
        // Whoever has left a group leads it no more, whoever listens there now.
        leaders = leaders.filter { next.groups[$0.key]?.addresses.contains($0.value) ?? false }
    }

    /// The shard of a key; `nil` before a map is known.
    package func shard(of key: [UInt8]) -> ShardID? {
        guard let map else { return nil }
        // Bytes in place: the hash of any collection costs a dozen allocations.
        return key.withUnsafeBytes { Slot.shard(of: $0, shardCount: map.shardCount) }
    }

    /// The group that serves a shard; `nil` if none does.
    package func group(of shard: ShardID) -> GroupID? {
        guard let gid = map?.row(shard)?.gid, gid != .none else { return nil }
        return gid
    }

    /// The node to ask: the leader that was last heard of, else one after another; `nil` if the chase's round is over, or
    /// the map knows no node of the group.
    package mutating func node(of gid: GroupID, _ chase: LeaderChase = LeaderChase()) -> String? {
        // Nearly always, and without a look at the map.
        if let leader = leaders[gid], chase.mayAsk(leader) { return leader }
        guard let group = map?.groups[gid] else { return nil }
        return chase.next(of: group.addresses, leader: nil, turn: &turn)
    }

    package mutating func leads(_ address: String, in gid: GroupID) {
        if leaders[gid] != address { leaders[gid] = address }
    }

    /// `address` doesn't lead (any more); `hint` may.
    package mutating func doesNotLead(_ address: String, in gid: GroupID, hint: String) {
        if !hint.isEmpty, hint != address { leaders[gid] = hint } else if leaders[gid] == address { leaders[gid] = nil }
    }
}
