public import Engines
public import RaftLog
internal import Synchronization

/// What the host needs from the world outside the process.
public protocol ReplicaTransport: Sendable {
    /// Sends messages as soon as possible; may lose them. Never blocks.
    func send(_ messages: [Message], membership: Membership)
    /// Has the member take a snapshot of the sender: made with its host's `exportSnapshot`, in a form that the member's
    /// engine takes, and loaded there with `install`. `done` says whether it has it. Never blocks.
    func sendSnapshot(from sender: ReplicaID, to member: Member, done: @escaping @Sendable (Bool) -> Void)
}

/// A snapshot exported into files, ready to be sent.
public struct ExportedSnapshot: Sendable {
    public var header: SnapshotHeader
    /// One for each of the header's families, in its order. Family `n` lies in `n/`.
    public var manifests: [FamilyManifest]
}

/// What happens in a replica, for logs and metrics. Called from the host's threads; must not block.
public enum ReplicaEvent: Sendable {
    case roleChanged(RaftCore.Role, term: Term, leader: ReplicaID?)
    /// It leads, and an entry of its term is committed: what earlier leaders have begun is decided.
    case termBegan(Term)
    case snapshotSending(to: ReplicaID, position: LogPosition)
    case snapshotInstalled(LogPosition)
    /// A committed entry waits for this to be staged here; `nil`: no longer.
    case waits(forStaged: String?)
    case membershipChanged(Membership)
    /// A batch whose log had to be on disk is there.
    case synced(nanoseconds: UInt64)
    /// The disk is full; the replica keeps trying.
    case noSpace(String)
    /// Rows of the log can't be read; followers that need them get a snapshot instead.
    case damaged(EngineError)
    /// The machine's wall clock is so many milliseconds ahead of the one that the replica goes by; 0: no longer.
    case clockJumped(ahead: Int64)
    /// The replica has stopped for good: what it promised may not be on disk.
    case failed(EngineError)
}

/// What came of a proposal.
public enum ProposalResult<Reply: Sendable>: Sendable {
    case applied(LogPosition, Reply)
    case notLeader(hint: ReplicaID?)
    case busy
    /// In the log of a leader that has lost its office, or of a host that stops: executed or not, nobody knows.
    case unknown
}

/// What came of a read.
public enum ReadResult: Sendable {
    /// Read here. The snapshot is shared by every read of the round; don't close it.
    case ready(any ReadSnapshot)
    case notLeader(hint: ReplicaID?)
    case busy
    case failed(EngineError)
}

/// The state of a replica as of its driver's last round.
public struct ReplicaStatus: Sendable {
    public var id: ReplicaID
    public var role: RaftCore.Role = .follower
    public var term: Term = 0
    public var leader: ReplicaID?
    public var commit: LogIndex = 0
    public var applied: LogIndex = 0
    public var firstIndex: LogIndex = 1
    public var last = LogPosition.zero
    public var membership = Membership.none
    /// In a leader: members that have answered lately, itself among them.
    public var live: Set<ReplicaID> = []
    /// How far the machine's wall clock is ahead of the one that the replica goes by, in milliseconds.
    public var clockAhead: Int64 = 0
    /// In a leader: the known position of each follower.
    public var matches: [ReplicaID: LogIndex] = [:]
    public var snapshotsInstalled: UInt64 = 0
    public var snapshotsSent: UInt64 = 0
    /// Why the replica doesn't work, if it doesn't.
    public var condition: EngineError?
    public var hasCommittedInTerm = false
    /// A committed entry can't be applied before this is staged here.
    public var waitsFor: String?
}

/// The shell of one replica: threads that carry out what its driver says.
///
///     callers, network ──> driver thread ──messages──> transport
///                              │   ▲
///                        write requests, completions
///                              ▼   │
///                         writer thread ──replies──> callers
///
/// The driver thread never touches the disk, so nothing that a disk does can hold back a heartbeat. The
/// writer drains its queue whole: one batch and one fsync for everything that has queued. Reads run on a
/// thread of their own, one engine snapshot for each round of them.
public final class ReplicaHost<Machine: StateMachine>: Sendable {
    public struct Configuration: Sendable {
        public var driver = ReplicaDriver.Configuration()
        /// Proposals and reads that may wait in the host; beyond that the answer is "busy".
        public var pendingRequestsMax = 65_536
        /// And so many more of the group itself.
        public var urgentRequestsMax = 1_024
        /// Where snapshots are put together.
        public var staging: StagingArea
        /// Families made ahead of need.
        public var spareFamilies = 16

        public init(staging: StagingArea) { self.staging = staging }
    }

