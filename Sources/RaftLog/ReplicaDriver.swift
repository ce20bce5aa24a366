internal import Bytes
public import Engines

/// One replica of one group: the core, and the order in which its disk, its network and its clients hear of
/// things. Pure like the core; production and the simulator run this very code.
///
/// Inputs change the core; `effects()` then hands out, in one go, everything that has become due:
///  - messages that may leave at once (appends go out while the own disk still writes them);
///  - at most one `WriteRequest`, with everything that has queued since the last, so one batch and one fsync
///    serve many entries;
///  - messages that had to wait for a write leave with the effects after its completion.
///
/// Completions of write requests must come back in the order of their serials.
public struct ReplicaDriver: Sendable {
    /// The knobs beyond the core's.
    public struct Configuration: Sendable {
        public var core = RaftCore.Configuration()
        /// Applied entries kept for followers that are behind.
        public var retainedEntries: LogIndex = 10_000
        /// Bytes of applied entries kept, whatever their number.
        public var retainedBytes = 64 << 20
        /// Bytes of log kept beyond that for a follower that is receiving a snapshot or catching up from one.
        public var snapshotRetainedBytes = 1 << 30
        /// Committed entries in one write request, in bytes (one entry always fits).
        public var applyBytesMax = 4 << 20
        /// New entries of the log in one write request, in bytes (one entry always fits).
        public var logBytesMax = 4 << 20

        public init() {}
    }

    /// What is to be done now.
    public struct Effects: Sendable {
        public var messages: [Message] = []
        public var write: WriteRequest?
        /// Reads whose answer may be read from the state as it is now.
        public var readyReads: [UInt64] = []
        public var failedReads: [UInt64] = []
        /// Proposals that this replica can't see through: executed or not, it doesn't know.
        public var unknownProposals: [UInt64] = []
        /// Read these from the log and call `provideEntries`.
        public var neededEntries: [(peer: ReplicaID, from: LogIndex, through: LogIndex)] = []
        /// Make a snapshot for these and call `snapshotStarted`, then `snapshotEnded`.
        public var neededSnapshots: [Member] = []
        /// Families of snapshots that came too late.
        public var discardedFamilies: [FamilyID] = []

        public var isEmpty: Bool {
            messages.isEmpty && write == nil && readyReads.isEmpty && failedReads.isEmpty && unknownProposals.isEmpty
                && neededEntries.isEmpty && neededSnapshots.isEmpty && discardedFamilies.isEmpty
        }
    }

    private struct PendingWrite: Sendable {
        var serial: UInt64
        var hardState: HardState?
        var lastEntry: LogIndex?
        var appliedBytes = 0
        var installed: LogIndex?
        var needsSync: Bool
        var issuedAt: Milliseconds
        var held: [Message] = []
    }

    public let id: ReplicaID
    public let incarnation: Incarnation
    private let configuration: Configuration
    public private(set) var core: RaftCore
    private var clock = GroupClock()
    /// What the wall clock showed last.
    private var wall: Milliseconds = 0
    /// How far this machine's wall clock is ahead of the one that this replica shows the others, in milliseconds.
    public var clockAhead: Int64 { clock.own.ahead }
    private var serial: UInt64 = 0
    private var pending: [PendingWrite] = []
    /// A completed write counts only up to where a later one cut the log: the late completion of an entry that
    /// was replaced must not vouch for its successor (etcd's append ABA race).
    private var cuts: [(serial: UInt64, index: LogIndex)] = []
    private var lastIssuedEntry: LogIndex
    private var nextToApply: LogIndex
    private var proposals: [LogIndex: (term: Term, token: UInt64)] = [:]
    /// What a reader of the engine sees: after a snapshot was accepted this lags behind the core's `applied`
    /// until the snapshot is flipped in.
    private var visible: LogIndex
    private var waitingReads: [(index: LogIndex, token: UInt64)] = []
    private var install: SnapshotInstall?
    /// Promises of entries of which a part is in no write request yet, and how often the log had been cut then.
    private var heldBack: [Message] = []
    private var heldBackCuts: UInt64 = 0
    /// When the disk last finished something.
    private var completedAt: Milliseconds = 0
    private var discardedFamilies: [FamilyID] = []
    /// Where each follower's snapshot is, and the bytes applied when it was made.
    private var sendingSnapshots: [ReplicaID: (index: LogIndex, bytes: Int)] = [:]
    /// Bytes applied so far, at some indexes: how far back `retainedBytes` reaches.
    private var sizeMarks: [(index: LogIndex, bytes: Int)] = []
    private var appliedBytesTotal = 0
    public private(set) var snapshotsInstalled: UInt64 = 0
    /// The next committed entry needs this, and it isn't staged here. Stage it and call `staged`, or bring a snapshot
    /// that goes beyond the entry (`install`).
    public private(set) var waitsFor: String?

