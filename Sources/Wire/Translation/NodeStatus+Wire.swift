import Foundation
public import Keyspace
internal import Telemetry

extension NodeStatus {
    public init(_ wire: Flotilla_V1_NodeStatus) {
        let role: Role =
            switch wire.role {
            case .leader: .leader
            case .follower: .follower
            case .candidate: .candidate
            case .learner: .learner
            case .unspecified, .UNRECOGNIZED: .unknown
            }
        self.init(
            gid: GroupID(wire.gid), id: wire.id, address: wire.address, role: role, term: wire.term,
            commitIndex: wire.commitIndex, lastApplied: wire.lastApplied, firstIndex: wire.firstIndex,
            lastIndex: wire.lastIndex, leaderID: wire.hasLeaderID ? wire.leaderID : nil)
        clusterID = wire.clusterID.array
        (leaderAddress, config, logTimeMs) = (wire.leaderAddress, wire.config, wire.logTimeMs)
        (engine, version, condition) = (wire.engine, wire.version, wire.condition)
        (startedAt, httpAddress) = (wire.startedMs, wire.httpAddress)
        (storageBytes, reusableBytes) = (wire.storageBytes, wire.reusableBytes)
        (storageCapacity, storageFree, filesystem) = (wire.storageCapacity, wire.storageFree, wire.fileSystem)
        isShortOfSpace = wire.shortOfSpace
        clockAhead = wire.clockAheadMs
        (snapshotsInstalled, snapshotsSent) = (wire.snapshotsInstalled, wire.snapshotsSent)
        members = wire.members.map { Member($0) }
        shards = wire.shards.compactMap { ShardStatus($0) }
        transfers = wire.transfers.map {
            Transfer(
                shard: ShardID($0.shard), epoch: $0.epoch, copiedBytes: $0.copiedBytes, totalBytes: $0.totalBytes)
        }
        operations = wire.metrics.operations.map {
            Operation(name: $0.operation, errors: $0.errors, latency: DurationHistogram($0.latency))
        }
        fsync = DurationHistogram(wire.metrics.diskSync)
        leaderChanges = wire.metrics.leaderChanges
        (proposalsPending, proposalsFailed) = (wire.metrics.proposalsPending, wire.metrics.proposalsFailed)
        peers = wire.metrics.peers.map { peer in
            let hasAnswered = peer.lastNs > 0
            return Peer(
                id: peer.id, address: peer.address, roundTripNanoseconds: hasAnswered ? peer.lastNs : nil,
                heardAgoMs: hasAnswered ? peer.heardAgoMs : nil, roundTrips: DurationHistogram(peer.roundTrips))
        }
    }

    public var wire: Flotilla_V1_NodeStatus {
        var wire = Flotilla_V1_NodeStatus()
        wire.gid = gid.rawValue
        wire.id = id
        wire.address = address
        wire.clusterID = Data(clusterID)
        wire.role =
            switch role {
            case .leader: .leader
            case .follower: .follower
            case .candidate: .candidate
            case .learner: .learner
            case .unknown: .unspecified
            }
        (wire.term, wire.commitIndex, wire.lastApplied) = (term, commitIndex, lastApplied)
        (wire.firstIndex, wire.lastIndex) = (firstIndex, lastIndex)
        if let leaderID { wire.leaderID = leaderID }
        (wire.leaderAddress, wire.config, wire.logTimeMs) = (leaderAddress, config, logTimeMs)
        (wire.engine, wire.version, wire.condition) = (engine, version, condition)
        (wire.startedMs, wire.httpAddress) = (startedAt, httpAddress)
        (wire.storageBytes, wire.reusableBytes) = (storageBytes, reusableBytes)
        (wire.storageCapacity, wire.storageFree, wire.fileSystem) = (storageCapacity, storageFree, filesystem)
        wire.shortOfSpace = isShortOfSpace
        wire.clockAheadMs = clockAhead
        (wire.snapshotsInstalled, wire.snapshotsSent) = (snapshotsInstalled, snapshotsSent)
        wire.members = members.map(\.wire)
        wire.shards = shards.map { $0.wire(of: gid) }
        wire.transfers = transfers.map { transfer in
            var row = Flotilla_V1_Transfer()
            (row.shard, row.epoch) = (transfer.shard.rawValue, transfer.epoch)
            (row.copiedBytes, row.totalBytes) = (transfer.copiedBytes, transfer.totalBytes)
            return row
        }
        wire.metrics.operations = operations.map { operation in
            var row = Flotilla_V1_OperationMetrics()
            row.operation = operation.name
            row.errors = operation.errors
            row.latency = operation.latency.wire
            return row
        }
        wire.metrics.diskSync = fsync.wire
        wire.metrics.leaderChanges = leaderChanges
        (wire.metrics.proposalsPending, wire.metrics.proposalsFailed) = (proposalsPending, proposalsFailed)
        wire.metrics.peers = peers.map { peer in
            var row = Flotilla_V1_PeerRoundTrip()
            (row.id, row.address) = (peer.id, peer.address)
            (row.lastNs, row.heardAgoMs) = (peer.roundTripNanoseconds ?? 0, peer.heardAgoMs ?? 0)
            row.roundTrips = peer.roundTrips.wire
            return row
        }
        return wire
    }
}

