internal import Keyspace
internal import RaftHost
internal import RaftLog

/// The members of a node's group.
extension Node {
    func members() throws -> GroupMembers {
        guard let host else { throw unavailable() }
        let replica = host.status
        return GroupMembers(members: Self.members(replica), leaderID: replica.leader?.rawValue)
    }

    static func members(_ replica: ReplicaStatus) -> [NodeStatus.Member] {
        replica.membership.members.map { member in
            NodeStatus.Member(
                id: member.id.rawValue, address: member.address, isVoter: member.standing == .voter,
                matchIndex: replica.matches[member.id] ?? 0)
        }
    }

    /// How long a new member may take to catch up while somebody waits for it.
    private static var catchUpMax: Milliseconds { 30_000 }

    /// Changes the group's members, through its log; returns when the change is carried out.
    func change(_ asked: MemberChange) async throws -> GroupMembers {
        guard let host else { throw unavailable() }
        guard host.status.role == .leader else { throw notLeader() }
        let change: MembershipChange
        let target: ReplicaID
        /// Whose vote the change is to bring; `nil` when a member goes.
        var arriving: Incarnation?
        /// Where it is to be.
        var wanted = ""
        switch asked {
        case .add(let id, let address):
            target = ReplicaID(id)
            let found = try await incarnation(at: address, target)
            arriving = found
            change = .add(target, address: address, incarnation: found)
        case .replace(let id, let place):
            target = ReplicaID(id)
            let address = place.isEmpty ? host.status.membership[target]?.address ?? "" : place
            let found = try await incarnation(at: address, target)
            arriving = found
            change = .replace(target, address: address, incarnation: found)
        case .update(let id, let address):
            target = ReplicaID(id)
            let found = try await incarnation(at: address, target)
            guard found == host.status.membership[target]?.incarnation else {
                throw KvError(
                    .failedPrecondition,
                    "the node at \(address) has another disk than member \(id); use replace if the disk was lost")
            }
            arriving = found
            wanted = address
            change = .replace(target, address: address, incarnation: found)
        case .remove(let id, let force):
            target = ReplicaID(id)
            if !force { try checkQuorumWithout(target, host.status) }
            change = .remove(target)
        }
        if case .remove(_, force: true) = asked {} else { try await checkConsent(host.status) }
        switch await host.change(change) {
        case .success: break
        case .failure(.notLeader): throw notLeader()
        case .failure(.busy):
            throw KvError(
                .busy, "another membership change is under way; try again", retryAfterMilliseconds: 200
            )
        case .failure(.invalid(let error)): throw KvError(.failedPrecondition, error.description)
        }
        // Bounded: a member that is down can't catch up, and the caller should hear so.
        let (changes, post) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let follower = follow { post.yield() }
        defer { unfollow(follower) }
        let alarm = Alarm.ring(at: HostClock.monotonic() + Self.catchUpMax) { post.finish() }
        defer { alarm?.cancel() }
        post.yield()
        for await _ in changes {
            let membership = host.status.membership
            let member = membership[target]
            let isThere =
                member?.standing == .voter && member?.incarnation == arriving
                && (wanted.isEmpty || member?.address == wanted)
            if arriving == nil ? member == nil : isThere {
                return try members()
            }
            guard host.status.role == .leader || arriving == nil else { throw notLeader() }
        }
        try Task.checkCancellation()
        throw KvError(
            .unavailable,
            "member \(target) is a member but has not caught up after 30 s; see `member list` and the node's log"
        )
    }

    /// Refuses to remove a member if those that are left and answer are no quorum: the group would stand still for good.
    private func checkQuorumWithout(_ id: ReplicaID, _ replica: ReplicaStatus) throws(KvError) {
        let left = replica.membership.voters.filter { $0 != id }
        let live = left.filter(replica.live.contains)
        guard live.count < left.count / 2 + 1, !left.isEmpty else { return }
        let silent = left.filter { !replica.live.contains($0) }.map { "\($0)" }.joined(separator: ", ")
        throw KvError(
            .failedPrecondition,
            "without member \(id) \(left.count) would be left, of which \(silent) doesn't answer: no quorum, and the group "
                + "would stand still for good; start or replace that one first, or say --force")
    }

    /// Which committed entry can't be applied here for want of a shard; 0: none.
    var blockedAt: LogIndex {
        guard let status = host?.status, status.waitsFor != nil else { return 0 }
        return status.applied + 1
    }

    /// Refuses a change that no quorum would agree to yet: behind it in the log nothing would be committed.
    private func checkConsent(_ replica: ReplicaStatus) async throws {
        let others = replica.membership.members.filter {
            $0.standing == .voter && $0.id != id && replica.live.contains($0.id)
        }
        var blockedAt = await withTaskGroup(of: (ReplicaID, LogIndex?).self) { group in
            for member in others {
                group.addTask { (member.id, await self.identify(member.address)?.blockedAt) }
            }
            return await group.reduce(into: [ReplicaID: LogIndex]()) { $0[$1.0] = $1.1 }
        }
        blockedAt[id] = 0
        let missing = ChangeConsent.missing(in: replica.membership, blockedAt: blockedAt)
        guard let first = missing.first else { return }
        let names = missing.map { "\($0)" }.joined(separator: ", ")
        throw KvError(
            .failedPrecondition,
            "member \(names) lacks a shard that this group has taken over at entry \(blockedAt[first] ?? 0), and until it has "
                + "fetched it no quorum would agree to a change: the group would take no writes; see its log, and try again"
        )
    }

    private func incarnation(at address: String, _ id: ReplicaID) async throws -> Incarnation {
        guard Address(toCall: address) != nil else {
            throw KvError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        guard let answer = await identify(address) else {
            throw KvError(
                .unavailable, "no node of this group answers at \(address); start it first, then repeat the command"
            )
        }
        guard answer.id == id else {
            throw KvError(
                .failedPrecondition,
                "node \(answer.id) answers at \(address), not node \(id); give the number with which "
                    + "the node was started"
            )
        }
        return answer.answer.incarnation
    }
}
