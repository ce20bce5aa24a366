internal import ClientCore
internal import Engines
internal import Keyspace
internal import RaftLog

/// One node: a disk that survives crashes, and a process that doesn't.
struct WorldNode {
    /// Of `World.groups`.
    let group: Int
    let id: ReplicaID
    let address: String
    let incarnation: Incarnation
    let name: String
    let engine = MemoryEngine()
    /// Once it has been started.
    var layout: GroupLayout?
    /// Counts lives; what was scheduled for an earlier one is void.
    var life: UInt64 = 0
    var pausedUntil: UInt64 = 0
    /// How far its clock is ahead of the true time, in milliseconds.
    var clockOffset: Int64 = 0

    // Of the process.
    var shell: ReplicaShell?
    /// Whoever waits for an answer, by the token of a proposal or a read.
    var waiters: [UInt64: Waiter] = [:]
    /// The newest map that it has heard of.
    var map: ShardMap?
    var controllers = ControllerState(seed: 0)
    var mover = SimulatedMover()
    var isAskingForMap = false
    var isReporting = false
    var mapAskedAt: UInt64 = 0
    /// Writes that the disk has done and the driver hasn't heard of, and when it has heard of all.
    var completions: [WriteCompletion] = []
    var completionsUntil: UInt64 = 0

    struct Waiter {
        var request: World.Request
    }

    /// The process is gone, with all that it knew.
    mutating func forget() {
        shell = nil
        waiters = [:]
        completions = []
        map = nil
        mover = SimulatedMover()
        isAskingForMap = false
        isReporting = false
    }
}

/// One Raft group of the cluster.
struct WorldGroup {
    /// 0: the controller.
    let gid: GroupID
    /// Of `World.nodes`, by the replicas' ids: those that founded it, and spare ones.
    var nodes: [Int] = []
    var founders = 0
    /// Who founded it.
    var identity: [UInt8] = []
    var knowledge = GroupKnowledge()
    var model = GroupModel()

    var isController: Bool { gid == .controller }
}
