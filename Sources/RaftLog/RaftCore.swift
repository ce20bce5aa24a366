internal import Bytes

/// Raft as a pure value: messages, time and completed writes go in; messages and things to persist come out.
///
/// It follows Ongaro's dissertation, with etcd's practice where the paper is silent:
///  - PreVote (section 9.6) and a vote lease: a replica that hears from a leader doesn't help to depose it.
///  - CheckQuorum: a leader that a majority doesn't answer for an election timeout steps down.
///  - Membership changes take effect when applied, one at a time (as in etcd), not when appended (as in the
///    paper): a leader proposes none while one is unapplied, and nobody campaigns while one that is
///    committed is unapplied. Which ones are committed is read from the log itself, so that a restart can't forget
///    it: of two that are unapplied the earlier one is (decision 0022).
///  - ReadIndex (section 6.4) in rounds: a round's number is unique in its term, so a delayed answer can't
///    confirm a later read (etcd #20418).
///  - A leader sends entries while its own disk still writes them, and counts itself only once they are there
///    (section 10.2.1).
///
/// The core has no clock, no randomness of its own and no I/O. Whoever drives it (`ReplicaDriver`) must
/// write what `takeUnsaved` returns in order, and send `held` messages only once that is on disk.
public struct RaftCore: Sendable {
    /// The knobs; times in milliseconds.
    public struct Configuration: Sendable {
        /// A follower waits between this and twice this for a leader.
        public var electionTimeout: Milliseconds = 600
        public var heartbeatInterval: Milliseconds = 100
        /// Entries in one append, in bytes (one entry always fits).
        public var appendBytesMax = 256 << 10
        /// Appends to one follower that may be unanswered.
        public var inflightMessagesMax = 128
        public var inflightBytesMax = 8 << 20
        /// Entries that are in the log and not applied: beyond this proposals are refused.
        public var unappliedBytesMax = 64 << 20
        /// So much may wait however slow the disk is; beyond it, what the disk has lately done in a second.
        public var unappliedBytesMin = 16 << 20
        /// The group's own commands may wait beside those of clients, which never keep them out, up to so many bytes.
        public var urgentBytesMax = 1 << 20
        /// Entries kept in memory after they were applied.
        public var memoryBytesMax = 4 << 20
        /// Reads that may wait for confirmation.
        public var pendingReadsMax = 65_536
        /// A known defect that is put back, for the simulator to find.
        package var plant: Plant?

        public init() {}
    }

    public enum Role: Sendable, Equatable { case follower, preCandidate, candidate, leader }

    public let id: ReplicaID
    /// This replica's life. A membership that names another one doesn't mean this replica; `nil` if lives don't
    /// matter (a core on its own, in tests).
    let incarnation: Incarnation?
    let configuration: Configuration
    var random: SplitMix64

    public internal(set) var hardState: HardState
    public internal(set) var role: Role = .follower
    public internal(set) var leader: ReplicaID?
    public internal(set) var commit: LogIndex
    /// Entries up to here have been handed out to be applied and are done.
    public internal(set) var applied: LogIndex
    /// This replica's own log is on disk up to here.
    public internal(set) var durable: LogIndex
    /// As of `applied`.
    public internal(set) var membership: Membership
    var log: LogTail

    // Time.
    var now: Milliseconds
    package var electionDeadline: Milliseconds = 0
    var heartbeatDeadline: Milliseconds = 0
    var quorumDeadline: Milliseconds = 0
    var leaderHeardAt: Milliseconds?

    // Elections.
    var votes: [ReplicaID: Bool] = [:]
    /// The leader has handed over, for example because it was removed, and that very change is not applied here yet.
    var takesOverWhenApplied = false

    // Leadership.
    package var progress: [ReplicaID: Progress] = [:]
    /// Where this leader's term begins; reads and membership changes wait until it is committed.
    var openingIndex: LogIndex = 0
    /// This leader was removed, and waits until the others know: for the answers to this round.
    var departure: (round: UInt64, deadline: Milliseconds)?
    var transferTarget: ReplicaID?
    var transferDeadline: Milliseconds = 0
    package var readRound: UInt64 = 0
    var reads: [PendingRead] = []
    var unappliedBytes = 0
    /// The group's own commands that this leader has taken and that aren't applied, with their sizes.
    var urgent: [(index: LogIndex, size: Int)] = []
    /// Bytes that were applied in a second lately, and since when they are counted.
    private var pace: (bytesPerSecond: Int, counted: Int, since: Milliseconds) = (.max, 0, 0)
    /// What may wait for the disk: about a second's work, so that whoever is let in is answered before it gives up.
    package private(set) var unappliedBytesAllowed: Int

