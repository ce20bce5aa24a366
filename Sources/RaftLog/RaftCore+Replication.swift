internal import Bytes

/// Replication: section 5.3 of the paper, with pipelining.
extension RaftCore {
    /// Why a proposal was not taken.
    public enum Refusal: Sendable, Equatable {
        case notLeader(hint: ReplicaID?)
        /// Too much is waiting to be applied; try again soon.
        case busy
    }

    /// Appends a command to the leader's log. It is sent with the next `flush`.
    ///
    /// - Parameter isUrgent: of the group itself. Clients that fill whatever room there is would keep it out for ever: a
    ///   shard that is written to at full rate could never be frozen.
    public mutating func propose(
        _ payload: [UInt8], stamp: Milliseconds, isUrgent: Bool = false
    ) -> Result<LogPosition, RefusalError> {
        guard role == .leader else { return .failure(RefusalError(.notLeader(hint: leader))) }
        if transferTarget != nil || departure != nil { return .failure(RefusalError(.busy)) }
        let isFull =
            isUrgent
            ? urgent.reduce(0) { $0 + $1.size } > configuration.urgentBytesMax : unappliedBytes > unappliedBytesAllowed
        if isFull, configuration.plant != .noAdmission { return .failure(RefusalError(.busy)) }
        let before = unappliedBytes
        let position = appendToOwnLog(kind: .command, payload: payload, stamp: stamp)
        if isUrgent { urgent.append((position.index, unappliedBytes - before)) }
        return .success(position)
    }

    /// A refusal as an error.
    public struct RefusalError: Error, Sendable, Equatable {
        public let refusal: Refusal
        package init(_ refusal: Refusal) { self.refusal = refusal }
    }

    @discardableResult
    mutating func appendToOwnLog(kind: Entry.Kind, payload: [UInt8], stamp: Milliseconds) -> LogPosition {
        let entry = Entry(index: log.last.index + 1, term: term, kind: kind, stamp: stamp, payload: payload)
        appendToLog(entry)
        return LogPosition(index: entry.index, term: entry.term)
    }

    private mutating func appendToLog(_ entry: Entry) {
        log.append(entry)
        unappliedBytes += entry.size
        firstUnsaved = min(firstUnsaved ?? entry.index, entry.index)
        if entry.kind == .membership {
            unappliedMemberships.append(entry.index)
            commitEarlierChanges()
        }
    }

    // MARK: - Follower

    mutating func handleAppend(_ message: Message, previous: LogPosition, entries: [Entry], leaderCommit: LogIndex) {
        // Nothing that comes now can be applied, and it all stays in memory: as if the network had lost it.
        if isBlocked, log.bytes > configuration.unappliedBytesMax { return }
        let lastNew = previous.index + LogIndex(entries.count)
        if previous.index < commit {
            // Everything up to our commit agrees by the Log Matching property.
            if lastNew <= commit {
                return acknowledge(commit, to: message)
            }
        } else if log.term(at: previous.index) != previous.term {
            let hint = log.newestPosition(atMost: previous.index, term: previous.term)
            send(.appendRejected(previous: previous.index, hint: hint), to: message)
            return
        }
        for entry in entries where entry.index > commit {
            if entry.index <= log.last.index {
                if log.term(at: entry.index) == entry.term, configuration.plant != .truncatesWhatAgrees { continue }
                truncateLog(after: entry.index - 1)
            }
            appendToLog(entry)
        }
        advanceCommit(to: min(leaderCommit, configuration.plant == .commitsToLogEnd ? log.last.index : lastNew))
        acknowledge(configuration.plant == .acknowledgesWholeLog ? log.last.index : lastNew, to: message)
    }

    private mutating func acknowledge(_ match: LogIndex, to message: Message) {
        guard vouches else { return }
        let allowed = min(match, acknowledgeable)
        if allowed < match {
            let furthest = max(match, withheld?.match ?? 0)
            withheld = Withheld(match: furthest, leader: message.from, life: message.fromIncarnation)
        }
        send(.appended(match: allowed), to: message, held: configuration.plant != .acknowledgesBeforeSaving)
    }

    /// How far this replica may acknowledge its log: not beyond a change of votes while it has not applied the one before,
    /// and with that everything before it. So each change is agreed to by a quorum that has all the earlier ones had mapped
    /// from beside the log, whether or not a replica knows what it lacks (decision 0026).
    ///
    /// It waits only for what is committed: that is so of all changes but the last (`commitEarlierChanges`). And it never
    /// concerns a leader, which has applied all but the last before it campaigns, and all before it proposes one.
    var acknowledgeable: LogIndex {
        guard unappliedMemberships.count > 1, let last = unappliedMemberships.last, last > commit,
            configuration.plant != .vouchesWhileBlocked,
            touchesVotes(last), unappliedMemberships.dropLast().contains(where: touchesVotes)
        else { return .max }
        return last - 1
    }