    enum Input: Sendable {
        case message(Message)
        case propose([UInt8], token: UInt64, isUrgent: Bool)
        case read(token: UInt64, isUrgent: Bool)
        case change(MembershipChange, @Sendable (Result<LogPosition, RaftCore.ChangeRefusal>) -> Void)
        case transfer(ReplicaID?)
        case entriesUnreadable(for: ReplicaID)
        case completed(WriteCompletion)
        case entries([Entry], to: ReplicaID)
        case snapshotStarted(to: ReplicaID, LogPosition)
        case snapshotEnded(to: ReplicaID, LogPosition?)
        case staged
        case install(SnapshotInstall)
    }

    enum Chore: Sendable {
        case readEntries(peer: ReplicaID, from: LogIndex, through: LogIndex)
        case drop([FamilyID])
        case reclaim
        case stock
    }

    enum Waiter: Sendable {
        case proposal(@Sendable (ProposalResult<Machine.Reply>) -> Void)
        case read(@Sendable (ReadResult) -> Void)
    }

    let configuration: Configuration
    let engine: any StorageEngine
    let families: FamilyTable
    /// Held from a look at what is staged to the write that follows from it.
    let writing = Mutex(())
    public let layout: GroupLayout
    let transport: any ReplicaTransport
    let observe: @Sendable (ReplicaEvent) -> Void

    let inbox = Mailbox<Input>()
    let writes = Mailbox<WriteRequest>()
    let readers = Mailbox<@Sendable (ReadResult) -> Void>()
    let chores = Mailbox<Chore>()
    let waiters = Mutex<WaiterTable>(WaiterTable())
    let published: Mutex<ReplicaStatus>
    let threads = Mutex<[HostThread]>([])
    /// The last snapshot that was made for each member.
    let exported = Mutex<[ReplicaID: LogPosition]>([:])
    private let damageNoticedAt = Mutex<Milliseconds?>(nil)
    private static var damageRest: Milliseconds { 10_000 }

    struct WaiterTable {
        var next: UInt64 = 1
        var waiting: [UInt64: Waiter] = [:]
        var isStopped = false
    }

