internal import Engines
internal import RaftLog

/// One node: a disk that survives crashes, and a process that doesn't.
struct SimulatedNode {
    let id: ReplicaID
    var incarnation: Incarnation
    var engine = MemoryEngine()
    /// Counts lives; what was scheduled for an earlier one is void.
    var life: UInt64 = 0
    var shell: SimulatedReplica<JournalMachine>?
    /// Virtual time until which the process stands still (SIGSTOP), and until which its disk does.
    var pausedUntil: UInt64 = 0
    var diskStandsUntil: UInt64 = 0
    /// Until when there is no room on its disk.
    var fullUntil: UInt64 = 0
    var failsNextSync = false
    /// How far its clock is ahead of the true time.
    var clockOffset: Int64 = 0
    /// Writes that are done and that the driver has not heard of.
    var completions: [WriteCompletion] = []
    var completionsUntil: UInt64 = 0

    // What an observer remembers of it, across its lives.

    /// What it has promised with this disk.
    var promised = HardState()
    /// The log's end when the round began that is being carried out.
    var lastBefore = LogPosition.zero
    /// The newest round of questions for reads at that time.
    var roundBefore: UInt64 = 0
    /// When each other was last heard in the term that is led here, since when it is led, and since when by these members.
    var heardAt: [ReplicaID: UInt64] = [:]
    var leadsSince: UInt64 = 0
    var membersSince: UInt64 = 0
    /// When it was last asked to hand over.
    var handsOverSince: UInt64 = 0
    /// Since when the disk is at a write that promises depend on; `nil`: it isn't.
    var syncingSince: UInt64?
    /// Snapshots in a row that were made for another and brought it nowhere.
    var attempts: [ReplicaID: (count: Int, index: LogIndex, hasArrived: Bool)] = [:]

    init(id: ReplicaID, incarnation: Incarnation) {
        self.id = id
        self.incarnation = incarnation
    }

    /// The process is gone.
    mutating func forget() {
        shell = nil
        completions = []
        completionsUntil = 0
        syncingSince = nil
        attempts = [:]
    }
}
