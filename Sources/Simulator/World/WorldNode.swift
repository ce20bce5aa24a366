internal import ClientCore
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// One node: a disk that survives crashes, and a process that doesn't.
///
/// An object, for a run looks at its nodes millions of times, and a value would be copied each time.
final class WorldNode {
    /// Of `World.groups`.
    let group: Int
    let id: ReplicaID
    let address: String
    /// Of its directory: another disk is another life.
    var incarnation: Incarnation
    let name: String
    let disk: SimulatedDisk
    var engine: any StorageEngine { disk.engine }
    /// Once it has been started.
    var layout: GroupLayout?
    /// Counts lives; what was scheduled for an earlier one is void.
    var life: UInt64 = 0
    var pausedUntil: UInt64 = 0
    /// How far its clock is ahead of the true time, in milliseconds.
    var clockOffset: Int64 = 0
    /// Until when there is no room on its disk.
    var fullUntil: UInt64 = 0
    var failsNextSync = false
    /// Until when its process gets little of the processor.
    var starvedUntil: UInt64 = 0
    /// Its process is gone, and one of another cluster listens at its address until it comes back.
    var hasStranger = false

    /// What the directory says beside the engine.
    var directory = Directory()

    // Of the process.
    /// Its life; `nil`: there is no process.
    var core: NodeCore?
    /// When `core` is woken; 0: it isn't to be.
    var coreAlarm: UInt64 = 0
    /// The members that `core` has heard of.
    var membersSeen: LogIndex = 0
    /// The snapshots that `core` has heard of.
    var installsSeen: UInt64 = 0
    /// Once it takes part.
    var shell: ReplicaShell?
    /// Whoever waits for an answer, by the token of a proposal or a read.
    var waiters: [UInt64: Waiter] = [:]
    /// The newest map that it has heard of.
    var map: ShardMap?
    /// Of a group's node.
    var driver: MoveDriver?
    var desks = Desks()
    /// When the driver is woken; 0: it isn't to be.
    var alarm: UInt64 = 0
    /// What the driver has seen of the replica.
    var seen = Seen()
    /// The controller's node that answered last.
    var controllerLeader: String?
    /// Of a controller's node.
    var controller: ControllerCore?
    /// Of a controller's node: questions that wait for the next map, by number.
    var polls: [UInt64: PeerContinuation] = [:]
    /// Writes that the disk has done and the driver hasn't heard of, and when it has heard of all.
    var completions: [WriteCompletion] = []
    var completionsUntil: UInt64 = 0
    /// When something was staged here last, by any process.
    var stagedAt: UInt64 = 0

    init(
        group: Int, id: ReplicaID, address: String, incarnation: Incarnation, name: String, disk: SimulatedDisk
    ) {
        self.disk = disk
        self.group = group
        self.id = id
        self.address = address
        self.incarnation = incarnation
        self.name = name
    }

    var isUp: Bool { core != nil }

    struct Directory {
        var cluster: [UInt8] = []
        var hasJoined = false
    }

    enum Waiter {
        case request(World.Request)
        /// Of the node itself, or of another one.
        case proposal((inout World, Result<MachineReply, KvError>) throws -> Void)
        case read((inout World, Result<any ReadSnapshot, KvError>) throws -> Void)
    }

    struct Seen: Equatable {
        var leads = false
        var term: Term = 0
        var leader: ReplicaID?
        var membershipIndex: LogIndex = 0
        var waitsFor: String?
    }

    /// What a process knows as either end of moves.
    struct Desks {
        var source = SourceDesk()
        var target = TargetDesk()
        var exports = ExportTable()
        var files: [UInt64: ExportFile] = [:]
        /// What is being fetched.
        var incoming: [UInt64: Incoming] = [:]
        /// Those who wait for an export that is being made.
        var waiting: [UInt64: [PeerContinuation]] = [:]
    }

    struct ExportFile {
        var offer: ExportOffer
        var rows: [FamilyRow] = []
    }

    /// The process is gone, with all that it knew.
    func forget() {
        core = nil
        coreAlarm = 0
        membersSeen = 0
        installsSeen = 0
        shell = nil
        waiters = [:]
        completions = []
        map = nil
        driver = nil
        desks = Desks()
        alarm = 0
        seen = Seen()
        controllerLeader = nil
        polls = [:]
        controller = nil
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
    /// What the founders are to agree on.
    var record: BootstrapRecord?
    var knowledge = GroupKnowledge()
    /// The member whose disk is damaged or was lost, until its next one is a voter.
    var ailing: Ailing?

    struct Ailing {
        let node: Int
        /// Somebody has tried to read what is damaged, and logs tell.
        var isNoticed = false
        /// The disk is another one. The one before had the log on it up to here.
        var lostThrough: LogIndex?
        var isLost: Bool { lostThrough != nil }
    }

    var isController: Bool { gid == .controller }
}