    /// Whether a change of members in the log may give or take a vote. One that can't be read might.
    private func touchesVotes(_ index: LogIndex) -> Bool {
        guard let entry = log.entries(from: index, through: index, bytesMax: 1)?.first,
            let change = try? MembershipChange(encoded: entry.payload)
        else { return true }
        if case .add = change { return false }
        return true
    }

    /// What was withheld is acknowledged as soon as it may be: the leader has sent it and wouldn't send it again at once.
    mutating func acknowledgeWithheld() {
        guard let withheld, withheld.match <= acknowledgeable else { return }
        self.withheld = nil
        guard leader == withheld.leader, vouches else { return }
        var message = envelope(.appended(match: withheld.match), to: withheld.leader)
        message.toIncarnation = withheld.life
        output.held.append(message)
    }

    /// A member without a vote that knows of something it lacks acknowledges nothing: it would be made a voter by that.
    /// (One that doesn't know yet may become a voter. The group is then no safer for it, and loses nothing:
    /// `acknowledgeable`.)
    var vouches: Bool { !isBlocked || isVoter(in: membership) }

    private mutating func truncateLog(after index: LogIndex) {
        invariant(index >= commit, "truncation after \(index) would remove committed entries (commit \(commit))")
        let before = log.bytes
        log.truncate(after: index)
        // What is cut off was never applied.
        unappliedBytes = max(0, unappliedBytes - (before - log.bytes))
        urgent.removeAll { $0.index > index }
        truncations += 1
        durable = min(durable, index)
        unappliedMemberships.removeAll { $0 > index }
        if let owed = withheld, owed.match > index { withheld = nil }
        if let first = firstUnsaved, first > index { firstUnsaved = nil }
    }

    mutating func advanceCommit(to index: LogIndex) {
        guard index > commit else { return }
        invariant(index <= log.last.index, "commit \(index) is beyond the log's end \(log.last)")
        commit = index
    }

    // MARK: - Leader

    mutating func advanceLeaderCommit() {
        let counted = configuration.plant == .countsLearners ? membership.members.map(\.id) : membership.voters
        let matches =
            counted
            .map { $0 == id ? durable : progress[$0]?.match ?? 0 }
            .sorted(by: >)
        guard matches.count >= membership.quorum, membership.quorum > 0 else { return }
        let agreed = matches[membership.quorum - 1]
        // Only entries of the current term are committed by counting (section 5.4.2, Figure 8).
        guard agreed > commit, log.term(at: agreed) == term || configuration.plant == .countsOldTerms else { return }
        commit = agreed
    }

    mutating func handleAppended(_ peer: ReplicaID, match: LogIndex) {
        guard role == .leader, var follower = progress[peer] else { return }
        follower.isActive = true
        follower.heardAt = now
        guard match <= log.last.index else { return progress[peer] = follower }
        follower.isPaused = false
        if configuration.plant != .inflightNeverCleared { follower.acknowledged(match) }
        // Answers may arrive out of order: match only grows.
        if match > follower.match { follower.match = match }
        follower.next = max(follower.next, follower.match + 1)
        switch follower.state {
        case .probe: follower.become(.replicate, next: follower.match + 1)
        case .snapshot:
            // From there on the log goes on. What it has been compacted beyond meanwhile comes with the snapshot that is on
            // its way, and needs no second one.
            if follower.match >= log.base.index {
                follower.become(.replicate, next: follower.match + 1)
            }
        case .replicate: break
        }
        progress[peer] = follower
        advanceLeaderCommit()
        if peer == transferTarget { finishTransferIfCaughtUp() }
    }

    mutating func handleRejected(_ peer: ReplicaID, previous: LogIndex, hint: LogPosition) {
        guard role == .leader, var follower = progress[peer] else { return }
        follower.isActive = true
        follower.heardAt = now
        defer { progress[peer] = follower }
        // A rejection of something below what is known to match is old news.
        guard previous > follower.match, previous < follower.next else { return }
        if case .snapshot = follower.state { return }
        // Where our log has the hint's term or an older one, at or before the hint: nothing after it can agree.
        let guess = log.newestPosition(atMost: hint.index, term: hint.term)
        follower.become(.probe, next: max(follower.match, min(guess.index, previous - 1)) + 1)
    }

