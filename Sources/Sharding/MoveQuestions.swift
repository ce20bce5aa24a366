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

/// The nodes of a source group. The one that leads is asked first: a node that is paused or cut off would hold
/// up every step of a move, and the shard is frozen meanwhile.
public struct SourceGroup: Sendable, Equatable {
    public var party: Party
    public var addresses: [String]
    public var leader: String?

    public init(party: Party, addresses: [String], leader: String? = nil) {
        self.party = party
        self.addresses = addresses
        self.leader = leader
    }

    /// All of them, the leader first.
    public var inOrder: [String] { [leader].compactMap { $0 } + addresses.filter { $0 != leader } }
}

/// What a target's leader asks of a member of its group: have this shard on your disk, as far as this.
public struct StageOrder: Sendable, Equatable {
    /// What is enough.
    public enum Goal: Sendable, Equatable {
        /// What the source had applied at this index. It serves the shard, and more will follow.
        case through(LogIndex)
        /// What the source froze.
        case all(ShardHashes)

        func isMet(by staged: StagedShard) -> Bool {
            switch self {
            case .through(let index): staged.through >= index
            case .all(let hashes): staged.hashes == hashes
            }
        }
    }

    public var shard: ShardEpoch
    public var goal: Goal
    /// The source group, and where its members are: whom to ask first comes first.
    public var source: Party
    public var addresses: [String]

    public init(shard: ShardEpoch, goal: Goal, source: Party, addresses: [String]) {
        self.shard = shard
        self.goal = goal
        self.source = source
        self.addresses = addresses
    }
}

/// What a member asks a node to make files of.
public enum ExportQuestion: Sendable, Equatable {
    /// The whole group, for the member of this incarnation.
    case snapshot(for: Incarnation)
    /// A shard that is on the move.
    case shard(ShardEpoch)
    /// The whole group in portable chunks, for a tool that is no member.
    /// - Parameter fromLeader: refuse unless this node leads, and has confirmed that it does.
    case copy(fromLeader: Bool)
}
