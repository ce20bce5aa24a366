internal import Bytes
internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import RaftLog
internal import Sharding
internal import Wire

/// Who answers at an address.
struct Identified: Sendable {
    var id: ReplicaID
    /// Its cluster; empty while it knows none.
    var clusterID: [UInt8]
    /// Its disk is nearly full.
    var isShortOfSpace: Bool
    /// Which committed entry it can't apply for want of a shard; 0: none.
    var blockedAt: LogIndex
    /// The addresses with which it was started.
    var cluster: [String]
    var answer: BootstrapCore.Answer
}

/// The calls that nodes make to each other, beside the Raft stream and the files of exports: questions and answers are
/// values, and what fails carries a `KvError` if somebody who knows Flotilla has answered.
struct PeerCalls: Sendable {
    private static let changesTimeout: Duration = .seconds(5)

    private let connections = ConnectionPool()
    var liveness: Liveness { Liveness(connections: connections) }

    private func peer(at address: String) throws -> Flotilla_V1_Peer.Client<Connection.Transport> {
        guard let endpoint = Address(toCall: address) else {
            throw KvError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        return Flotilla_V1_Peer.Client(wrapping: try connections.connection(to: endpoint).client)
    }

    /// Asks the node at an address who it is; `nil` if it doesn't answer, or is of another group.
    func identify(_ address: String, gid: GroupID, from id: ReplicaID, _ incarnation: Incarnation) async -> Identified?
    {
        try? await whoIs(address, gid: gid, from: id, incarnation)
    }

    /// The same, with the reason of a failure: a `KvError` if somebody has answered.
    func whoIs(
        _ address: String, gid: GroupID, from id: ReplicaID, _ incarnation: Incarnation
    ) async throws -> Identified {
        let peer = try peer(at: address)
        var request = Flotilla_V1_IdentifyRequest()
        request.gid = gid.rawValue
        request.from = id.rawValue
        request.incarnation = Data(incarnation.bytes)
        let response = try await peer.identify(request, options: .flotilla(timeout: .seconds(1)))
        guard let found = Incarnation(bytes: response.incarnation.array) else {
            throw KvError(.internal, "the node at \(address) doesn't say which life it is in")
        }
        let record = response.bootstrap.isEmpty ? nil : try? BootstrapRecord(encoded: response.bootstrap.array)
        return Identified(
            id: ReplicaID(response.id), clusterID: response.clusterID.array,
            isShortOfSpace: response.shortOfSpace, blockedAt: response.blockedAt, cluster: response.cluster,
            answer: BootstrapCore.Answer(incarnation: found, record: record))
    }

    /// Has a member fetch a snapshot from this node; the reason if it doesn't. Takes as long as the snapshot does, unless
    /// the member falls silent.
    func offerSnapshot(
        to member: Member, of gid: GroupID, clusterID: [UInt8], term: Term, from address: String
    ) async throws -> String? {
        guard let endpoint = Address(toCall: member.address) else { return "\(member.address) is not an address" }
        // A connection of its own, so that heartbeats never wait behind it.
        let connection = try Connection(endpoint)
        var request = Flotilla_V1_TakeSnapshotRequest()
        request.clusterID = Data(clusterID)
        request.gid = gid.rawValue
        request.toIncarnation = Data(member.incarnation.bytes)
        request.fromAddress = address
        request.term = term
        let answer = try await liveness.whileAlive(endpoint) { [request] in
            let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
            return try await peer.takeSnapshot(request, options: .flotilla())
        }
        return answer.accepted ? nil : answer.reason
    }

    /// The address of a group's leader, by the word of the first node that knows it.
    func leader(of addresses: [String]) async -> String? {
        await withTaskGroup(of: String?.self) { group in
            for address in addresses {
                group.addTask {
                    guard let endpoint = Address(toCall: address),
                        let connection = try? connections.connection(to: endpoint)
                    else { return nil }
                    let status = Flotilla_V1_Status.Client(wrapping: connection.client)
                    let answer = try? await status.members(
                        Flotilla_V1_MembersRequest(), options: .flotilla(timeout: .seconds(1)))
                    guard let answer, answer.hasLeaderID else { return nil }
                    return answer.members.first { $0.id == answer.leaderID }?.address
                }
            }
            for await found in group {
                guard let found else { continue }
                group.cancelAll()
                return found as String?
            }
            return nil
        }
    }

    // MARK: - Moves

    /// Has a source note what changes in a shard that the group `target` copies, or go on with that.
    func prepare(
        _ shard: ShardEpoch, for target: GroupID, _ pace: CopyPace, _ source: inout SourceGroup
    ) async throws -> PreparedShard {
        var request = Flotilla_V1_PrepareShardRequest()
        request.party = source.party.wire
        request.shard = shard.shard.rawValue
        request.epoch = shard.epoch
        request.to = target.rawValue
        request.needsHashes = pace.needsHashes
        if let bytes = pace.bytesAllowed { request.bytesAllowed = bytes }
        let prepared = try await ask(&source) { [request] in try await $0.prepareShard(request, options: $1) }
        return PreparedShard(through: prepared.through, bytes: prepared.bytes, isFrozen: prepared.isFrozen)
    }

    /// What has changed in a shard that is on the move, as a node of its source has it.
    func changes(
        of shard: ShardEpoch, after index: LogIndex, from party: Party, at address: String
    ) async throws -> (page: ShardChanges, checksum: ContentHash) {
        var request = Flotilla_V1_ShardChangesRequest()
        request.party = party.wire
        request.shard = shard.shard.rawValue
        request.epoch = shard.epoch
        request.after = index
        let answer = try await peer(at: address).shardChanges(
            request, options: .flotilla(timeout: Self.changesTimeout))
        guard let checksum = ContentHash(answer.checksum) else {
            throw MoveObstacle(text: "the node at \(address) sent a malformed hash")
        }
        let rows = answer.rows.map { row in
            ShardChanges.Row(key: row.key.array, value: row.hasValue ? row.value.array : nil)
        }
        return (
            ShardChanges(rows: rows, through: answer.through, isAll: answer.isAll, isFrozen: answer.isFrozen), checksum
        )
    }

    /// Has a source freeze a shard for the group `target`; again, if it was frozen for that already.
    /// Whoever answers leads, and is asked first from then on.
    func freeze(
        _ shard: ShardEpoch, for target: GroupID, _ source: inout SourceGroup
    ) async throws -> FrozenShard {
        var request = Flotilla_V1_ShardEpoch(shard)
        request.party = source.party.wire
        request.to = target.rawValue
        let frozen = try await ask(&source) { [request] in try await $0.freezeShard(request, options: $1) }
        guard let user = ContentHash(frozen.userHash), let session = ContentHash(frozen.sessionHash) else {
            throw MoveObstacle(text: "group \(source.party.gid) sent a malformed hash")
        }
        return FrozenShard(hashes: ShardHashes(user: user, session: session), logTime: frozen.logTimeMs)
    }

    /// Has a source remove its copy after an activation, or serve again after a rejection.
    func collect(_ shard: ShardEpoch, _ decision: ShardDecision, _ source: inout SourceGroup) async throws {
        var request = Flotilla_V1_CollectShardRequest()
        request.party = source.party.wire
        request.shard = shard.shard.rawValue
        request.epoch = shard.epoch
        let hashes: ShardHashes
        switch decision {
        case .activated(let activated): (request.decision, hashes) = (.activated, activated)
        case .rejected: (request.decision, hashes) = (.rejected, ShardHashes())
        }
        request.userHash = hashes.user.description
        request.sessionHash = hashes.session.description
        _ = try await ask(&source) { [request] in try await $0.collectShard(request, options: $1) }
    }

    /// Has a member of this group stage a shard; true if it serves it already.
    func stage(_ order: StageOrder, at member: Member, of gid: GroupID, clusterID: [UInt8]) async throws -> Bool {
        var request = Flotilla_V1_StageShardRequest()
        request.clusterID = Data(clusterID)
        request.gid = gid.rawValue
        request.toIncarnation = Data(member.incarnation.bytes)
        request.shard = order.shard.shard.rawValue
        request.epoch = order.shard.epoch
        request.from = order.source.gid.rawValue
        request.fromIdentity = Data(order.source.identity)
        request.addresses = order.addresses
        switch order.goal {
        case .through(let index): request.through = index
        case .all(let hashes):
            request.userHash = hashes.user.description
            request.sessionHash = hashes.session.description
        }
        guard let endpoint = Address(toCall: member.address) else {
            throw KvError(.invalidArgument, "\"\(member.address)\" is not an address; give HOST:PORT")
        }
        let answer = try await liveness.whileAlive(endpoint) { [request] in
            try await peer(at: member.address).stageShard(request, options: .flotilla(timeout: .seconds(600)))
        }
        guard answer.incarnation.array == member.incarnation.bytes else { throw MoveObstacle(text: "another life") }
        return answer.activated
    }

    private func ask<Result: Sendable>(
        _ source: inout SourceGroup, timeout: Duration = .seconds(30),
        _ body: @escaping @Sendable (Flotilla_V1_Peer.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> Result {
        let caller = LeaderCaller(connections: connections)
        let (addresses, leader) = (source.addresses, source.leader)
        let answer = try await caller.call(addresses, first: leader, timeout: timeout) { client, options in
            try await body(Flotilla_V1_Peer.Client(wrapping: client), options)
        }
        source.leader = answer.address
        return answer.result
    }
}

extension Flotilla_V1_ShardEpoch {
    init(_ shard: ShardEpoch) {
        self.init()
        self.shard = shard.shard.rawValue
        epoch = shard.epoch
    }
}

/// Why a step of a move or a transfer couldn't be taken now.
struct MoveObstacle: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}

/// What a peer or controller has refused; `nil`: nobody who knows Flotilla has answered.
func refusal(in error: any Error) -> KvError? { error as? KvError ?? KvError(carriedBy: error) }

/// One sentence of a failure, for logs and refusals.
func reason(of error: any Error) -> String {
    if let refusal = refusal(in: error) { return refusal.message }
    if let failure = error as? RPCError { return failure.message.isEmpty ? "\(failure.code)" : failure.message }
    return "\(error)"
}
