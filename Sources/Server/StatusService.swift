internal import Engines
internal import Foundation
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Wire

/// The Status service: what a node says of itself, and changes of its group's membership.
struct StatusService<Machine: StateMachine>: Flotilla_V1_Status.SimpleServiceProtocol {
    let node: Node<Machine>
    /// Adds what only this kind of node knows.
    let complete: @Sendable (inout Flotilla_V1_NodeStatus, Flotilla_V1_NodeStatusRequest) throws -> Void

    func node(request: Flotilla_V1_NodeStatusRequest, context: ServerContext) async throws -> Flotilla_V1_NodeStatus {
        try await status(request)
    }

    func status(
        _ request: Flotilla_V1_NodeStatusRequest = Flotilla_V1_NodeStatusRequest()
    ) async throws -> Flotilla_V1_NodeStatus {
        let replica = replicaStatus()
        guard node.host != nil else { return replica }
        let complete = complete
        return try await offload {
            var status = replica
            try complete(&status, request)
            return status
        }
    }

    /// Without shards, which take looking at.
    func replicaStatus() -> Flotilla_V1_NodeStatus {
        var status = Flotilla_V1_NodeStatus()
        status.gid = node.options.gid
        status.id = node.options.id
        status.address = node.options.address
        status.engine = node.engine.kind.rawValue
        status.version = ServerVersion.current
        status.clusterID = Data(node.clusterID)
        status.condition = node.condition ?? ""
        if let statistics = try? node.engine.statistics() {
            status.storageBytes = statistics.storageBytes
            status.reusableBytes = statistics.reusableBytes
        }
        if let space = node.directory.fileSystem {
            status.storageCapacity = space.capacityBytes
            status.storageFree = space.freeBytes
            status.fileSystem = space.name
        }
        status.shortOfSpace = node.space.isShort
        status.startedMs = node.metrics.startedAt
        status.httpAddress = node.httpAddress
        status.metrics = node.metrics.wire(pending: node.host?.pendingProposals ?? 0, peers: node.probe.wire)
        guard let host = node.host else { return status }
        let replica = host.status
        status.role =
            switch replica.role {
            case .leader: .leader
            case .candidate, .preCandidate: .candidate
            case .follower:
                replica.membership[node.id].map { $0.standing == .voter && $0.incarnation == node.incarnation } ?? false
                    ? .follower : .learner
            }
        status.term = replica.term
        status.commitIndex = replica.commit
        status.lastApplied = replica.applied
        status.firstIndex = replica.firstIndex
        status.lastIndex = replica.last.index
        if let leader = replica.leader { status.leaderID = leader.rawValue }
        status.leaderAddress = node.leaderAddress
        status.snapshotsInstalled = replica.snapshotsInstalled
        status.snapshotsSent = replica.snapshotsSent
        status.members = members(replica)
        return status
    }

    private func members(_ replica: ReplicaStatus) -> [Flotilla_V1_Member] {
        replica.membership.members.map { member in
            var row = Flotilla_V1_Member()
            row.id = member.id.rawValue
            row.address = member.address
            row.voter = member.standing == .voter
            row.matchIndex = replica.matches[member.id] ?? 0
            return row
        }
    }

    func members(
        request: Flotilla_V1_MembersRequest, context: ServerContext
    ) async throws -> Flotilla_V1_MembersResponse {
        guard let host = node.host else { throw node.unavailable().status }
        let replica = host.status
        var response = Flotilla_V1_MembersResponse()
        response.members = members(replica)
        if let leader = replica.leader { response.leaderID = leader.rawValue }
        return response
    }

    func changeMembers(
        request: Flotilla_V1_ChangeMembersRequest, context: ServerContext
    ) async throws -> Flotilla_V1_MembersResponse {
        guard let host = node.host else { throw node.unavailable().status }
        guard host.status.role == .leader else { throw node.notLeader().status }
        let change: MembershipChange
        let target: ReplicaID
        /// Whose vote the change is to bring; `nil` when a member goes.
        var arriving: Incarnation?
        switch request.change {
        case .add(let add):
            target = ReplicaID(add.id)
            let found = try await incarnation(at: add.address, target)
            arriving = found
            change = .add(target, address: add.address, incarnation: found)
        case .replace(let replace):
            target = ReplicaID(replace.id)
            let address = replace.address.isEmpty ? host.status.membership[target]?.address ?? "" : replace.address
            let found = try await incarnation(at: address, target)
            arriving = found
            change = .replace(target, address: address, incarnation: found)
        case .remove(let remove):
            target = ReplicaID(remove.id)
            change = .remove(target)
        case nil: throw Flotilla_V1_Error(.invalidArgument, "the request names no change").status
        }
        switch await host.change(change) {
        case .success: break
        case .failure(.notLeader): throw node.notLeader().status
        case .failure(.busy):
            throw Flotilla_V1_Error(
                .busy, "another membership change is under way; try again", retryAfterMilliseconds: 200
            ).status
        case .failure(.invalid(let error)): throw Flotilla_V1_Error(.failedPrecondition, error.description).status
        }
        // Bounded: a member that is down can't catch up, and the caller should hear so.
        for _ in 0..<600 {
            try await Task.sleep(for: .milliseconds(50))
            let membership = host.status.membership
            let member = membership[target]
            let isThere = member?.standing == .voter && member?.incarnation == arriving
            if arriving == nil ? member == nil : isThere {
                return try await members(request: Flotilla_V1_MembersRequest(), context: context)
            }
            guard host.status.role == .leader || arriving == nil else { throw node.notLeader().status }
        }
        throw Flotilla_V1_Error(
            .unavailable,
            "member \(target) is a member but has not caught up after 30 s; see `member list` and the node's log"
        ).status
    }

    private func incarnation(at address: String, _ id: ReplicaID) async throws -> Incarnation {
        guard Address(address) != nil else {
            throw Flotilla_V1_Error(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT").status
        }
        guard let answer = await node.identify(address) else {
            throw Flotilla_V1_Error(
                .unavailable, "no node of this group answers at \(address); start it first, then repeat the command"
            ).status
        }
        guard answer.id == id else {
            throw Flotilla_V1_Error(
                .failedPrecondition,
                "node \(answer.id) answers at \(address), not node \(id); give the number with which "
                    + "the node was started"
            ).status
        }
        return answer.answer.incarnation
    }
}

/// The version of the programs.
public enum ServerVersion {
    public static let current = "0.1.0"
}
