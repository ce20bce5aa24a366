extension Answer {
    public enum MovePhase: String, Encodable, Sendable {
        /// Being copied.
        case moving
        /// The target serves; the source still has its copy.
        case collecting
        case done
        case rejected

        init(_ phase: ConfigReport.Phase) {
            switch phase {
            case .moving: self = .moving
            case .collecting: self = .collecting
            case .rejected: self = .rejected
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
        public var shardId: Int
        public var epoch: UInt64
        public var from: UInt64
        public var to: UInt64
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
        public var shardId: Int
        public var to: UInt64
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

        public init(shard: Int, to gid: UInt64, in config: ConfigReport) {
            self.config = config.number
            if config.moves.contains(where: { $0.shard == shard && $0.to == gid }) {
                outcome = .begun
            } else if config.hold?.waiting.contains(where: { $0.shard == shard && $0.to == gid }) == true {
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
        public var shardId: Int
        /// 0: nobody has it yet, so nothing is copied.
        public var from: UInt64
        public var to: UInt64
    }
}
