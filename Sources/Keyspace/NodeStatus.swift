public import Telemetry

/// What a node says of itself. Counters count since its process began, unless they say otherwise.
public struct NodeStatus: Sendable, Equatable {
    public enum Role: String, Sendable {
        case leader = "Leader"
        case follower = "Follower"
        case candidate = "Candidate"
        case learner = "Learner"
        /// It doesn't take part yet.
        case unknown = "Unknown"
    }

    public struct Member: Sendable, Equatable {
        public var id: UInt64
        public var address: String
        public var isVoter: Bool
        /// In a leader's report: up to where the member's log is known to be the leader's.
        public var matchIndex: UInt64

        public init(id: UInt64, address: String, isVoter: Bool, matchIndex: UInt64 = 0) {
            self.id = id
            self.address = address
            self.isVoter = isVoter
            self.matchIndex = matchIndex
        }
    }

    public struct Peer: Sendable, Equatable {
        public var id: UInt64
        public var address: String
        /// Of all calls that were answered.
        public var roundTrips: DurationHistogram
        /// Of the last call that was answered.
        public var roundTripNanoseconds: UInt64?
        /// Milliseconds since that answer.
        public var heardAgoMs: UInt64?

        public init(
            id: UInt64, address: String, roundTripNanoseconds: UInt64? = nil, heardAgoMs: UInt64? = nil,
            roundTrips: DurationHistogram = DurationHistogram()
        ) {
            self.id = id
            self.address = address
            self.roundTrips = roundTrips
            self.roundTripNanoseconds = roundTripNanoseconds
            self.heardAgoMs = heardAgoMs
        }
    }

    /// A shard that another group's copy is being fetched of.
    public struct Transfer: Sendable, Equatable {
        public var shard: ShardID
        public var epoch: UInt64
        public var copiedBytes: UInt64
        /// 0 until the source has said.
        public var totalBytes: UInt64

        public init(shard: ShardID, epoch: UInt64, copiedBytes: UInt64, totalBytes: UInt64) {
            self.shard = shard
            self.epoch = epoch
            self.copiedBytes = copiedBytes
            self.totalBytes = totalBytes
        }
    }

    /// One kind of request, from its arrival to its answer.
    public struct Operation: Sendable, Equatable {
        /// `get`, `scan`, `put`, `append`, `delete`, `compareAndSet`.
        public var name: String
        public var errors: UInt64
        public var latency: DurationHistogram

        public init(name: String, errors: UInt64, latency: DurationHistogram) {
            self.name = name
            self.errors = errors
            self.latency = latency
        }
    }

    public var gid: GroupID
    public var id: UInt64
    public var address: String
    /// When the answer came, in milliseconds of a clock that is never set; 0: with the observation. Rates are over the
    /// time between two of these: a node that hangs holds up the observation, not the others' counters.
    public var takenAt: UInt64 = 0
    /// Empty if it doesn't say.
    public var clusterID: [UInt8] = []

    public var role: Role
    public var term: UInt64
    public var commitIndex: UInt64
    public var lastApplied: UInt64
    public var firstIndex: UInt64
    public var lastIndex: UInt64
    public var leaderID: UInt64?
    /// Where that node is, as far as this one knows; empty: it doesn't.
    public var leaderAddress = ""
    /// The number of the newest shard map that it has heard of.
    public var config: UInt64 = 0
    /// The group's log time, in Unix milliseconds; 0 if it doesn't say.
    public var logTimeMs: UInt64 = 0
    public var members: [Member] = []
    public var peers: [Peer] = []
    public var leaderChanges: UInt64 = 0
    /// Now, not since the beginning.
    public var proposalsPending: UInt64 = 0
    public var proposalsFailed: UInt64 = 0
    public var snapshotsInstalled: UInt64 = 0
    public var snapshotsSent: UInt64 = 0

    public var engine = ""
    public var version = ""
    /// Why it doesn't take part; empty if it does.
    public var condition = ""
    /// Unix milliseconds at which the process began, by its own clock; 0 if unknown.
    public var startedAt: UInt64 = 0
    /// How far the machine's wall clock is ahead of the one that the node goes by, in milliseconds: it has jumped.
    public var clockAhead: Int64 = 0
    /// Where it serves its metrics; empty if it doesn't.
    public var httpAddress = ""