    public init(
        id: ReplicaID, incarnation: Incarnation, configuration: Configuration, state: RestoredState, seed: UInt64,
        now: Milliseconds
    ) {
        self.id = id
        self.incarnation = incarnation
        self.configuration = configuration
        core = RaftCore(
            id: id, configuration: configuration.core, hardState: state.hardState, base: state.base,
            stored: state.stored, unapplied: state.unapplied, applied: state.applied.index,
            membership: state.membership, seed: seed, now: now, incarnation: incarnation)
        nextToApply = state.applied.index + 1
        visible = state.applied.index
        lastIssuedEntry = core.lastPosition.index
        clock.saw(state.logTime, now: now)
        for entry in state.unapplied { clock.saw(entry.stamp, now: now) }
    }

    // MARK: - Inputs

    /// Time passes. Call it at least once per heartbeat interval.
    public mutating func tick(now: Milliseconds) {
        core.isDiskStanding = isDiskStanding(now)
        core.tick(now: now)
        // A leader that can't write must not go on being believed (etcd #15247). One whose disk finishes request after
        // request, each of them bounded, is not stalled, however long its queue. Where nobody else could lead, it goes on.
        if core.isLeader, core.membership.voters.count > 1, configuration.core.plant != .noStallStepDown,
            core.isDiskStanding
        {
            core.stepDown()
        }
        if core.isBlocked { core.stepDown() }
        if core.isLeader, let promotion = core.duePromotion() { _ = core.propose(promotion) }
    }

    /// Whether a write that promises depend on has waited for an election timeout, and the disk has finished nothing.
    private func isDiskStanding(_ now: Milliseconds) -> Bool {
        guard let oldest = pending.first(where: { $0.needsSync }) else { return false }
        return now > max(oldest.issuedAt, completedAt) + configuration.core.electionTimeout
    }

    /// What the machine's wall clock shows, in Unix milliseconds. Call it at least as often as `tick`.
    public mutating func observe(wall: Milliseconds, now: Milliseconds) {
        self.wall = wall
        clock.own.observe(wall: wall, now: now)
    }

    /// A message from the network. One that was meant for an earlier life of this replica, or an answer from
    /// an earlier life of the sender, is dropped.
    public mutating func receive(_ message: Message, now: Milliseconds) {
        let isAnyLife = configuration.core.plant == .ignoresLives
        guard message.to == id, message.toIncarnation == incarnation || isAnyLife else { return }
        switch message.body {
        case .vote, .appended, .appendRejected, .heartbeatReply, .requestVote:
            // A candidate that the membership doesn't know may be newer than what is applied here; one whose disk
            // was lost is not.
            if let known = core.membership[message.from], known.incarnation != message.fromIncarnation, !isAnyLife {
                return
            }
            if message.clock > 0 { clock.heard(message.from, message.clock, now: now) }
        case .append(_, let entries, _):
            for entry in entries { clock.saw(entry.stamp, now: now) }
        case .heartbeat, .timeoutNow: break
        }
        core.receive(message, now: now)
    }

    /// Proposes a command; `token` comes back with the reply, or in `unknownProposals`. The stamp is the group's time.
    ///
    /// - Parameter isUrgent: of the group itself: what clients have waiting doesn't keep it out.
    public mutating func propose(
        _ payload: [UInt8], token: UInt64?, isUrgent: Bool = false, now: Milliseconds
    ) -> Result<LogPosition, RaftCore.RefusalError> {
        let isTrusting = configuration.core.plant == .trustsOwnClock
        let stamp = isTrusting ? wall : clock.stamp(core.membership.voters, own: id, now: now)
        return propose(payload, token: token, isUrgent: isUrgent, stamp: stamp)
    }

    /// Proposes a command with a stamp of the caller's.
    package mutating func propose(
        _ payload: [UInt8], token: UInt64?, isUrgent: Bool = false, stamp: Milliseconds
    ) -> Result<LogPosition, RaftCore.RefusalError> {
        let result = core.propose(payload, stamp: stamp, isUrgent: isUrgent)
        if case .success(let position) = result, let token { proposals[position.index] = (position.term, token) }
        return result
    }