    mutating func handleHeartbeatReply(_ peer: ReplicaID, round: UInt64) {
        guard role == .leader, var follower = progress[peer] else { return }
        follower.isActive = true
        follower.heardAt = now
        follower.confirmedRound = max(follower.confirmedRound, min(round, readRound))
        follower.isPaused = false
        progress[peer] = follower
        confirmReads()
        departIfKnown()
    }

    /// What a heartbeat tells a follower: beyond what is known to match, its log may hold other entries.
    func commitKnown(to follower: Progress) -> LogIndex {
        configuration.plant == .heartbeatCommitsBlindly ? commit : min(follower.match, commit)
    }

    mutating func sendHeartbeats() {
        heartbeatDeadline = now + configuration.heartbeatInterval
        for peer in progress.keys.sorted() {
            guard var follower = progress[peer] else { continue }
            send(.heartbeat(commit: commitKnown(to: follower), round: readRound), to: peer)
            follower.announcedCommit = max(follower.announcedCommit, commitKnown(to: follower))
            // Intervals without progress while something is unanswered: the last append may be lost. The next one is a
            // probe; its rejection or acceptance tells where the follower stands. What is large takes its time on the
            // way and on the disk there, and sending it again would make it worse.
            let isStanding =
                follower.state == .replicate && follower.match < log.last.index
                && follower.match == follower.matchAtHeartbeat && !follower.inflight.isEmpty
            follower.standingIntervals = isStanding ? follower.standingIntervals + 1 : 0
            if follower.standingIntervals > follower.inflightBytes >> 20 {
                follower.standingIntervals = 0
                follower.become(.probe, next: follower.match + 1)
            }
            follower.matchAtHeartbeat = follower.match
            progress[peer] = follower
        }
    }

    /// Sends whatever followers lack, as far as flow control allows. Called once per round of inputs, so that
    /// everything that has queued goes into one message per follower.
    public mutating func flush() {
        guard role == .leader else { return }
        startReadRound()
        for peer in progress.keys.sorted() {
            while sendAppend(to: peer) {}
        }
        // Nobody campaigns while a committed change of members isn't applied, and once it is applied here nobody
        // speaks to a member that it removes: they must hear of it now.
        if hasCommittedChangeUnapplied { announceCommits() }
    }

    /// Sends one append; true if another may follow.
    private mutating func sendAppend(to peer: ReplicaID) -> Bool {
        guard var follower = progress[peer] else { return false }
        defer { progress[peer] = follower }
        switch follower.state {
        case .snapshot: return false
        case .probe: if follower.isPaused || follower.awaitsEntries { return false }
        case .replicate:
            if follower.next > log.last.index || follower.awaitsEntries { return false }
            if follower.inflight.count >= configuration.inflightMessagesMax { return false }
            if follower.inflightBytes >= configuration.inflightBytesMax { return false }
        }
        let previousIndex = follower.next - 1
        guard let previousTerm = log.term(at: previousIndex) else {
            needSnapshot(peer, &follower)
            return false
        }
        let isProbe = follower.state == .probe
        let upper = log.last.index
        guard
            let entries = log.entries(
                from: follower.next, through: upper, bytesMax: isProbe ? 1 : configuration.appendBytesMax)
        else {
            follower.awaitsEntries = true
            let through = min(upper, log.firstInMemory - 1)
            output.neededEntries.append((peer: peer, from: follower.next, through: through))
            return false
        }
        sendEntries(entries, after: LogPosition(index: previousIndex, term: previousTerm), to: peer, &follower)
        return !isProbe
    }

    private mutating func sendEntries(
        _ entries: [Entry], after previous: LogPosition, to peer: ReplicaID, _ follower: inout Progress
    ) {
        send(.append(previous: previous, entries: entries, commit: commit), to: peer)
        follower.announcedCommit = commit
        if follower.state == .probe {
            follower.isPaused = true
        } else if let last = entries.last {
            follower.sent(through: last.index, bytes: entries.reduce(0) { $0 + $1.size })
            follower.next = last.index + 1
        }
    }

    /// Followers apply only what they know to be committed. The next append says so; where none has followed by
    /// the next tick, a heartbeat does, once per commit index that they could apply. (At once would double the
    /// messages of a lone writer, and nobody waits for followers to apply.)
    mutating func announceCommits() {
        for peer in progress.keys.sorted() {
            guard let follower = progress[peer], follower.state == .replicate, follower.announcedCommit < commit,
                follower.match >= commit
            else { continue }
            progress[peer]?.announcedCommit = commit
            send(.heartbeat(commit: commit, round: readRound), to: peer)
        }
    }