    /// Bytes of its directory.
    public var storageBytes: UInt64 = 0
    /// Of the file system that the directory is on.
    public var storageCapacity: UInt64 = 0
    public var storageFree: UInt64 = 0
    /// Names the file system: equal for nodes that share one. Empty if unknown.
    public var filesystem = ""
    /// Free inside the engine's files.
    public var reusableBytes: UInt64 = 0
    /// It refuses new values until there is room.
    public var isShortOfSpace = false

    public var shards: [ShardStatus] = []
    public var transfers: [Transfer] = []
    public var operations: [Operation] = []
    /// Of batches that were synced to the disk.
    public var fsync = DurationHistogram()

    public init(
        gid: GroupID, id: UInt64, address: String, role: Role, term: UInt64, commitIndex: UInt64, lastApplied: UInt64,
        firstIndex: UInt64, lastIndex: UInt64, leaderID: UInt64?, storageBytes: UInt64 = 0,
        storageCapacity: UInt64 = 0, storageFree: UInt64 = 0, filesystem: String = "", reusableBytes: UInt64 = 0,
        isShortOfSpace: Bool = false, engine: String = "", version: String = "", condition: String = "",
        snapshotsInstalled: UInt64 = 0, snapshotsSent: UInt64 = 0, startedAt: UInt64 = 0, httpAddress: String = "",
        members: [Member] = [], peers: [Peer] = [], shards: [ShardStatus] = [], transfers: [Transfer] = [],
        operations: [Operation] = [], fsync: DurationHistogram = DurationHistogram(), leaderChanges: UInt64 = 0,
        proposalsPending: UInt64 = 0, proposalsFailed: UInt64 = 0, clusterID: [UInt8] = []
    ) {
        self.gid = gid
        self.id = id
        self.address = address
        self.clusterID = clusterID
        self.role = role
        self.term = term
        self.commitIndex = commitIndex
        self.lastApplied = lastApplied
        self.firstIndex = firstIndex
        self.lastIndex = lastIndex
        self.leaderID = leaderID
        self.members = members
        self.peers = peers
        self.leaderChanges = leaderChanges
        self.proposalsPending = proposalsPending
        self.proposalsFailed = proposalsFailed
        self.snapshotsInstalled = snapshotsInstalled
        self.snapshotsSent = snapshotsSent
        self.engine = engine
        self.version = version
        self.condition = condition
        self.startedAt = startedAt
        self.httpAddress = httpAddress
        self.storageBytes = storageBytes
        self.storageCapacity = storageCapacity
        self.storageFree = storageFree
        self.filesystem = filesystem
        self.reusableBytes = reusableBytes
        self.isShortOfSpace = isShortOfSpace
        self.shards = shards
        self.transfers = transfers
        self.operations = operations
        self.fsync = fsync
    }

    /// Whom it takes for its group's leader.
    public var namedLeader: UInt64? { role == .leader ? id : leaderID }
    /// Whether it is a working member of its group.
    public var takesPart: Bool { condition.isEmpty && role != .unknown }
}

/// One shard of a node.
public struct ShardStatus: Sendable, Equatable {
    /// The raw value is the name that users see, which is eRaft's.
    public enum State: String, Sendable {
        case serving = "Serving"
        /// The node's group copies it.
        case pulling = "Pulling"
        /// Frozen at the source.
        case bePulling = "BePulling"
        /// Served here, while the source still has its copy.
        case gcing = "GCing"
    }

    public var shard: ShardID
    public var state: State
    public var epoch: UInt64
    public var keys: UInt64
    public var bytes: UInt64
    /// Requests for its keys that this node itself has answered, so that a sum over nodes counts each once.
    public var reads: UInt64
    public var writes: UInt64
    /// Of an exact status only: the log index that it is of, and the content hashes of keys and of sessions in the text
    /// form of docs/formats.md.
    public var exact: Exact?

    public struct Exact: Sendable, Equatable {
        public var appliedIndex: UInt64
        public var userHash: String
        public var sessionHash: String

        public init(appliedIndex: UInt64, userHash: String, sessionHash: String) {
            self.appliedIndex = appliedIndex
            self.userHash = userHash
            self.sessionHash = sessionHash
        }
    }

    public init(
        shard: ShardID, state: State, epoch: UInt64 = 0, keys: UInt64 = 0, bytes: UInt64 = 0, reads: UInt64 = 0,
        writes: UInt64 = 0
    ) {
        self.shard = shard
        self.state = state
        self.epoch = epoch
        self.keys = keys
        self.bytes = bytes
        self.reads = reads
        self.writes = writes
    }
}
