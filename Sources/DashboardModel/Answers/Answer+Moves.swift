public import Keyspace

extension Answer {
    public enum MovePhase: String, Encodable, Sendable {
        /// Being copied.
        case moving
        /// The target serves; the source still has its copy.
        case collecting
        case done
        case rejected
        /// It is to end without arriving.
        case aborting

        init(_ phase: ShardMap.Move.Phase) {
            switch phase {
            case .moving: self = .moving
            case .collecting: self = .collecting
            case .rejected: self = .rejected
            case .aborting: self = .aborting
            }
        }
    }

    /// `GET /api/moves`.
    public struct Moves: Encodable, Sendable, Equatable {
        public var live: [Move]
        /// Newest first.
        public var history: [Move]
        @OrNull public var hold: Hold?
        public var waiting: [Waiting]
    }

    public struct Move: Encodable, Sendable, Equatable {
        public var shardId: ShardID
        public var epoch: UInt64
        public var from: GroupID
        public var to: GroupID
        public var phase: MovePhase
        public var startedAt: String
        @OrNull public var endedAt: String?
        @OrNull public var copiedBytes: UInt64?
        @OrNull public var totalBytes: UInt64?
    }

    public struct Hold: Encodable, Sendable, Equatable {
        public var holder: String
        public var until: String
    }

    public struct Waiting: Encodable, Sendable, Equatable {
        public var shardId: ShardID
        public var to: GroupID
    }

    /// `POST /api/actions/move`, 202.
    public struct MoveAccepted: Encodable, Sendable, Equatable {
        public enum Outcome: String, Encodable, Sendable {
            case begun
            /// Moves are held; it begins when the hold ends.
            case waiting
            /// The group serves the shard already.
            case there
        }

        /// The number of the config that came of it.
        public var config: UInt64
        public var outcome: Outcome

        public init(shard: ShardID, to gid: GroupID, in config: HeldMap) {
            self.config = config.map.number
            if config.map.row(shard)?.move?.to == gid {
                outcome = .begun
            } else if config.hold?.waiting[shard] == gid {
                outcome = .waiting
            } else {
                outcome = .there
            }
        }
    }

    /// `GET /api/plan`.
    public struct Plan: Encodable, Sendable, Equatable {
        public var moves: [PlanMove]
        /// Shards of each group, everything on the move counted at its destination. Both name the groups of before and
        /// of after: one that joins has 0 before, one that leaves 0 after.
        public var before: [String: Int]
        public var after: [String: Int]
    }

    public struct PlanMove: Encodable, Sendable, Equatable {
        public var shardId: ShardID
        /// 0: nobody has it yet, so nothing is copied.
        public var from: GroupID
        public var to: GroupID
    }
}
