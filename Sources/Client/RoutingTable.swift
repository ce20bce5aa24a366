public import Keyspace

/// Where keys live, as far as this client knows. A pure value.
public struct RoutingTable: Sendable {
    /// The newest map that was seen; `nil` before the first.
    public private(set) var map: ShardMap?
    /// Whom to ask first in each group.
    private var leaders: [GroupID: String] = [:]
    private var turn = 0

    public init() {}

    public var isEmpty: Bool { map == nil }
    public var number: UInt64 { map?.number ?? 0 }
    public var shardIDs: [ShardID] { map?.shardIDs ?? [] }

    /// Takes a map that is newer than the present one, or of another cluster: one that was restored in its place
    /// counts on from the backup's number, which this client may have seen the old cluster go beyond.
    public mutating func adopt(_ next: ShardMap) {
        guard next.shardCount > 0 else { return }
        // A cluster's number of shards never changes: a map that says otherwise would send keys to the wrong ones.
        if let map, map.clusterID == next.clusterID, map.number >= next.number || map.shardCount != next.shardCount {
            return
        }
        map = next
        leaders = leaders.filter { next.groups[$0.key] != nil }
    }

    /// The shard of a key; `nil` before a map is known.
    public func shard(of key: [UInt8]) -> ShardID? {
        map.map { Slot.shard(of: key, shardCount: $0.shardCount) }
    }

    /// The group that serves a shard; `nil` if none does.
    public func group(of shard: ShardID) -> GroupID? {
        guard let gid = map?.row(shard)?.gid, gid != .none else { return nil }
        return gid
    }

    /// The node to ask: the leader that was last heard of, else one after another.
    public mutating func node(of gid: GroupID) -> String? {
        if let leader = leaders[gid] { return leader }
        guard let addresses = map?.groups[gid]?.addresses, !addresses.isEmpty else { return nil }
        turn += 1
        return addresses[turn % addresses.count]
    }

    public mutating func leads(_ address: String, in gid: GroupID) { leaders[gid] = address }

    /// `address` doesn't lead (any more); `hint` may.
    public mutating func doesNotLead(_ address: String, in gid: GroupID, hint: String) {
        if !hint.isEmpty, hint != address { leaders[gid] = hint } else if leaders[gid] == address { leaders[gid] = nil }
    }
}
