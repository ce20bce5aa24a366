public import Keyspace

/// What one replica answered when it was asked to read a whole shard.
public struct ReplicaContent: Sendable, Equatable {
    public var nodeID: UInt64
    public var address: String
    /// The content hash of the shard's keys and values, as text.
    public var hash: String?
    public var keys: UInt64?
    /// Up to where the log was applied in what was read.
    public var appliedIndex: UInt64?
    public var error: String?
    /// Its answer counts towards the majority. A learner's contents must agree like any other's.
    public var isVoter: Bool

    public init(
        nodeID: UInt64, address: String, isVoter: Bool = true, hash: String? = nil, keys: UInt64? = nil,
        appliedIndex: UInt64? = nil, error: String? = nil
    ) {
        self.nodeID = nodeID
        self.address = address
        self.isVoter = isVoter
        self.hash = hash
        self.keys = keys
        self.appliedIndex = appliedIndex
        self.error = error
    }

    var hasAnswered: Bool { error == nil && hash != nil }
}

extension Answer {
    /// `GET /api/shards/N/content`.
    public struct Content: Encodable, Sendable, Equatable {
        public enum Verdict: String, Encodable, Sendable {
            /// All that answered hold the same, and a majority of the voters did.
            case agree
            /// Two replicas at one index hold different things: damage.
            case differ
            /// They were read at different indexes, and writes came in between: ask again.
            case changing
            /// Too few answered to say.
            case unreachable
        }

        public struct Replica: Encodable, Sendable, Equatable {
            public var nodeId: UInt64
            public var address: String
            @OrNull public var hash: String?
            @OrNull public var keys: UInt64?
            @OrNull public var appliedIndex: UInt64?
            @OrNull public var error: String?
        }

        public var shardId: ShardID
        public var groupId: GroupID
        public var verdict: Verdict
        public var replicas: [Replica]

        /// - Parameter memberCount: the voters of the group.
        public init(shardId: ShardID, groupId: GroupID, replicas: [ReplicaContent], memberCount: Int) {
            self.shardId = shardId
            self.groupId = groupId
            verdict = Self.verdict(on: replicas, memberCount: memberCount)
            self.replicas = replicas.sorted { ($0.nodeID, $0.address) < ($1.nodeID, $1.address) }.map {
                Replica(
                    nodeId: $0.nodeID, address: $0.address, hash: $0.hash, keys: $0.keys,
                    appliedIndex: $0.appliedIndex, error: $0.error)
            }
        }

        /// Damage is said first: two replicas are enough to see it. Different contents of which one has no index may be
        /// of different times.
        public static func verdict(on replicas: [ReplicaContent], memberCount: Int) -> Verdict {
            let answered = replicas.filter(\.hasAnswered)
            var hashes: [UInt64: String] = [:]
            for replica in answered {
                guard let index = replica.appliedIndex, let hash = replica.hash else { continue }
                if let other = hashes.updateValue(hash, forKey: index), other != hash { return .differ }
            }
            guard answered.count(where: \.isVoter) > memberCount / 2 else { return .unreachable }
            return Set(answered.map(\.hash)).count == 1 ? .agree : .changing
        }
    }
}
