public import Keyspace

extension Answer {
    /// `GET /api/topology`.
    public struct Topology: Encodable, Sendable, Equatable {
        public var configCluster: ConfigCluster
        public var shardGroups: [ShardGroup]
        /// The group that serves each shard, by the shard's number; 0: none.
        public var shardMap: [String: GroupID]
        public var totalShards: Int
        @OrNull public var updatedAt: String?
    }

    /// The controller.
    public struct ConfigCluster: Encodable, Sendable, Equatable {
        public var configNum: UInt64
        public var nodes: [Node]
        @OrNull public var leaderId: UInt64?
        public var totalStorage: UInt64
    }

    public struct ShardGroup: Encodable, Sendable, Equatable {
        public var groupId: GroupID
        public var nodes: [Node]
        public var shards: [ShardID]
        public var totalStorage: UInt64
        @OrNull public var leaderId: UInt64?
        public var keys: UInt64
        public var bytes: UInt64
        public var leaving: Bool
        public var hasQuorum: Bool
    }

    public struct Node: Encodable, Sendable, Equatable {
        public var id: UInt64
        public var address: String
        public var role: String
        public var term: UInt64
        public var commitIndex: UInt64
        public var lastApplied: UInt64
        public var storageBytes: UInt64
        public var healthy: Bool
        @OrNull public var lastSeen: String?
        public var groupId: GroupID
        @OrNull public var error: String?
        @OrNull public var downSince: String?
        public var condition: String
        public var engine: String
        public var version: String
        public var firstIndex: UInt64
        public var lastIndex: UInt64
        public var lagEntries: UInt64
        public var voter: Bool
        public var storageCapacity: UInt64
        public var storageFree: UInt64
        public var reusableBytes: UInt64
        public var shortOfSpace: Bool
        public var httpAddress: String
        @OrNull public var startedAt: String?
        public var leaderChanges: UInt64
        public var proposalsPending: UInt64
        public var snapshotsInstalled: UInt64
        public var snapshotsSent: UInt64
        @OrNull public var fsync: NodeFsync?
        public var operationsPerSecond: Double
        public var peers: [Peer]
    }

    /// Batches that a node synced since the last update; only if there were any.
    public struct NodeFsync: Encodable, Sendable, Equatable {
        public var perSecond: Double
        public var p50Ms: Double
        public var p99Ms: Double
    }

    public struct Peer: Encodable, Sendable, Equatable {
        public var id: UInt64
        public var address: String
        @OrNull public var roundTripMs: Double?
        @OrNull public var heardAgoMs: UInt64?
    }

    public struct Shard: Encodable, Sendable, Equatable {
        public var shardId: ShardID
        public var groupId: GroupID
        public var state: String
        public var keys: UInt64
        public var bytes: UInt64
        public var epoch: UInt64
        public var readsPerSecond: Double
        public var writesPerSecond: Double
        @OrNull public var move: ShardMove?
    }

    public struct ShardMove: Encodable, Sendable, Equatable {
        public var from: GroupID
        public var to: GroupID
        public var phase: MovePhase
    }

    /// `GET /api/metrics`.
    public struct Metrics: Encodable, Sendable, Equatable {
        public var totalNodes: Int
        public var healthyNodes: Int
        public var totalStorage: UInt64
        public var totalKeys: UInt64
        public var totalShards: Int
        public var averageLoad: Double
        @OrNull public var updatedAt: String?
        public var storageCapacity: UInt64
        public var storageFree: UInt64
        public var groups: Int
        public var operationsPerSecond: Double
        public var operations: [Operation]
        public var fsync: Fsync
        public var replicationLag: ReplicationLag
        public var leaderless: [GroupID]
        public var withoutQuorum: [GroupID]
        public var underReplicated: [GroupID]
    }

    public struct Operation: Encodable, Sendable, Equatable {
        public var operation: String
        public var perSecond: Double
        public var errorsPerSecond: Double
        @OrNull public var p50Ms: Double?
        @OrNull public var p99Ms: Double?
    }

    public struct Fsync: Encodable, Sendable, Equatable {
        public var perSecond: Double
        @OrNull public var p50Ms: Double?
        @OrNull public var p99Ms: Double?
    }

    /// The node that is farthest behind; nobody's if none is behind.
    public struct ReplicationLag: Encodable, Sendable, Equatable {
        public var entries: UInt64
        @OrNull public var groupId: GroupID?
        @OrNull public var nodeId: UInt64?
    }
}