    private mutating func needSnapshot(_ peer: ReplicaID, _ follower: inout Progress) {
        follower.become(.snapshot, next: follower.next)
        output.neededSnapshots.append(peer)
    }

    /// The entries that `neededEntries` asked for. Empty: they have been compacted meanwhile.
    mutating func provideEntries(_ entries: [Entry], to peer: ReplicaID) {
        guard role == .leader, var follower = progress[peer] else { return }
        follower.awaitsEntries = false
        if let first = entries.first, first.index == follower.next,
            let previousTerm = log.term(at: first.index - 1), log.term(at: first.index) == first.term
        {
            let previous = LogPosition(index: first.index - 1, term: previousTerm)
            sendEntries(entries, after: previous, to: peer, &follower)
        }
        progress[peer] = follower
    }

    /// The entries that `neededEntries` asked for can't be read here: a snapshot takes their place.
    mutating func entriesUnreadable(for peer: ReplicaID) {
        guard role == .leader, var follower = progress[peer] else { return }
        follower.awaitsEntries = false
        if case .snapshot = follower.state { return progress[peer] = follower }
        needSnapshot(peer, &follower)
        progress[peer] = follower
    }

    /// A snapshot to `peer` has been handed over (`delivered`) or has failed.
    mutating func snapshotEnded(_ peer: ReplicaID, index: LogIndex?) {
        guard role == .leader, var follower = progress[peer], case .snapshot = follower.state else { return }
        if let index {
            // The follower's own acknowledgement follows; until then probe from behind the snapshot.
            follower.become(.probe, next: max(follower.match, index) + 1)
        } else {
            follower.become(.probe, next: follower.match + 1)
            follower.isPaused = true
        }
        progress[peer] = follower
    }

    // MARK: - Snapshots and compaction

    /// A snapshot was made in this term: whoever leads an earlier one may lack what is committed in it, and must not
    /// be answered any more.
    mutating func heardOfSnapshot(made snapshotTerm: Term) {
        if configuration.plant == .snapshotKeepsTerm { return }
        if snapshotTerm > term { becomeFollower(term: snapshotTerm, leader: nil) }
    }

    /// Replaces log and state by a snapshot that is newer than our commit; false if it isn't.
    mutating func restore(_ position: LogPosition, membership newMembership: Membership) -> Bool {
        guard position.index > commit else { return false }
        if log.term(at: position.index) == position.term, configuration.plant != .snapshotDropsAcknowledged {
            // The log holds all of it, and perhaps entries beyond that this replica has already acknowledged:
            // nothing may be thrown away (Figure 13, rule 6). The snapshot only tells what is committed.
            advanceCommit(to: position.index)
            return false
        }
        invariant(role != .leader, "a leader was given a snapshot at \(position)")
        // Whatever the log holds beyond may conflict with the snapshot (hashicorp/raft #697).
        log.reset(to: position)
        truncations += 1
        commit = position.index
        applied = position.index
        durable = position.index
        firstUnsaved = nil
        unappliedMemberships = []
        withheld = nil
        unappliedBytes = 0
        urgent = []
        membership = newMembership
        return true
    }

    /// Takes the state of a snapshot that is newer than what is applied, and keeps the log after it: for a replica
    /// whose log is good but whose next committed entry can't be applied. False if the log doesn't hold the position.
    mutating func advance(to position: LogPosition, membership newMembership: Membership) -> Bool {
        guard position.index > applied, log.term(at: position.index) == position.term else { return false }
        invariant(role != .leader, "a leader was given a snapshot at \(position)")
        if let first = firstUnsaved, first <= position.index {
            firstUnsaved = position.index < log.last.index ? position.index + 1 : nil
        }
        commit = max(commit, position.index)
        applied = position.index
        durable = max(durable, position.index)
        unappliedMemberships.removeAll { $0 <= position.index }
        log.compact(through: position.index)
        unappliedBytes =
            log.entries(from: position.index + 1, through: log.last.index, bytesMax: .max)?.reduce(0) { $0 + $1.size }
            ?? 0
        membership = newMembership
        acknowledgeWithheld()
        return true
    }

    /// Forgets the log up to `index`.
    mutating func compact(through index: LogIndex) {
        invariant(index <= applied, "compaction at \(index) beyond what is applied (\(applied))")
        log.compact(through: index)
    }
}