    public mutating func propose(_ change: MembershipChange) -> Result<LogPosition, RaftCore.ChangeRefusal> {
        core.propose(change)
    }

    /// Asks for a linearizable read; false if this replica doesn't lead or too many reads wait.
    public mutating func read(token: UInt64, isUrgent: Bool = false) -> Bool {
        core.read(token: token, isUrgent: isUrgent)
    }

    public mutating func transferLeadership(to target: ReplicaID) -> Bool { core.transferLeadership(to: target) }

    /// Hands leadership to whoever could take over soonest; false if nobody can.
    public mutating func handOver() -> Bool { core.successor.map { core.transferLeadership(to: $0) } ?? false }

    /// The oldest write request is done.
    public mutating func completed(_ completion: WriteCompletion) {
        invariant(
            pending.first?.serial == completion.serial,
            "write \(completion.serial) completed out of order, expected \(String(describing: pending.first?.serial))")
        var write = pending.removeFirst()
        completedAt = core.now
        if let last = write.lastEntry {
            var cut = cuts.filter { $0.serial > write.serial }.map(\.index).min()
            if configuration.core.plant == .staleCompletionVouches { cut = nil }
            core.saved(through: min(last, (cut ?? .max) - (cut == nil ? 0 : 1)))
        }
        cuts.removeAll { $0.serial <= write.serial }
        if let hardState = write.hardState { core.hardStateSaved(hardState) }
        if write.installed != nil { snapshotsInstalled += 1 }
        visible = max(visible, completion.applied?.index ?? 0, write.installed ?? 0)
        // A snapshot that was accepted meanwhile has lifted it already.
        if let name = completion.waitsFor, let applied = completion.applied?.index, applied >= core.applied,
            write.serial > staleThrough || configuration.core.plant == .goesBackForOldTries
        {
            waitsFor = name
            core.block()
            nextToApply = applied + 1
            // It came in one write with what a member without a vote doesn't acknowledge without it.
            if !core.vouches {
                write.held.removeAll { message in
                    if case .appended = message.body { true } else { false }
                }
            }
        }
        if let applied = completion.applied, applied.index >= core.applied {
            core.didApply(through: applied.index, bytes: write.appliedBytes, membership: completion.membership)
            appliedBytesTotal += write.appliedBytes
            if appliedBytesTotal - (sizeMarks.last?.bytes ?? 0) > 256 << 10 {
                sizeMarks.append((applied.index, appliedBytesTotal))
            }
        }
        for message in write.held where isTimely(message) { released.append(message) }
        proceedIfStaged()
    }

    /// Whether what has waited for the disk is still to be said. Who asked for votes and has followed another since knows
    /// of entries by which it might not ask, and of a term that is decided.
    private func isTimely(_ message: Message) -> Bool {
        guard case .requestVote(_, isPreVote: false, _) = message.body else { return true }
        return core.role == .candidate && core.term == message.term
    }

    private var released: [Message] = []
    /// The last write that had been issued when `staged` was called: it and those before may not have seen what was
    /// staged, and whatever comes after does.
    private var stagedAfter: UInt64?
    /// Writes up to this one were issued before what waited was tried again: that they waited, too, says nothing of the new
    /// try. To go back for them once more would apply everything behind it a second time.
    private var staleThrough: UInt64 = 0

    /// Entries from the log for a follower that is behind; empty if they are gone.
    public mutating func provideEntries(_ entries: [Entry], to peer: ReplicaID) {
        core.provideEntries(entries, to: peer)
    }

    /// The entries can't be read: the follower gets a snapshot instead.
    public mutating func entriesUnreadable(for peer: ReplicaID) { core.entriesUnreadable(for: peer) }

    /// A snapshot at `index` is on its way; the log after it is kept meanwhile.
    public mutating func snapshotStarted(to peer: ReplicaID, index: LogIndex) {
        sendingSnapshots[peer] = (index, appliedBytesTotal)
    }

    /// The snapshot at `index` was accepted, or, without an index, failed.
    public mutating func snapshotEnded(to peer: ReplicaID, index: LogIndex?) {
        // An accepted snapshot keeps the log after it until the follower has caught up: see `nextCompaction`.
        if index == nil { sendingSnapshots[peer] = nil }
        core.snapshotEnded(peer, index: index)
    }