    /// A committed entry can't be applied here for want of staged data. Who can't apply can't answer, and doesn't lead.
    var isBlocked = false

    /// The disk hasn't finished anything for an election timeout. Who can't write its own vote can't win, and its
    /// pre-votes, granted by all, would raise its term again and again and take the others' pre-votes from them.
    var isDiskStanding = false

    /// Indexes of membership entries that are in the log and not applied.
    package var unappliedMemberships: [LogIndex] = []

    /// What the leader of this term has sent, and what isn't acknowledged yet although it is here.
    struct Withheld: Sendable {
        var match: LogIndex
        var leader: ReplicaID
        var life: Incarnation
    }
    var withheld: Withheld?

    /// How often entries were taken back.
    var truncations: UInt64 = 0

    // What has happened since the driver last looked.
    var firstUnsaved: LogIndex?
    var hardStateChanged = false
    var output = Output()

    struct PendingRead: Sendable {
        var token: UInt64
        var round: UInt64?
        var index: LogIndex = 0
    }

    /// What the core wants done.
    struct Output: Sendable {
        /// May be sent at once.
        var messages: [Message] = []
        /// May be sent once everything unsaved at this moment is on disk.
        var held: [Message] = []
        /// Reads that may be answered from a state that includes `index`.
        var confirmedReads: [(token: UInt64, index: LogIndex)] = []
        /// Reads that this replica can no longer confirm.
        var failedReads: [UInt64] = []
        /// Entries that a follower needs and memory doesn't have.
        var neededEntries: [(peer: ReplicaID, from: LogIndex, through: LogIndex)] = []
        /// Followers that need a snapshot.
        var neededSnapshots: [ReplicaID] = []
        /// Leadership was lost: proposals without an answer have an unknown outcome.
        var leadershipLost = false
    }

    /// A core as its disk left it. `stored`: positions of the log above `base` that need no memory;
    /// `unapplied`: the entries after them.
    public init(
        id: ReplicaID, configuration: Configuration, hardState: HardState, base: LogPosition,
        stored: [LogPosition], unapplied: [Entry], applied: LogIndex, membership: Membership, seed: UInt64,
        now: Milliseconds, incarnation: Incarnation? = nil
    ) {
        self.id = id
        self.incarnation = incarnation
        self.configuration = configuration
        unappliedBytesAllowed = configuration.unappliedBytesMax
        self.random = SplitMix64(seed: seed)
        self.hardState = hardState
        self.membership = membership
        self.applied = applied
        self.commit = applied
        self.now = now
        log = LogTail(base: base)
        for position in stored { log.noteStored(position) }
        for entry in unapplied {
            log.append(entry)
            if entry.kind == .membership { unappliedMemberships.append(entry.index) }
            unappliedBytes += entry.size
        }
        // The shell has synced what it found.
        durable = log.last.index
        commitEarlierChanges()
        invariant(applied <= log.last.index, "applied \(applied) is beyond the log's end \(log.last)")
        invariant(applied >= base.index, "applied \(applied) is before the log's base \(base)")
        resetElectionDeadline()
    }

    public var term: Term { hardState.term }
    public var lastPosition: LogPosition { log.last }
    public var firstIndex: LogIndex { log.base.index + 1 }
    public var isLeader: Bool { role == .leader }
    /// The leader's first entry is committed, so its commit index is the newest there is.
    public var hasCommittedInTerm: Bool { role == .leader && commit >= openingIndex }
    /// In a leader: how far each follower's log is known to agree.
    public func match(of peer: ReplicaID) -> LogIndex? {
        peer == id ? durable : progress[peer]?.match
    }
    /// Whether a membership gives this replica, in this life, a vote.
    func isVoter(in membership: Membership) -> Bool {
        guard let own = membership[id], own.standing == .voter else { return false }
        return incarnation.map { $0 == own.incarnation } ?? true
    }

    var peers: [ReplicaID] { membership.members.map(\.id).filter { $0 != id } }

    // MARK: - Time

