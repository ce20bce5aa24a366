internal import Engines
internal import RaftLog

/// One node: a disk that survives crashes, and a process that doesn't.
struct SimulatedNode {
    let id: ReplicaID
    var incarnation: Incarnation
    var engine = MemoryEngine()
    /// Counts lives; what was scheduled for an earlier one is void.
    var life: UInt64 = 0
    var process: Process?
    /// Virtual time until which the process stands still (SIGSTOP).
    var pausedUntil: UInt64 = 0
    /// How far its clock is ahead of the true time.
    var clockOffset: Int64 = 0

    struct Process {
        var driver: ReplicaDriver
        var storage: GroupStorage<JournalMachine>
        var families: FamilyTable
        /// Requests that the disk has not begun, in order.
        var queue: [WriteRequest] = []
        var isWriting = false
        /// Checked at every step: these only grow within a life.
        var term: Term = 0
        var commit: LogIndex = 0
        /// As it was at the step before.
        var membership = Membership.none
        var isLeader = false
    }

    init(id: ReplicaID, incarnation: Incarnation) {
        self.id = id
        self.incarnation = incarnation
    }
}
