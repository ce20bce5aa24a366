internal import Engines
internal import Keyspace
internal import RaftHost
internal import RaftLog

extension Node {
    /// What this node says of itself, without shards, which take looking at.
    var status: NodeStatus {
        let replica = host?.status
        let role: NodeStatus.Role =
            switch replica?.role {
            case .leader: .leader
            case .candidate, .preCandidate: .candidate
            case .follower:
                replica?.membership[id].map { $0.standing == .voter && $0.incarnation == incarnation } ?? false
                    ? .follower : .learner
            case nil: .unknown
            }
        var status = NodeStatus(
            gid: options.gid, id: options.id, address: options.address, role: role, term: replica?.term ?? 0,
            commitIndex: replica?.commit ?? 0, lastApplied: replica?.applied ?? 0,
            firstIndex: replica?.firstIndex ?? 0, lastIndex: replica?.last.index ?? 0,
            leaderID: replica?.leader?.rawValue)
        status.engine = engine.kind.rawValue
        status.version = ServerVersion.current
        status.clusterID = clusterID
        status.condition = obstacle ?? ""
        if let statistics = try? engine.statistics() {
            status.storageBytes = statistics.storageBytes
            status.reusableBytes = statistics.reusableBytes
        }
        if let space = directory.fileSystem {
            status.storageCapacity = space.capacityBytes
            status.storageFree = space.freeBytes
            status.filesystem = space.name
        }
        status.isShortOfSpace = space.isShort
        status.httpAddress = httpAddress
        metrics.complete(&status, pending: host?.pendingProposals ?? 0)
        status.peers = probe.report
        guard let replica else { return status }
        status.leaderAddress = leaderAddress
        // What a clock that is set by the network moves by is no news.
        if replica.clockAhead.magnitude > ReplicaHost<Machine>.clockToleranceMax {
            status.clockAhead = replica.clockAhead
        }
        status.snapshotsInstalled = replica.snapshotsInstalled
        status.snapshotsSent = replica.snapshotsSent
        status.members = Self.members(replica)
        return status
    }
}