    /// A snapshot was received and its families are loaded and durable.
    public mutating func install(_ snapshot: SnapshotInstall, now: Milliseconds) {
        // A snapshot that was meant for an earlier life of this replica would make a voter of a wiped disk.
        let position = snapshot.header.applied.position
        let membership = snapshot.header.membership
        guard membership[id]?.incarnation == incarnation else {
            discardedFamilies += snapshot.families
            return
        }
        core.heardOfSnapshot(made: snapshot.header.term)
        guard core.role != .leader, install == nil else {
            discardedFamilies += snapshot.families
            return
        }
        var accepted = snapshot
        if core.isBlocked, core.advance(to: position, membership: membership) {
            accepted.keepsLog = true
            // The disk may hold entries that were replaced and whose successors are within the snapshot.
            accepted.logEnd = lastIssuedEntry > core.lastPosition.index ? core.lastPosition.index : nil
        } else if core.restore(position, membership: membership) {
            accepted.keepsLog = false
            lastIssuedEntry = core.applied
        } else {
            discardedFamilies += snapshot.families
            return
        }
        proceed()
        clock.saw(accepted.header.applied.logTime, now: now)
        install = accepted
        nextToApply = core.applied + 1
        lastIssuedEntry = max(lastIssuedEntry, core.applied)
        sizeMarks = []
    }

    /// Something was staged: the entry that waits, or that a write on its way finds waiting, may be tried again.
    public mutating func staged() {
        stagedAfter = serial
        proceedIfStaged()
    }

    private mutating func proceedIfStaged() {
        guard let last = stagedAfter, pending.first.map({ $0.serial > last }) ?? true else { return }
        stagedAfter = nil
        if core.isBlocked { proceed() }
    }

    private mutating func proceed() {
        staleThrough = serial
        waitsFor = nil
        core.isBlocked = false
    }

    // MARK: - Effects

    public mutating func effects(now: Milliseconds) -> Effects {
        core.flush()
        var effects = Effects()
        var output = core.takeOutput()
        effects.messages = output.messages
        if output.leadershipLost {
            effects.unknownProposals += proposals.values.map(\.token).sorted()
            proposals = [:]
        }
        effects.neededEntries = output.neededEntries
        effects.neededSnapshots = output.neededSnapshots.compactMap { core.membership[$0] }
        effects.discardedFamilies = discardedFamilies
        discardedFamilies = []

        // What was to be written then, and has been taken back, is promised no more. (The leader asks again.)
        if heldBackCuts == core.truncations { output.held = heldBack + output.held }
        heldBack = []
        if let write = nextWrite(held: &output.held, now: now, &effects) { effects.write = write }
        if core.hasUnsaved, configuration.core.plant != .promisesUnwritten {
            // They promise entries of which a part comes with a later request.
            heldBack = output.held
            heldBackCuts = core.truncations
            output.held = []
        }
        // Nothing to write and nothing being written: the promise is already kept.
        if !output.held.isEmpty {
            if let last = pending.lastIndex(where: { $0.needsSync }) {
                pending[last].held += output.held
            } else {
                released += output.held
            }
        }
        effects.messages += released
        released = []

        effects.failedReads = output.failedReads
        collectReads(output, &effects)
        stamp(&effects.messages)
        return effects
    }

    private mutating func nextWrite(
        held: inout [Message], now: Milliseconds, _ effects: inout Effects
    ) -> WriteRequest? {
        let unsaved = core.takeUnsaved(bytesMax: configuration.logBytesMax)
        var request = WriteRequest(serial: serial + 1)
        request.hardState = unsaved.hardState
        request.entries = unsaved.entries
        request.install = install
        var write = PendingWrite(serial: request.serial, needsSync: false, issuedAt: now)
        if let install {
            if !install.keepsLog { cuts.append((request.serial, core.applied + 1)) }
            write.installed = core.applied
            self.install = nil
            // The leader learns that it may go on with the log. Its term is not below the snapshot's, so it has
            // everything that was committed when the snapshot was made.
            if let leader = core.leader, leader != id {
                held.append(core.envelope(.appended(match: core.applied), to: leader))
            }
        }
        if let first = unsaved.entries.first, let last = unsaved.entries.last {
            if first.index <= lastIssuedEntry {
                request.truncatesLog = true
                cuts.append((request.serial, first.index))
            }
            lastIssuedEntry = last.index
            write.lastEntry = last.index
        }
        request.commands = nextCommands(&write, &effects)
        request.compactThrough = nextCompaction()
        write.needsSync = request.needsSync
        guard request.needsSync || !request.commands.isEmpty || request.compactThrough != nil else { return nil }
        serial += 1
        write.hardState = request.hardState
        if request.needsSync, !core.hasUnsaved {
            write.held = held
            held = []
        }
        pending.append(write)
        return request
    }