extension NodeStatus.Member {
    public init(_ wire: Flotilla_V1_Member) {
        self.init(id: wire.id, address: wire.address, isVoter: wire.voter, matchIndex: wire.matchIndex)
    }

    public var wire: Flotilla_V1_Member {
        var wire = Flotilla_V1_Member()
        (wire.id, wire.address, wire.voter, wire.matchIndex) = (id, address, isVoter, matchIndex)
        return wire
    }
}

extension ShardStatus {
    /// `nil` of a state that this program doesn't know.
    public init?(_ wire: Flotilla_V1_ShardStatus) {
        let state: State
        switch wire.state {
        case .serving: state = .serving
        case .pulling: state = .pulling
        case .bePulling: state = .bePulling
        case .gcing: state = .gcing
        case .unspecified, .UNRECOGNIZED: return nil
        }
        self.init(
            shard: ShardID(wire.shard), state: state, epoch: wire.epoch, keys: wire.keys, bytes: wire.bytes,
            reads: wire.reads, writes: wire.writes)
        if !wire.userHash.isEmpty || wire.appliedIndex > 0 {
            exact = Exact(
                appliedIndex: wire.appliedIndex, userHash: wire.userHash, sessionHash: wire.sessionHash)
        }
    }

    func wire(of gid: GroupID) -> Flotilla_V1_ShardStatus {
        var wire = Flotilla_V1_ShardStatus()
        (wire.shard, wire.group, wire.epoch) = (shard.rawValue, gid.rawValue, epoch)
        wire.state =
            switch state {
            case .serving: .serving
            case .pulling: .pulling
            case .bePulling: .bePulling
            case .gcing: .gcing
            }
        (wire.keys, wire.bytes, wire.reads, wire.writes) = (keys, bytes, reads, writes)
        if let exact {
            wire.appliedIndex = exact.appliedIndex
            (wire.userHash, wire.sessionHash) = (exact.userHash, exact.sessionHash)
        }
        return wire
    }
}

extension GroupMembers {
    public init(_ wire: Flotilla_V1_MembersResponse) {
        self.init(
            members: wire.members.map { NodeStatus.Member($0) }, leaderID: wire.hasLeaderID ? wire.leaderID : nil)
    }

    public var wire: Flotilla_V1_MembersResponse {
        var wire = Flotilla_V1_MembersResponse()
        wire.members = members.map(\.wire)
        if let leaderID { wire.leaderID = leaderID }
        return wire
    }
}

extension MemberChange {
    /// `nil`: it names no change that this program knows.
    public init?(_ wire: Flotilla_V1_ChangeMembersRequest) {
        switch wire.change {
        case .add(let add): self = .add(id: add.id, address: add.address)
        case .replace(let replace): self = .replace(id: replace.id, address: replace.address)
        case .update(let update): self = .update(id: update.id, address: update.address)
        case .remove(let remove): self = .remove(id: remove.id, force: remove.force)
        case nil: return nil
        }
    }

    public var wire: Flotilla_V1_ChangeMembersRequest {
        var wire = Flotilla_V1_ChangeMembersRequest()
        switch self {
        case .add(let id, let address): (wire.add.id, wire.add.address) = (id, address)
        case .replace(let id, let address): (wire.replace.id, wire.replace.address) = (id, address)
        case .update(let id, let address): (wire.update.id, wire.update.address) = (id, address)
        case .remove(let id, let force): (wire.remove.id, wire.remove.force) = (id, force)
        }
        return wire
    }
}
