/// Membership changes, one at a time (dissertation, section 4.1), in effect when applied.
extension RaftCore {
    /// Why a membership change was not taken.
    public enum ChangeRefusal: Error, Sendable, Equatable, CustomStringConvertible {
        case notLeader(hint: ReplicaID?)
        /// Another change is under way, or the leader's term has just begun.
        case busy
        case invalid(Membership.ChangeError)

        public var description: String {
            switch self {
            case .notLeader: "this replica doesn't lead the group"
            case .busy: "another membership change is under way; try again"
            case .invalid(let error): error.description
            }
        }
    }

    public mutating func propose(_ change: MembershipChange) -> Result<LogPosition, ChangeRefusal> {
        guard role == .leader else { return .failure(.notLeader(hint: leader)) }
        // The opening entry must be committed first: the single-server change bug of 2015.
        let hasBegun = hasCommittedInTerm || configuration.plant == .changeBeforeOpening
        let isAlone = unappliedMemberships.isEmpty || configuration.plant == .secondChange
        guard hasBegun, isAlone, transferTarget == nil, departure == nil else { return .failure(.busy) }
        do throws(Membership.ChangeError) {
            _ = try membership.applying(change, at: log.last.index + 1)
        } catch {
            return .failure(.invalid(error))
        }
        return .success(appendToOwnLog(kind: .membership, payload: change.encoded, stamp: 0))
    }

    /// Whoever proposed the last change in the log had applied the one before it, which therefore is committed. No
    /// disk has to remember that (decision 0022).
    mutating func commitEarlierChanges() {
        if configuration.plant == .forgetsCommittedChanges { return }
        if let earlier = unappliedMemberships.dropLast().last { advanceCommit(to: earlier) }
    }

    mutating func adopt(_ newMembership: Membership) {
        let old = membership
        membership = newMembership
        guard role == .leader else {
            if !isVoter(in: newMembership), role != .follower { becomeFollower(term: term, leader: nil) }
            return
        }
        guard isVoter(in: newMembership) else {
            depart()
            return
        }
        for peer in progress.keys where newMembership[peer]?.incarnation != old[peer]?.incarnation {
            if configuration.plant != .keepsProgressOfLostDisk { progress[peer] = nil }
        }
        for peer in peers where progress[peer] == nil {
            var follower = Progress(next: log.last.index + 1)
            follower.isActive = true
            progress[peer] = follower
        }
        if let target = transferTarget, progress[target] == nil { transferTarget = nil }
        // A smaller quorum may commit more.
        advanceLeaderCommit()
        confirmReads()
    }

    /// Removed, by a change that is committed and that the others may not know to be: they would campaign by the members
    /// before it, this one among them, and might never win. So it stays in office, takes nothing on, and repeats the
    /// commit until a quorum of those who are left has answered.
    private mutating func depart() {
        output.failedReads += reads.map(\.token)
        reads = []
        for peer in progress.keys where membership[peer] == nil { progress[peer] = nil }
        readRound += 1
        departure = (round: readRound, deadline: now + 10 * configuration.electionTimeout)
        sendHeartbeats()
        departIfKnown()
    }

    /// The one that is furthest is asked to take over.
    mutating func departIfKnown() {
        guard let departure else { return }
        let knowing = membership.voters.count { progress[$0]?.confirmedRound ?? 0 >= departure.round }
        guard knowing >= membership.quorum else { return }
        if let successor { send(.timeoutNow, to: successor) }
        becomeFollower(term: term, leader: nil)
    }

    /// Whether a member has answered lately, in a leader.
    public func isLive(_ peer: ReplicaID) -> Bool {
        if peer == id { return true }
        guard role == .leader, let follower = progress[peer], follower.heardAt > 0 else { return false }
        return now <= follower.heardAt + 2 * configuration.electionTimeout
    }

    /// Who could take over soonest, in a leader: of the voters that answer, the one whose log is furthest.
    public var successor: ReplicaID? {
        membership.voters.filter { $0 != id && isLive($0) }
            .max { (progress[$0]?.match ?? 0, $1) < (progress[$1]?.match ?? 0, $0) }
    }

    /// The change that gives a vote to a joining member which has caught up, if there is one.
    func duePromotion() -> MembershipChange? {
        guard hasCommittedInTerm, unappliedMemberships.isEmpty, departure == nil else { return nil }
        for member in membership.members where member.standing == .joining {
            guard let follower = progress[member.id], follower.state == .replicate, follower.isActive,
                follower.match + promotionLagMax >= log.last.index
            else { continue }
            return .promote(member.id, incarnation: member.incarnation)
        }
        return nil
    }

    /// Entries that a joining member may still lack: a busy leader always has some on their way.
    private var promotionLagMax: LogIndex { 1_000 }
}