    private mutating func nextCommands(_ write: inout PendingWrite, _ effects: inout Effects) -> [WriteRequest.Command]
    {
        guard hasMoreToApply else { return [] }
        // Not beyond the log that goes into this request: a power cut behind it must not leave an applied position that
        // the log doesn't reach.
        let isUnwrittenToo = configuration.core.plant == .appliesUnwritten
        let through = isUnwrittenToo ? core.commit : min(core.commit, core.lastHandedOut)
        guard nextToApply <= through else { return [] }
        guard
            let entries = core.log.entries(from: nextToApply, through: through, bytesMax: configuration.applyBytesMax)
        else { invariantFailure("entries from \(nextToApply) are committed, not applied, and not in memory") }
        var commands: [WriteRequest.Command] = []
        commands.reserveCapacity(entries.count)
        for entry in entries {
            var token: UInt64?
            if !proposals.isEmpty, let proposal = proposals.removeValue(forKey: entry.index) {
                if proposal.term == entry.term {
                    token = proposal.token
                } else {
                    effects.unknownProposals.append(proposal.token)
                }
            }
            commands.append(WriteRequest.Command(entry: entry, token: token))
            write.appliedBytes += entry.size
        }
        nextToApply += LogIndex(entries.count)
        return commands
    }

    private var hasMoreToApply: Bool { nextToApply <= core.commit && !core.isBlocked }
    /// More is to be written than went into the last write request: `effects` has more to give.
    public var hasMoreToWrite: Bool { hasMoreToApply || core.hasUnsaved }

    private mutating func nextCompaction() -> LogPosition? {
        let base = core.log.base.index
        var floor = core.applied > configuration.retainedEntries ? core.applied - configuration.retainedEntries : 0
        while let mark = sizeMarks.first, appliedBytesTotal - mark.bytes > configuration.retainedBytes {
            floor = max(floor, mark.index)
            sizeMarks.removeFirst()
        }
        // A follower that is receiving a snapshot, or catching up from one, needs what comes after it, within reason.
        sendingSnapshots = sendingSnapshots.filter { peer, _ in
            guard core.isLeader, let match = core.match(of: peer) else { return false }
            return match < floor
        }
        for snapshot in sendingSnapshots.values
        where appliedBytesTotal - snapshot.bytes <= configuration.snapshotRetainedBytes
            && configuration.core.plant != .compactsDuringSnapshots
        {
            floor = min(floor, snapshot.index)
        }
        floor = min(floor, core.durable)
        // A quarter of slack, so that a compaction removes many entries at once.
        guard floor > base, floor - base > configuration.retainedEntries / 4 || floor - base > 4096,
            let term = core.log.term(at: floor)
        else { return nil }
        core.compact(through: floor)
        return LogPosition(index: floor, term: term)
    }

    private mutating func collectReads(_ output: RaftCore.Output, _ effects: inout Effects) {
        for read in output.confirmedReads { waitingReads.append((index: read.index, token: read.token)) }
        guard !waitingReads.isEmpty else { return }
        var still: [(index: LogIndex, token: UInt64)] = []
        for read in waitingReads {
            let isThere = read.index <= visible || configuration.core.plant == .readsBeforeApplying
            if isThere { effects.readyReads.append(read.token) } else { still.append(read) }
        }
        waitingReads = still
        // What can't be applied can't be read, and nobody should wait for it.
        if core.isBlocked {
            effects.failedReads += waitingReads.map(\.token)
            waitingReads = []
        }
    }

    private func stamp(_ messages: inout [Message]) {
        for index in messages.indices {
            messages[index].fromIncarnation = incarnation
            switch messages[index].body {
            case .vote, .appended, .appendRejected, .heartbeatReply: messages[index].clock = clock.own.time(core.now)
            case .requestVote, .append, .heartbeat, .timeoutNow: break
            }
            if let member = core.membership[messages[index].to], messages[index].isFirstWord {
                messages[index].toIncarnation = member.incarnation
            }
        }
    }
}

extension Message {
    /// Not an answer: goes to the incarnation that the membership names, not to the one that asked.
    var isFirstWord: Bool {
        switch body {
        case .requestVote, .append, .heartbeat, .timeoutNow: true
        case .appended, .vote, .appendRejected, .heartbeatReply:
            toIncarnation == Incarnation(high: 0, low: 0)
        }
    }
}

extension RaftCore {
    mutating func takeOutput() -> Output {
        let taken = output
        output = Output()
        return taken
    }
}