    public mutating func tick(now newNow: Milliseconds) {
        now = max(now, newNow)
        if role == .leader {
            if let departure {
                if now >= departure.deadline { becomeFollower(term: term, leader: nil) }
            } else if now >= quorumDeadline, configuration.plant != .noCheckQuorum {
                checkQuorum()
            }
            let mayGiveUp = configuration.plant != .transferNeverEnds
            if role == .leader, transferTarget != nil, now >= transferDeadline, mayGiveUp { transferTarget = nil }
            guard role == .leader else { return }
            if now >= heartbeatDeadline { sendHeartbeats() } else { announceCommits() }
        } else if now >= electionDeadline {
            resetElectionDeadline()
            campaign(force: false)
        }
    }

    mutating func resetElectionDeadline() {
        let base = configuration.electionTimeout
        let patience = Milliseconds.random(in: 0..<max(base, 1), using: &random)
        electionDeadline = now + base + (configuration.plant == .timeoutsNotRandom ? 0 : patience)
    }

    // MARK: - Messages

    public mutating func receive(_ message: Message, now newNow: Milliseconds) {
        now = max(now, newNow)
        if message.term > term {
            switch message.body {
            case .requestVote(_, let isPreVote, let force):
                if !force, hearsALeader { return }
                if !isPreVote { becomeFollower(term: message.term, leader: nil) }
            case .vote(granted: true, isPreVote: true):
                break  // Carries the term that we asked about.
            case .append, .heartbeat:
                becomeFollower(term: message.term, leader: message.from)
            default:
                becomeFollower(term: message.term, leader: nil)
            }
        } else if message.term < term, !isTakenThoughStale(message.body) {
            switch message.body {
            case .append, .heartbeat:
                // A leader of the past must learn of the present, or a replica whose term ran ahead
                // stays out for ever.
                send(.heartbeatReply(round: 0), to: message)
            case .requestVote(_, let isPreVote, _):
                send(.vote(granted: false, isPreVote: isPreVote), to: message)
            default: break
            }
            return
        }
        switch message.body {
        case .requestVote(let last, let isPreVote, _): answerVote(message, last: last, isPreVote: isPreVote)
        case .vote(let granted, let isPreVote): countVote(message, granted: granted, isPreVote: isPreVote)
        case .append(let previous, let entries, let commit):
            followLeader(message.from)
            handleAppend(message, previous: previous, entries: entries, leaderCommit: commit)
        case .heartbeat(let commit, let round):
            followLeader(message.from)
            advanceCommit(to: min(commit, durableOrMatching(commit)))
            send(.heartbeatReply(round: round), to: message)
        case .appended(let match): handleAppended(message.from, match: match)
        case .appendRejected(let previous, let hint): handleRejected(message.from, previous: previous, hint: hint)
        case .heartbeatReply(let round): handleHeartbeatReply(message.from, round: round)
        case .timeoutNow:
            guard role != .leader, message.from == leader else { return }
            takesOverWhenApplied = hasCommittedChangeUnapplied
            if !takesOverWhenApplied { campaign(force: true) }
        }
    }

    private func isTakenThoughStale(_ body: Message.Body) -> Bool {
        switch (body, configuration.plant) {
        case (.appended, .takesStaleAppended), (.heartbeatReply, .takesStaleHeartbeatReplies): true
        default: false
        }
    }

    /// A heartbeat's commit never exceeds what the leader knows to match, so the log has it.
    private func durableOrMatching(_ index: LogIndex) -> LogIndex { min(index, log.last.index) }

    private var hearsALeader: Bool {
        if configuration.plant == .noVoteLease { return false }
        if role == .leader { return true }
        guard leader != nil, let leaderHeardAt else { return false }
        return now < leaderHeardAt + configuration.electionTimeout
    }

    private mutating func followLeader(_ from: ReplicaID) {
        invariant(role != .leader, "two leaders in term \(term): \(id) and \(from)")
        if role != .follower { becomeFollower(term: term, leader: from) }
        leader = from
        leaderHeardAt = now
        resetElectionDeadline()
    }

    func envelope(_ body: Message.Body, to peer: ReplicaID, term messageTerm: Term? = nil) -> Message {
        Message(from: id, to: peer, term: messageTerm ?? term, body: body)
    }

    mutating func send(_ body: Message.Body, to peer: ReplicaID) {
        output.messages.append(envelope(body, to: peer))
    }

    /// Answers the very incarnation that asked.
    mutating func send(_ body: Message.Body, to request: Message, held: Bool = false, term: Term? = nil) {
        var message = envelope(body, to: request.from, term: term)
        message.toIncarnation = request.fromIncarnation
        if held { output.held.append(message) } else { output.messages.append(message) }
    }

    // MARK: - Roles

