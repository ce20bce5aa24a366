internal import Foundation
internal import Keyspace
public import Wire

/// Where keys live, as far as this client knows. A pure value.
public struct RoutingTable: Sendable {
    public private(set) var number: UInt64 = 0
    public private(set) var shardCount = 0
    private var clusterID = Data()
    private var shards: [UInt64] = []
    private var groups: [UInt64: [String]] = [:]
    /// Whom to ask first in each group.
    private var leaders: [UInt64: String] = [:]
    private var turn = 0

    public init() {}

    public var isEmpty: Bool { shardCount == 0 }

    /// Takes a config that is newer than the present one, or of another cluster: one that was restored in its place
    /// counts on from the backup's number, which this client may have seen the old cluster go beyond.
    public mutating func adopt(_ config: Flotilla_V1_Config) {
        guard isEmpty || config.number > number || config.clusterID != clusterID else { return }
        number = config.number
        clusterID = config.clusterID
        shardCount = Int(config.shardCount)
        shards = config.shards
        groups = [:]
        for group in config.groups { groups[group.gid] = group.addresses }
        leaders = leaders.filter { groups[$0.key] != nil }
    }

    public func shard(of key: [UInt8]) -> Int { Slot.shard(of: key, shardCount: shardCount) }

    /// The group that serves a shard; `nil` if none does.
    public func group(of shard: Int) -> UInt64? {
        guard shards.indices.contains(shard), shards[shard] != 0 else { return nil }
        return shards[shard]
    }

    /// The node to ask: the leader that was last heard of, else one after another.
    public mutating func node(of gid: UInt64) -> String? {
        if let leader = leaders[gid] { return leader }
        guard let addresses = groups[gid], !addresses.isEmpty else { return nil }
        turn += 1
        return addresses[turn % addresses.count]
    }

    public mutating func leads(_ address: String, in gid: UInt64) { leaders[gid] = address }

    /// `address` doesn't lead (any more); `hint` may.
    public mutating func doesNotLead(_ address: String, in gid: UInt64, hint: String) {
        if !hint.isEmpty, hint != address { leaders[gid] = hint } else if leaders[gid] == address { leaders[gid] = nil }
    }
}
