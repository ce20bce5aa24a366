internal import Engines
internal import RaftLog

/// The shell of one replica without threads: in which order its driver hears of things, and what a disk takes at once.
///
/// It is `ReplicaHost` under virtual time. Inputs wait in an inbox until the next round, which takes all of them before it
/// asks for effects; write requests wait until the disk is free, and whatever has queued when a write *begins* becomes
/// one batch; its completion is an input like others, and may come late. Whoever runs the simulation decides when rounds
/// are, how long writes take and what becomes of messages.
class ReplicaShell {
    enum Input {
        case message(Message)
        case propose([UInt8], token: UInt64?)
        case read(token: UInt64)
        case change(MembershipChange)
        case transfer(ReplicaID)
        case completed(WriteCompletion)
        case entries([Entry], to: ReplicaID)
        case snapshotEnded(to: ReplicaID, LogIndex?)
        case install(SnapshotInstall)
    }

    /// A request that the driver didn't take.
    struct Refusal {
        var token: UInt64
        var isBusy: Bool
    }

    /// What came of a write.
    struct Written {
        var completions: [WriteCompletion] = []
        /// Every entry that was applied, and what its machine answered, if it is a command.
        var applied: [(entry: Entry, reply: MachineReply?)] = []
        var answers: [(token: UInt64, reply: MachineReply)] = []
        /// Proposals whose outcome nobody here will know.
        var abandoned: [UInt64] = []
    }

    final let layout: GroupLayout
    final let engine: MemoryEngine
    final let familyTable: FamilyTable
    final var driver: ReplicaDriver
    final private var inbox: [Input] = []
    /// Somebody has scheduled the next round.
    final var isRoundScheduled = false
    final private var nextTick: Milliseconds = 0
    /// Requests that the disk has not begun, and those that it is at.
    final private var queue: [WriteRequest] = []
    final private(set) var writing: [WriteRequest] = []

    // Checked at every round: these only grow within a life.
    final var termSeen: Term = 0
    final var commitSeen: LogIndex = 0
    /// As of the round before.
    final var membershipBefore = Membership.none
    final var wasLeader = false

    init(layout: GroupLayout, engine: MemoryEngine, familyTable: FamilyTable, driver: ReplicaDriver) {
        self.layout = layout
        self.engine = engine
        self.familyTable = familyTable
        self.driver = driver
    }

    // MARK: - The driver's side

    final func post(_ input: Input) { inbox.append(input) }
    final var hasInput: Bool { !inbox.isEmpty }

    /// Takes everything from the inbox, lets time pass if it is due, and hands out effects until none are left.
    ///
    /// - Returns: Requests that were refused.
    final func round(
        now: Milliseconds, wall: Milliseconds, tickInterval: Milliseconds,
        carryOut: (ReplicaDriver.Effects) throws -> Void
    ) rethrows -> [Refusal] {
        var refusals: [Refusal] = []
        driver.observe(wall: wall, now: now)
        let inputs = inbox
        inbox.removeAll(keepingCapacity: true)
        for input in inputs { handle(input, now, &refusals) }
        if now >= nextTick {
            driver.tick(now: now)
            nextTick = now + tickInterval
        }
        repeat { try carryOut(driver.effects(now: now)) } while driver.hasMoreToWrite
        return refusals
    }

    private final func handle(_ input: Input, _ now: Milliseconds, _ refusals: inout [Refusal]) {
        switch input {
        case .message(let message): driver.receive(message, now: now)
        case .propose(let payload, let token):
            if case .failure(let error) = driver.propose(payload, token: token, now: now), let token {
                let isBusy = if case .busy = error.refusal { true } else { false }
                refusals.append(Refusal(token: token, isBusy: isBusy))
            }
        case .read(let token):
            if !driver.read(token: token) { refusals.append(Refusal(token: token, isBusy: driver.core.isLeader)) }
        case .change(let change): _ = driver.propose(change)
        case .transfer(let target): _ = driver.transferLeadership(to: target)
        case .completed(let completion): driver.completed(completion)
        case .entries(let entries, let peer): driver.provideEntries(entries, to: peer)
        case .snapshotEnded(let peer, let index): driver.snapshotEnded(to: peer, index: index)
        case .install(let snapshot): driver.install(snapshot, now: now)
        }
    }

    // MARK: - The writer's side

    final func enqueue(_ request: WriteRequest) { queue.append(request) }
    final var isWriting: Bool { !writing.isEmpty }

    /// The disk takes everything that has queued. False if it is at a write, or there is nothing.
    final func beginWriting() -> Bool {
        guard writing.isEmpty, !queue.isEmpty else { return false }
        swap(&writing, &queue)
        return true
    }

    /// The write that was begun happens: one batch, one sync.
    ///
    /// - Parameter durability: `nil`: the one that the batch asks for.
    final func write(durability: Durability? = nil) throws(EngineError) -> Written {
        let view = try engine.snapshot()
        let table = familyTable
        var batch = StorageBatch(view: view) { () throws(EngineError) in try table.take() }
        var written = Written()
        let requests = writing
        writing = []
        for request in requests { try execute(request, in: &batch, &written) }
        view.close()
        try engine.write(batch.batch, durability: durability ?? batch.durability)
        for family in batch.unmapped { try engine.dropFamily(family) }
        return written
    }

    /// What only a shell that knows its machine can do.
    func execute(
        _ request: WriteRequest, in batch: inout StorageBatch, _ written: inout Written
    ) throws(EngineError) { preconditionFailure("a shell without a machine") }

    var applied: AppliedState { preconditionFailure("a shell without a machine") }
    var families: [String: FamilyID] { preconditionFailure("a shell without a machine") }

    // MARK: - Snapshots

    /// Loads what another replica has sent.
    final func load(
        _ header: SnapshotHeader, _ contents: [[(key: [UInt8], value: [UInt8])]]
    ) throws(EngineError) -> SnapshotInstall {
        var loaded: [FamilyID] = []
        for rows in contents {
            let family = try familyTable.take()
            var batch = WriteBatch()
            for row in rows { batch.put(family, key: row.key, value: row.value) }
            try engine.write(batch, durability: .synced)
            loaded.append(family)
        }
        return SnapshotInstall(header: header, families: loaded)
    }

    /// The group as it is on this replica's disk.
    final func snapshot() throws(EngineError) -> (header: SnapshotHeader, contents: [[(key: [UInt8], value: [UInt8])]])
    {
        let view = try engine.snapshot()
        let (header, families) = try SnapshotHeader.read(layout, in: view)
        var contents: [[(key: [UInt8], value: [UInt8])]] = []
        for family in families {
            var rows: [(key: [UInt8], value: [UInt8])] = []
            try view.scan(family) { key, value in
                rows.append((Array(key), Array(value)))
                return true
            }
            contents.append(rows)
        }
        return (header, contents)
    }
}