    mutating func becomeFollower(term newTerm: Term, leader newLeader: ReplicaID?) {
        let wasLeader = role == .leader
        if newTerm > term {
            hardState = HardState(term: newTerm, vote: nil)
            if configuration.plant != .termNotPersisted { hardStateChanged = true }
            takesOverWhenApplied = false
            withheld = nil
        }
        role = .follower
        leader = newLeader
        votes = [:]
        if wasLeader {
            output.failedReads += reads.map(\.token)
            output.leadershipLost = true
            reads = []
            progress = [:]
            transferTarget = nil
            departure = nil
        }
        resetElectionDeadline()
    }

    /// Gives leadership up, for example because the own disk has stalled.
    public mutating func stepDown() {
        if role == .leader { becomeFollower(term: term, leader: nil) }
    }

    /// The next committed entry can't be applied here: no office, and no candidacy, until it can.
    mutating func block() {
        isBlocked = true
        if role != .follower { becomeFollower(term: term, leader: nil) }
    }

    // MARK: - Completed work

    /// Everything up to `index` is on this replica's disk.
    mutating func saved(through index: LogIndex) {
        // What has not been handed out can't be there, even if something else at its index is.
        durable = max(durable, min(index, lastHandedOut))
        if role == .leader { advanceLeaderCommit() }
    }

    /// Applied up to `index`; `newMembership` if a change was among the entries.
    mutating func didApply(through index: LogIndex, bytes: Int, membership newMembership: Membership?) {
        invariant(index >= applied && index <= commit, "applied \(index), before \(applied), commit \(commit)")
        applied = index
        unappliedBytes = max(0, unappliedBytes - bytes)
        urgent.removeAll { $0.index <= index }
        notePace(bytes)
        unappliedMemberships.removeAll { $0 <= index }
        if let newMembership { adopt(newMembership) }
        acknowledgeWithheld()
        log.evict(through: min(applied, durable), bytesMax: configuration.memoryBytesMax)
        if takesOverWhenApplied, !hasCommittedChangeUnapplied {
            takesOverWhenApplied = false
            if role != .leader { campaign(force: true) }
        }
    }

    /// A disk that is kept busy shows what it can do; one that isn't says nothing.
    private mutating func notePace(_ bytes: Int) {
        if unappliedBytes == 0 {
            pace = (.max, 0, now)
            unappliedBytesAllowed = configuration.unappliedBytesMax
            return
        }
        pace.counted += bytes
        let passed = now - min(now, pace.since)
        guard passed >= 500 else { return }
        let lately = pace.counted * 1000 / Int(passed)
        pace = (pace.bytesPerSecond == .max ? lately : (pace.bytesPerSecond + lately) / 2, 0, now)
        unappliedBytesAllowed =
            min(configuration.unappliedBytesMax, max(configuration.unappliedBytesMin, pace.bytesPerSecond))
    }

    /// Hands out what is not written yet: the hard state if it changed, and new entries, of so many bytes (one always
    /// fits). What is left then comes with the next call.
    mutating func takeUnsaved(bytesMax: Int) -> (hardState: HardState?, entries: [Entry]) {
        var state = hardStateChanged ? hardState : nil
        if configuration.plant == .voteNotPersisted, state?.vote != id { state?.vote = nil }
        hardStateChanged = false
        var entries: [Entry] = []
        if let first = firstUnsaved, first <= log.last.index {
            guard let found = log.entries(from: first, through: log.last.index, bytesMax: bytesMax) else {
                invariantFailure("unsaved entries from \(first) are no longer in memory")
            }
            entries = found
        }
        firstUnsaved = entries.last.flatMap { $0.index < log.last.index ? $0.index + 1 : nil }
        return (state, entries)
    }

    /// The last entry that somebody has been told to write.
    var lastHandedOut: LogIndex { min(log.last.index, (firstUnsaved ?? .max) - 1) }

    /// Entries that nobody has been told to write yet.
    var hasUnsaved: Bool { firstUnsaved.map { $0 <= log.last.index } ?? false }
}

extension RaftCore {
    /// What the simulator's invariants look at: bytes that a leader counts as unapplied, whether it is about to leave
    /// because it was removed, and to whom it hands over.
    package var unappliedSize: Int { unappliedBytes }

    /// Bytes of entries that are in memory.
    package var logBytesInMemory: Int { log.bytes }
    package var isDeparting: Bool { departure != nil }
    package var handsOverTo: ReplicaID? { transferTarget }

    /// The term of the entry at `index`, if it is in the log (for invariants and status).
    public func termOfLog(at index: LogIndex) -> Term? { log.term(at: index) }
}
