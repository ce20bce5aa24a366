package import RaftLog

/// Whom a leader gives way to whose disk has no room for new values.
package enum RoomSuccessor {
    /// Voters that can be heard, whoever has most of the log first: it takes over soonest.
    ///
    /// - Parameters:
    ///   - live: members that have answered lately.
    ///   - matches: how much of the log each is known to have.
    package static func candidates(
        for leader: ReplicaID, in membership: Membership, live: Set<ReplicaID>, matches: [ReplicaID: LogIndex]
    ) -> [Member] {
        membership.members
            .filter { $0.standing == .voter && $0.id != leader && live.contains($0.id) }
            .sorted { (matches[$0.id] ?? 0, $1.id.rawValue) > (matches[$1.id] ?? 0, $0.id.rawValue) }
    }

    /// The first that says it has room; nobody, if all others are as short of it: then the leader stays and refuses
    /// what needs room, as each of them would.
    package static func first(among candidates: [Member], hasRoom: (Member) async -> Bool) async -> Member? {
        for member in candidates where await hasRoom(member) { return member }
        return nil
    }
}