    /// Opens the group and starts its threads. The engine's other users keep to reading. `families` has been swept
    /// (`FamilyTable.sweepUnmapped`).
    public init(
        configuration: Configuration, engine: any StorageEngine, families: FamilyTable, layout: GroupLayout,
        machine: Machine, id: ReplicaID, incarnation: Incarnation, seed: UInt64, transport: any ReplicaTransport,
        observe: @escaping @Sendable (ReplicaEvent) -> Void
    ) throws(EngineError) {
        self.configuration = configuration
        self.engine = engine
        self.families = families
        self.layout = layout
        self.transport = transport
        self.observe = observe
        let snapshot = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: machine, in: snapshot)
        snapshot.close()
        let driver = ReplicaDriver(
            id: id, incarnation: incarnation, configuration: configuration.driver, state: opened.state, seed: seed,
            now: HostClock.monotonic())
        published = Mutex(ReplicaStatus(id: id))
        publish(driver, condition: nil, sent: 0)
        let storage = opened.storage
        threads.withLock { threads in
            threads.append(HostThread(name: "raft") { [self] in runDriver(driver) })
            threads.append(HostThread(name: "writer") { [self] in runWriter(storage) })
            threads.append(HostThread(name: "reader") { [self] in runReader() })
            threads.append(HostThread(name: "chores") { [self] in runChores() })
        }
        chores.post([.stock, .reclaim])
    }

    // MARK: - Requests

    /// Proposes a command. `done` is called exactly once, from a thread of the host.
    ///
    /// - Parameter isUrgent: of the group itself: what clients have waiting doesn't keep it out.
    public func propose(
        _ payload: [UInt8], isUrgent: Bool = false,
        _ done: @escaping @Sendable (ProposalResult<Machine.Reply>) -> Void
    ) {
        guard let token = register(.proposal(done), isUrgent: isUrgent) else { return done(.busy) }
        inbox.post(.propose(payload, token: token, isUrgent: isUrgent))
    }

    /// Asks for a linearizable read. `done` is called exactly once, from a thread of the host.
    public func read(isUrgent: Bool = false, _ done: @escaping @Sendable (ReadResult) -> Void) {
        guard let token = register(.read(done), isUrgent: isUrgent) else { return done(.busy) }
        inbox.post(.read(token: token, isUrgent: isUrgent))
    }

    /// Many proposals and reads that came together.
    public func submit(
        proposals: [([UInt8], @Sendable (ProposalResult<Machine.Reply>) -> Void)],
        reads: [@Sendable (ReadResult) -> Void]
    ) {
        var inputs: [Input] = []
        inputs.reserveCapacity(proposals.count + reads.count)
        let isFull = waiters.withLock { table -> Bool in
            guard !table.isStopped,
                table.waiting.count + proposals.count + reads.count <= configuration.pendingRequestsMax
            else { return true }
            for (payload, done) in proposals {
                inputs.append(.propose(payload, token: table.add(.proposal(done)), isUrgent: false))
            }
            for done in reads { inputs.append(.read(token: table.add(.read(done)), isUrgent: false)) }
            return false
        }
        if isFull {
            for (_, done) in proposals { done(.busy) }
            for done in reads { done(.busy) }
        } else {
            inbox.post(inputs)
        }
    }

    public func change(_ change: MembershipChange) async -> Result<LogPosition, RaftCore.ChangeRefusal> {
        await withCheckedContinuation { continuation in
            let isTaken = inbox.post(.change(change) { continuation.resume(returning: $0) })
            if !isTaken { continuation.resume(returning: .failure(.notLeader(hint: nil))) }
        }
    }

    public func transferLeadership(to target: ReplicaID) { inbox.post(.transfer(target)) }

    /// Hands leadership, if this replica has it, to the voter that could take over soonest.
    public func handOver() { inbox.post(.transfer(nil)) }

    /// A row here can't be read, as somebody has found: people hear of it, and a replica that is whole is to lead, if this
    /// one does. Not again for a while: the others may be no better.
    public func noteDamage(_ error: EngineError) {
        guard case .corruption = error else { return }
        let now = HostClock.monotonic()
        let isNews = damageNoticedAt.withLock { last in
            if let last, now < last + Self.damageRest { return false }
            last = now
            return true
        }
        guard isNews else { return }
        observe(.damaged(error))
        inbox.post(.transfer(nil))
    }

    /// Messages from the network.
    public func receive(_ messages: [Message]) { inbox.post(messages.map { Input.message($0) }) }

    public var status: ReplicaStatus { published.withLock { $0 } }

    /// Proposals that have no answer yet.
    public var pendingProposals: Int {
        waiters.withLock { table in
            table.waiting.values.count { if case .proposal = $0 { true } else { false } }
        }
    }

    private func register(_ waiter: Waiter, isUrgent: Bool) -> UInt64? {
        let allowed = configuration.pendingRequestsMax + (isUrgent ? configuration.urgentRequestsMax : 0)
        return waiters.withLock { table in
            guard !table.isStopped, table.waiting.count < allowed else { return nil }
            return table.add(waiter)
        }
    }

    /// Stops the threads; whoever still waits hears "unknown" or "busy". Call once; blocks until all is quiet.
    public func stop() {
        dismissWaiters()
        inbox.close()
        writes.close()
        readers.close()
        chores.close()
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    /// Answers whoever waits, and from now on whoever comes: nothing will be decided here any more.
    public func dismissWaiters() {
        for waiter in waiters.withLock({ table -> [Waiter] in
            table.isStopped = true
            defer { table.waiting = [:] }
            return Array(table.waiting.values)
        }) {
            waiter.fail(.unknown)
        }
    }

    func publish(_ driver: ReplicaDriver, condition: EngineError?, sent: UInt64) {
        let core = driver.core
        var matches: [ReplicaID: LogIndex] = [:]
        var live: Set<ReplicaID> = []
        if core.isLeader {
            for member in core.membership.members {
                matches[member.id] = core.match(of: member.id)
                if core.isLive(member.id) { live.insert(member.id) }
            }
        }
        published.withLock { status in
            status.role = core.role
            status.term = core.term
            status.leader = core.leader
            status.commit = core.commit
            status.applied = core.applied
            status.firstIndex = core.firstIndex
            status.last = core.lastPosition
            status.membership = core.membership
            status.matches = matches
            status.live = live
            status.clockAhead = driver.clockAhead
            status.snapshotsInstalled = driver.snapshotsInstalled
            status.hasCommittedInTerm = core.hasCommittedInTerm
            status.waitsFor = driver.waitsFor
            if let condition { status.condition = condition }
            status.snapshotsSent += sent
        }
    }
}

extension ReplicaHost.WaiterTable {
    mutating func add(_ waiter: ReplicaHost.Waiter) -> UInt64 {
        defer { next += 1 }
        waiting[next] = waiter
        return next
    }
}

extension ReplicaHost.Waiter {
    func fail(_ result: ProposalResult<Machine.Reply>) {
        switch self {
        case .proposal(let done): done(result)
        case .read(let done):
            switch result {
            case .notLeader(let hint): done(.notLeader(hint: hint))
            default: done(.busy)
            }
        }
    }
}
