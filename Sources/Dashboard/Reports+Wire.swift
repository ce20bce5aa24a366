internal import Client
internal import DashboardModel
internal import Telemetry
internal import Wire

extension ConfigReport {
    init(_ wire: Flotilla_V1_Config) {
        self.init(
            number: wire.number, shardCount: Int(wire.shardCount),
            groups: wire.groups.map { Group(gid: $0.gid, addresses: $0.addresses, isLeaving: $0.leaving) },
            shards: wire.shards, epochs: wire.epochs,
            moves: wire.moves.map { move in
                let phase: Phase =
                    switch move.phase {
                    case .collecting: .collecting
                    case .rejected: .rejected
                    default: .moving
                    }
                return Move(shard: Int(move.shard), from: move.from, to: move.to, epoch: move.epoch, phase: phase)
            },
            clusterID: wire.clusterID.hexadecimal,
            hold: wire.hasHold
                ? Hold(
                    holder: wire.hold.holder, until: wire.hold.untilMs,
                    waiting: wire.hold.waiting.map { Hold.Waiting(shard: Int($0.shard), to: $0.to) })
                : nil)
    }
}

extension NodeReport {
    init(_ wire: Flotilla_V1_NodeStatus) {
        let role: Role =
            switch wire.role {
            case .leader: .leader
            case .follower: .follower
            case .candidate: .candidate
            case .learner: .learner
            case .unspecified, .UNRECOGNIZED: .unknown
            }
        self.init(
            gid: wire.gid, id: wire.id, address: wire.address, role: role, term: wire.term,
            commitIndex: wire.commitIndex, lastApplied: wire.lastApplied, firstIndex: wire.firstIndex,
            lastIndex: wire.lastIndex, leaderID: wire.hasLeaderID ? wire.leaderID : nil)
        clusterID = wire.clusterID.hexadecimal
        (engine, version, condition) = (wire.engine, wire.version, wire.condition)
        (startedAt, httpAddress) = (wire.startedMs, wire.httpAddress)
        (storageBytes, reusableBytes) = (wire.storageBytes, wire.reusableBytes)
        (storageCapacity, storageFree, filesystem) = (wire.storageCapacity, wire.storageFree, wire.fileSystem)
        isShortOfSpace = wire.shortOfSpace
        (snapshotsInstalled, snapshotsSent) = (wire.snapshotsInstalled, wire.snapshotsSent)
        members = wire.members.map {
            Member(id: $0.id, address: $0.address, isVoter: $0.voter, matchIndex: $0.matchIndex)
        }
        shards = wire.shards.compactMap(ShardReport.init)
        transfers = wire.transfers.map {
            Transfer(
                shard: Int($0.shard), epoch: $0.epoch, copiedBytes: $0.copiedBytes, totalBytes: $0.totalBytes)
        }
        take(wire.metrics)
    }

    private mutating func take(_ wire: Flotilla_V1_NodeMetrics) {
        operations = wire.operations.map {
            Operation(name: $0.operation, errors: $0.errors, latency: DurationHistogram($0.latency))
        }
        fsync = DurationHistogram(wire.diskSync)
        leaderChanges = wire.leaderChanges
        (proposalsPending, proposalsFailed) = (wire.proposalsPending, wire.proposalsFailed)
        peers = wire.peers.map { peer in
            let hasAnswered = peer.lastNs > 0
            return Peer(
                id: peer.id, address: peer.address, roundTripNanoseconds: hasAnswered ? peer.lastNs : nil,
                heardAgoMs: hasAnswered ? peer.heardAgoMs : nil)
        }
    }
}

extension ShardReport {
    /// `nil` of a state that this program doesn't know.
    init?(_ wire: Flotilla_V1_ShardStatus) {
        let state: State
        switch wire.state {
        case .serving: state = .serving
        case .pulling: state = .pulling
        case .bePulling: state = .bePulling
        case .gcing: state = .gcing
        case .unspecified, .UNRECOGNIZED: return nil
        }
        self.init(
            shard: Int(wire.shard), state: state, epoch: wire.epoch, keys: wire.keys, bytes: wire.bytes,
            reads: wire.reads, writes: wire.writes)
    }
}
