package import Engines
package import RaftLog

/// The shell of one replica without threads: in which order its driver hears of things, and what a disk takes at once.
///
/// It is `ReplicaHost` under virtual time. Inputs wait in an inbox until the next round, which takes all of them before it
/// asks for effects; write requests wait until the disk is free, and whatever has queued when a write *begins* becomes
/// one batch; its completion is an input like others, and may come late. Whoever runs the simulation decides when rounds
/// are, how long writes take and what becomes of messages.
package class ReplicaShell {
    package enum Input {
        case tick
        case message(Message)
        case propose([UInt8], token: UInt64?, isUrgent: Bool = false)
        case read(token: UInt64, isUrgent: Bool = false)
        case change(MembershipChange)
        case transfer(ReplicaID)
        case handOver
        /// Something was staged beside the log that an entry may wait for.
        case staged
        case completed(WriteCompletion)
        case entries([Entry], to: ReplicaID)
        case entriesUnreadable(to: ReplicaID)
        case snapshotStarted(to: ReplicaID, LogIndex)
        case snapshotEnded(to: ReplicaID, LogIndex?)
        case install(SnapshotInstall)
    }

    /// A request that the driver didn't take.
    package struct Refusal {
        package var token: UInt64
        package var isBusy: Bool
    }

    /// What a driver said to what was asked of it.
    package enum Verdict {
        case proposal(token: UInt64?, Result<LogPosition, RaftCore.RefusalError>)
        case read(token: UInt64, isTaken: Bool)
        case change(MembershipChange, Result<LogPosition, RaftCore.ChangeRefusal>)
        case transfer(isTaken: Bool)
    }

    /// What came of a write.
    package struct Written {
        package var completions: [WriteCompletion] = []
        /// Every entry that was applied, and what its machine answered, if it is a command.
        package var applied: [(entry: Entry, reply: MachineReply?)] = []
        package var answers: [(token: UInt64, reply: MachineReply)] = []
        /// Proposals whose outcome nobody here will know.
        package var abandoned: [UInt64] = []
    }

    package final let layout: GroupLayout
    package final let engine: any StorageEngine
    package final let familyTable: FamilyTable
    package final var driver: ReplicaDriver
    final private var inbox: [Input] = []
    /// Somebody has scheduled the next round.
    package final var isRoundScheduled = false
    final private var nextTick: Milliseconds = 0
    /// Requests that the disk has not begun, and those that it is at.
    final private var queue: [WriteRequest] = []
    package final private(set) var writing: [WriteRequest] = []
    /// Of the last round, in the order of its inputs.
    package final private(set) var verdicts: [Verdict] = []

    // Checked at every round: these only grow within a life.
    final var termSeen: Term = 0
    final var commitSeen: LogIndex = 0
    /// As of the round before.
    final var membershipBefore = Membership.none
    final var wasLeader = false

    init(layout: GroupLayout, engine: any StorageEngine, familyTable: FamilyTable, driver: ReplicaDriver) {
        self.layout = layout
        self.engine = engine
        self.familyTable = familyTable
        self.driver = driver
    }

    // MARK: - The driver's side

    package final func post(_ input: Input) { inbox.append(input) }
    package final var hasInput: Bool { !inbox.isEmpty }

    /// Takes everything from the inbox, lets time pass if it is due, and hands out effects until none are left.
    ///
    /// - Parameter tickInterval: `nil`: time passes only as an input.
    /// - Returns: Requests that were refused.
    package final func round(
        now: Milliseconds, wall: Milliseconds, tickInterval: Milliseconds?,
        carryOut: (ReplicaDriver.Effects) throws -> Void
    ) rethrows -> [Refusal] {
        verdicts.removeAll(keepingCapacity: true)
        driver.observe(wall: wall, now: now)
        let inputs = inbox
        inbox.removeAll(keepingCapacity: true)
        for input in inputs { handle(input, now) }
        if let tickInterval, now >= nextTick {
            driver.tick(now: now)
            nextTick = now + tickInterval
        }
        repeat { try carryOut(driver.effects(now: now)) } while driver.hasMoreToWrite
        return verdicts.compactMap(refusal)
    }

    private final func refusal(_ verdict: Verdict) -> Refusal? {
        switch verdict {
        case .proposal(let token?, .failure(let error)):
            return Refusal(token: token, isBusy: error.refusal == .busy)
        case .read(let token, isTaken: false): return Refusal(token: token, isBusy: driver.core.isLeader)
        case .proposal, .read, .change, .transfer: return nil
        }
    }

    private final func handle(_ input: Input, _ now: Milliseconds) {
        switch input {
        case .tick: driver.tick(now: now)
        case .message(let message): driver.receive(message, now: now)
        case .propose(let payload, let token, let isUrgent):
            let result = driver.propose(payload, token: token, isUrgent: isUrgent, now: now)
            verdicts.append(.proposal(token: token, result))
        case .read(let token, let isUrgent):
            verdicts.append(.read(token: token, isTaken: driver.read(token: token, isUrgent: isUrgent)))
        case .change(let change): verdicts.append(.change(change, driver.propose(change)))
        case .handOver: _ = driver.handOver()
        case .transfer(let target): verdicts.append(.transfer(isTaken: driver.transferLeadership(to: target)))
        case .staged: driver.staged()
        case .completed(let completion): driver.completed(completion)
        case .entries(let entries, let peer): driver.provideEntries(entries, to: peer)
        case .entriesUnreadable(let peer): driver.entriesUnreadable(for: peer)
        case .snapshotStarted(let peer, let index): driver.snapshotStarted(to: peer, index: index)
        case .snapshotEnded(let peer, let index): driver.snapshotEnded(to: peer, index: index)
        case .install(let snapshot): driver.install(snapshot, now: now)
        }
    }

    // MARK: - The writer's side

    package final func enqueue(_ request: WriteRequest) { queue.append(request) }
    package final var hasToWrite: Bool { !queue.isEmpty || !writing.isEmpty }
    package final var isWriting: Bool { !writing.isEmpty }

    /// The disk takes everything that has queued. False if it is at a write, or there is nothing.
    package final func beginWriting() -> Bool {
        guard writing.isEmpty, !queue.isEmpty else { return false }
        swap(&writing, &queue)
        return true
    }

    /// The write that was begun happens: one batch, one sync.
    ///
    /// - Parameters:
    ///   - durability: `nil`: the one that the batch asks for.
    ///   - isDropping: called before families are dropped that the batch has unmapped.
    package final func write(
        durability: Durability? = nil, isDropping: ([FamilyID]) throws(EngineError) -> Void = { _ in }
    ) throws(EngineError) -> Written {
        let view = try engine.snapshot()
        let table = familyTable
        var batch = StorageBatch(view: view) { () throws(EngineError) in try table.take() }
        var written = Written()
        let requests = writing
        writing = []
        for request in requests { try execute(request, in: &batch, &written) }
        view.close()
        try engine.write(batch.batch, durability: durability ?? batch.durability)
        if !batch.unmapped.isEmpty { try isDropping(batch.unmapped) }
        for family in batch.unmapped { try engine.dropFamily(family) }
        return written
    }

    /// What only a shell that knows its machine can do.
    package func execute(
        _ request: WriteRequest, in batch: inout StorageBatch, _ written: inout Written
    ) throws(EngineError) { preconditionFailure("a shell without a machine") }

    package var applied: AppliedState { preconditionFailure("a shell without a machine") }
    package var families: [String: FamilyID] { preconditionFailure("a shell without a machine") }

    // MARK: - Snapshots

    /// Loads what another replica has sent.
    package final func load(
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
    package final func snapshot() throws(EngineError) -> (
        header: SnapshotHeader, contents: [[(key: [UInt8], value: [UInt8])]]
    ) {
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
