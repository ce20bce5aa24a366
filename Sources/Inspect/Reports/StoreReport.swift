public import Engines
internal import Foundation
public import Keyspace
internal import RaftLog
internal import Sharding

/// What a snapshot, backup or directory holds: `flotilla snapshot inspect`, and its JSON (docs/inspect.md).
public struct StoreReport: Encodable, Sendable {
    public var path: String
    public var kind: InspectedStore.Kind
    /// Every byte is covered by a checksum under a seal.
    public var isSealed: Bool
    /// Of the archive's or directory's layout.
    public var format: Int?
    public var clusterId: String?
    public var engine: EngineKind?
    // Of an archive.
    public var createdAtMs: UInt64?
    public var madeBy: String?
    public var configNumber: UInt64?
    // Of a directory.
    public var incarnation: String?
    public var isCopy: Bool?
    public var movedTo: String?
    public var groups: [GroupReport]
}

/// One group of a store.
public struct GroupReport: Encodable, Sendable {
    public struct Position: Encodable, Sendable {
        public var index: UInt64
        public var term: UInt64
    }

    public struct MemberReport: Encodable, Sendable {
        public var id: UInt64
        public var address: String
        public var incarnation: String
        /// "voter", "joining" or "learner".
        public var standing: String
    }

    public struct LogRange: Encodable, Sendable {
        /// The last position that is no longer in the log.
        public var base: Position
        /// 0 without entries.
        public var firstIndex: UInt64 = 0
        public var lastIndex: UInt64 = 0
        public var lastTerm: UInt64 = 0
        public var entries: UInt64 = 0
        public var bytes: UInt64 = 0
    }

    /// A shard's record, and what its family holds.
    public struct ShardReport: Encodable, Sendable {
        public var shard: ShardID
        /// "serving", "frozen" or "gone".
        public var state: String
        public var epoch: UInt64
        /// While frozen: where it goes, under which epoch.
        public var movesTo: GroupID?
        public var moveEpoch: UInt64?
        public var rejectedEpoch: UInt64?
        /// Sessions by the record; `contents.sessions` are those that are there.
        public var sessions: Int
        /// `nil` when the families were not read, or the shard has none.
        public var contents: ShardContents?
    }

    /// A shard that a move has brought here and no entry has mapped yet.
    public struct StagedReport: Encodable, Sendable {
        public var shard: ShardID
        public var epoch: UInt64
        public var keys: UInt64
        public var contentHash: String
        public var sessions: Int
    }

    /// The last word of this group on a move to it.
    public struct DecisionReport: Encodable, Sendable {
        public var shard: ShardID
        public var epoch: UInt64
        /// "activated" or "rejected".
        public var decision: String
        public var contentHash: String?
    }

    public var role: String
    public var gid: GroupID
    public var nodeId: UInt64?
    public var engine: EngineKind?
    /// Only with a log; a snapshot has neither term nor vote.
    public var term: UInt64?
    public var vote: UInt64?
    public var applied: Position
    /// Unix milliseconds.
    public var logTimeMs: UInt64
    public var membershipIndex: UInt64
    public var members: [MemberReport]
    public var log: LogRange?
    // Of a shard group.
    public var shardCount: Int?
    public var shards: [ShardReport]?
    public var staged: [StagedReport]?
    public var decisions: [DecisionReport]?
    // Of the controller.
    public var map: ShardMapReport?
}

/// The controller's shard map.
public struct ShardMapReport: Encodable, Sendable {
    public struct Group: Encodable, Sendable {
        public var gid: GroupID
        public var addresses: [String]
        public var isLeaving: Bool
        public var shards: Int
    }

    public struct Move: Encodable, Sendable {
        public var from: GroupID
        public var to: GroupID
        public var epoch: UInt64
        /// "moving", "collecting", "rejected" or "aborting".
        public var phase: String
    }

    public struct Row: Encodable, Sendable {
        public var shard: ShardID
        /// 0 for none yet.
        public var gid: GroupID
        public var epoch: UInt64
        public var move: Move?
    }

    public var configNumber: UInt64
    public var clusterId: String
    /// Versions of the map that are kept.
    public var configs: UInt64
    public var groups: [Group]
    public var shards: [Row]
}

extension Member.Standing {
    var text: String {
        switch self {
        case .voter: "voter"
        case .joining: "joining"
        case .learner: "learner"
        }
    }
}

extension ShardMap.Move.Phase {
    var text: String {
        switch self {
        case .moving: "moving"
        case .collecting: "collecting"
        case .rejected: "rejected"
        case .aborting: "aborting"
        }
    }
}
