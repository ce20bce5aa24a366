package import RaftLog

/// Whether enough voters could agree to a change of members.
package enum ChangeConsent {
    /// The voters that can't agree, if without them nobody could make a quorum: each lacks a shard that an entry before the
    /// last change needs, and acknowledges nothing behind a further change before it has it (decision 0026). The group would
    /// take no writes until then. (A member that was only added counts as a change here: stricter than need be.) Empty if enough others have answered, or nobody is known to lack anything.
    ///
    /// - Parameter blockedAt: of each member that has answered, which entry it can't apply; 0: none.
    package static func missing(in membership: Membership, blockedAt: [ReplicaID: LogIndex]) -> [ReplicaID] {
        let answered = membership.voters.filter { blockedAt[$0] != nil }
        let behind = answered.filter { voter in
            blockedAt[voter].map { $0 > 0 && $0 <= membership.index } ?? false
        }
        return answered.count - behind.count >= membership.quorum ? [] : behind
    }
}
