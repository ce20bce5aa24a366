public import Keyspace
public import RaftLog

/// What a source says of a shard that its log has frozen.
public struct FrozenShard: Sendable, Equatable {
    public var hashes: ShardHashes
    /// The source's log time, which the target's follows.
    public var logTime: Milliseconds

    public init(hashes: ShardHashes, logTime: Milliseconds) {
        self.hashes = hashes
        self.logTime = logTime
    }
}

/// What a target's leader asks of a member of its group: have this shard on your disk.
public struct StageOrder: Sendable, Equatable {
    public var shard: ShardEpoch
    /// What the source froze.
    public var hashes: ShardHashes
    /// The source group, and where its members are: whom to ask first comes first.
    public var source: Party
    public var addresses: [String]

    public init(shard: ShardEpoch, hashes: ShardHashes, source: Party, addresses: [String]) {
        self.shard = shard
        self.hashes = hashes
        self.source = source
        self.addresses = addresses
    }
}

/// What a member asks a node to make files of.
public enum ExportQuestion: Sendable, Equatable {
    /// The whole group, for the member of this incarnation.
    case snapshot(for: Incarnation)
    /// A frozen shard.
    case shard(ShardEpoch)
    /// The whole group in portable chunks, for a tool that is no member.
    /// - Parameter fromLeader: refuse unless this node leads, and has confirmed that it does.
    case copy(fromLeader: Bool)
}
