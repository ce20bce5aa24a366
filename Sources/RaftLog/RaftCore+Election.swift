internal import Bytes

/// Elections: section 5.2, with PreVote (dissertation, section 9.6).
extension RaftCore {
    /// Who votes here may have changed, and this replica doesn't know it yet.
    var hasCommittedChangeUnapplied: Bool { unappliedMemberships.first.map { $0 <= commit } ?? false }

    /// Tries to become leader. With `force` (the leader hands over) there is no pre-vote.
    mutating func campaign(force: Bool) {
        guard isVoter(in: membership), !isBlocked else { return }
        if isDiskStanding, configuration.plant != .standingDiskCampaigns { return }
        // A committed change that is not applied here may have taken our vote away (etcd #7280).
        if hasCommittedChangeUnapplied, configuration.plant != .campaignsBeforeApplying { return }
        leader = nil
        votes = [:]
        if force {
            becomeCandidate(force: true)
        } else {
            role = .preCandidate
            votes[id] = true
            for peer in membership.voters where peer != id {
                let request = envelope(
                    .requestVote(last: log.last, isPreVote: true, force: false), to: peer, term: term + 1)
                output.messages.append(request)
            }
            tally()
        }
    }

    private mutating func becomeCandidate(force: Bool) {
        role = .candidate
        hardState = HardState(term: term + 1, vote: id)
        hardStateChanged = true
        votes = [:]
        resetElectionDeadline()
        // The own vote counts, and the others are asked, only once it is on disk: see `voteSaved`.
        for peer in membership.voters where peer != id {
            let request = envelope(.requestVote(last: log.last, isPreVote: false, force: force), to: peer)
            if configuration.plant == .asksBeforeSaving {
                output.messages.append(request)
            } else {
                output.held.append(request)
            }
        }
    }

    /// The hard state of `savedTerm` is on disk: the own vote counts.
    mutating func hardStateSaved(_ saved: HardState) {
        guard role == .candidate, saved.term == term, saved.vote == id else { return }
        votes[id] = true
        tally()
    }

    mutating func answerVote(_ request: Message, last: LogPosition, isPreVote: Bool) {
        let isUpToDate = last >= log.last || configuration.plant == .voteIgnoresLog
        if isPreVote {
            // Granted with the term that was asked about; the own term doesn't change.
            let granted = (isUpToDate || configuration.plant == .preVoteIgnoresLog) && request.term > term
            send(.vote(granted: granted, isPreVote: true), to: request, term: granted ? request.term : term)
            return
        }
        let isFree = hardState.vote == request.from || (hardState.vote == nil && leader == nil)
        guard isUpToDate, isFree || (configuration.plant == .votesTwice && role == .follower) else {
            send(.vote(granted: false, isPreVote: false), to: request)
            return
        }
        hardState.vote = request.from
        hardStateChanged = true
        resetElectionDeadline()
        send(.vote(granted: true, isPreVote: false), to: request, held: true)
    }

    mutating func countVote(_ message: Message, granted: Bool, isPreVote: Bool) {
        guard role == (isPreVote ? .preCandidate : .candidate) else { return }
        // A granted pre-vote carries the asked term; an answer to an earlier question counts for nothing.
        if isPreVote, granted, message.term != term + 1 { return }
        votes[message.from] = granted
        tally()
    }

    private mutating func tally() {
        let voters = membership.voters
        let granted = voters.filter { votes[$0] == true }.count
        let refused = voters.filter { votes[$0] == false }.count
        if granted >= membership.quorum {
            if role == .preCandidate { becomeCandidate(force: false) } else if role == .candidate { becomeLeader() }
        } else if refused >= membership.quorum {
            becomeFollower(term: term, leader: nil)
        }
    }

    private mutating func becomeLeader() {
        invariant(role == .candidate && hardState.vote == id, "leader without an election in term \(term)")
        role = .leader
        leader = id
        progress = [:]
        for peer in peers { progress[peer] = Progress(next: log.last.index + 1) }
        for peer in progress.keys {
            progress[peer]?.isActive = true
            progress[peer]?.heardAt = votes[peer] == true ? now : 0
        }
        votes = [:]
        reads = []
        readRound = 0
        transferTarget = nil
        quorumDeadline = now + configuration.electionTimeout
        openingIndex = log.last.index + 1
        unappliedBytes = 0
        urgent = []
        if applied < log.last.index {
            let waiting = log.entries(
                from: max(applied + 1, log.firstInMemory), through: log.last.index, bytesMax: .max)
            unappliedBytes = waiting?.reduce(0) { $0 + $1.size } ?? 0
        }
        appendToOwnLog(kind: .opening, payload: [], stamp: 0)
        sendHeartbeats()
    }

    mutating func checkQuorum() {
        let active = membership.voters.filter { $0 == id || progress[$0]?.isActive == true }.count
        if active < membership.quorum {
            becomeFollower(term: term, leader: nil)
            return
        }
        for peer in progress.keys { progress[peer]?.isActive = false }
        quorumDeadline = now + configuration.electionTimeout
    }

    /// Asks `target` to take over; refused (false) if it isn't a voter. Proposals wait meanwhile.
    public mutating func transferLeadership(to target: ReplicaID) -> Bool {
        guard role == .leader, departure == nil, target != id, membership.isVoter(target), progress[target] != nil
        else { return false }
        transferTarget = target
        transferDeadline = now + configuration.electionTimeout
        finishTransferIfCaughtUp()
        return true
    }

    mutating func finishTransferIfCaughtUp() {
        guard let target = transferTarget, progress[target]?.match == log.last.index else { return }
        send(.timeoutNow, to: target)
    }
}
