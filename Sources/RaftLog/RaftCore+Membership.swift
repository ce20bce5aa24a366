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
        guard hasCommittedInTerm, unappliedMemberships.isEmpty, transferTarget == nil else { return .failure(.busy) }
        do throws(Membership.ChangeError) {
            _ = try membership.applying(change, at: log.last.index + 1)
        } catch {
            return .failure(.invalid(error))
        }
        return .success(appendToOwnLog(kind: .membership, payload: change.encoded, stamp: 0))
    }

    mutating func adopt(_ newMembership: Membership) {
        let old = membership
        membership = newMembership
        guard role == .leader else {
            if !isVoter(in: newMembership), role != .follower { becomeFollower(term: term, leader: nil) }
            return
        }
        guard isVoter(in: newMembership) else {
            // Removed: everyone learns the commit, and the one that is furthest is asked to take over.
            sendHeartbeats()
            let successor = newMembership.voters.max { progress[$0]?.match ?? 0 < progress[$1]?.match ?? 0 }
            if let successor { send(.timeoutNow, to: successor) }
            becomeFollower(term: term, leader: nil)
            return
        }
        for peer in progress.keys where newMembership[peer]?.incarnation != old[peer]?.incarnation {
            progress[peer] = nil
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

    /// The change that gives a vote to a joining member which has caught up, if there is one.
    func duePromotion() -> MembershipChange? {
        guard hasCommittedInTerm, unappliedMemberships.isEmpty else { return nil }
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
