internal import Admission
internal import Bytes
internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import RaftLog
internal import Sharding
internal import Wire

/// What nodes ask each other.
struct PeerService<Machine: StateMachine>: Flotilla_V1_Peer.SimpleServiceProtocol {
    /// The part that only nodes of shard groups serve: both sides of a move.
    struct Moves: Sendable {
        let source: MoveSource
        let target: MoveTarget
    }

    let node: Node<Machine>
    /// `nil` in a controller's node, which has no shards.
    let moves: Moves?

    private func needMoves() throws -> Moves {
        guard let moves else { throw RPCError(code: .unimplemented, message: "a controller node has no shards") }
        return moves
    }

    func raft(
        request: RPCAsyncSequence<Flotilla_V1_RaftFrame, any Error>,
        response: RPCWriter<Flotilla_V1_RaftAcknowledgement>, context: ServerContext
    ) async throws {
        var unpacker = EnvelopeUnpacker()
        // Pieces are held until their message is whole.
        var leases: [MemoryLease] = []
        for try await frame in request {
            if let lease = StreamAccount.current?.takeMessage() { leases.append(lease) }
            guard node.isOfOwnCluster(frame.clusterID.array) else {
                throw RPCError(code: .failedPrecondition, message: "this node belongs to another cluster")
            }
            let messages: [Message]
            do throws(CodingError) {
                messages = try unpacker.unpack(frame.envelopes, gid: node.options.gid)
            } catch {
                throw RPCError(code: .invalidArgument, message: error.description)
            }
            node.receive(messages, from: frame.fromAddress)
            if !unpacker.isUnfinished { leases = [] }
        }
    }

    func identify(
        request: Flotilla_V1_IdentifyRequest, context: ServerContext
    ) async throws -> Flotilla_V1_IdentifyResponse {
        let options = node.options
        guard GroupID(request.gid) == options.gid else {
            throw KvError(
                .failedPrecondition,
                "\(options.address) is a node of \(options.role) \(options.gid), not of group \(request.gid)")
        }
        node.wasAsked(by: ReplicaID(request.from))
        var response = Flotilla_V1_IdentifyResponse()
        response.id = options.id
        response.incarnation = Data(node.incarnation.bytes)
        let identity = node.identity
        response.cluster = identity.cluster
        if let record = identity.record { response.bootstrap = Data(record.encoded) }
        response.clusterID = Data(node.clusterID)
        response.identity = Data(node.groupIdentity)
        response.shortOfSpace = node.space.isShort
        response.blockedAt = node.blockedAt
        return response
    }

    /// The number of an export is of a node of this group.
    private func checkGroup(_ gid: UInt64) throws(KvError) {
        guard GroupID(gid) == node.options.gid else {
            throw KvError(
                .failedPrecondition, "\(node.options.address) is a node of \(node.options.role) \(node.options.gid)")
        }
    }

    // MARK: - Snapshots and exports

    func takeSnapshot(
        request: Flotilla_V1_TakeSnapshotRequest, context: ServerContext
    ) async throws -> Flotilla_V1_TakeSnapshotResponse {
        var response = Flotilla_V1_TakeSnapshotResponse()
        if GroupID(request.gid) != node.options.gid
            || !(node.clusterID.isEmpty || request.clusterID.array == node.clusterID)
        {
            response.reason = "the snapshot is of another group or cluster"
        } else if request.toIncarnation.array != node.incarnation.bytes {
            response.reason = "the snapshot is for an earlier life of this node; its disk was lost"
        } else if let reason = try await node.fetchSnapshot(
            from: request.fromAddress, cluster: request.clusterID.array, term: request.term)
        {
            response.reason = reason
        } else {
            response.accepted = true
        }
        return response
    }

    func openExport(
        request: Flotilla_V1_OpenExportRequest, context: ServerContext
    ) async throws -> Flotilla_V1_Export {
        let question: ExportQuestion
        switch request.what {
        case .snapshotFor(let bytes):
            guard let life = Incarnation(bytes: bytes.array) else {
                throw KvError(.failedPrecondition, "the receiver is not a member of the group")
            }
            question = .snapshot(for: life)
        case .shard(let shard):
            _ = try needMoves()
            question = .shard(ShardEpoch(shard))
        case .copy(let copy): question = .copy(fromLeader: copy.fromLeader)
        case nil: throw KvError(.invalidArgument, "the request names nothing to export")
        }
        var exportShard: (@Sendable (ShardEpoch, [String], String) throws -> (LogIndex, [FamilyManifest]))?
        if let source = moves?.source {
            exportShard = { shard, formats, directory in
                try source.export(shard, formats: formats, to: directory)
            }
        }
        let offer = try await node.openExport(
            question,
            of: Party(
                clusterID: request.clusterID.array, gid: GroupID(request.gid), identity: request.identity.array),
            formats: request.formats, exportShard: exportShard)
        var export = Flotilla_V1_Export()
        export.id = offer.id
        export.header = Data(offer.header)
        export.manifests = try offer.manifests.map { try JSONEncoder().encode($0) }
        if let source = offer.source {
            (export.source.id, export.source.engine, export.source.leads) = (source.id, source.engine, source.leads)
        }
        return export
    }

    func readExport(
        request: Flotilla_V1_ReadExportRequest, response: RPCWriter<Flotilla_V1_ExportPiece>, context: ServerContext
    ) async throws {
        try checkGroup(request.gid)
        let part = ExportDesk.Part(
            id: request.id, family: Int(request.family), file: Int(request.file), offset: request.offset,
            length: request.length)
        try await node.exports.read(part) { data in
            var piece = Flotilla_V1_ExportPiece()
            piece.data = data
            try await response.write(piece)
        }
    }

    func closeExport(
        request: Flotilla_V1_CloseExportRequest, context: ServerContext
    ) async throws -> Flotilla_V1_CloseExportResponse {
        try checkGroup(request.gid)
        node.exports.close(request.id)
        return Flotilla_V1_CloseExportResponse()
    }

    // MARK: - Moves

    func freezeShard(request: Flotilla_V1_ShardEpoch, context: ServerContext) async throws -> Flotilla_V1_FrozenShard {
        try node.check(Party(request.party))
        let frozen = try await needMoves().source.freeze(ShardEpoch(request), for: GroupID(request.to))
        var response = Flotilla_V1_FrozenShard()
        response.userHash = frozen.hashes.user.description
        response.sessionHash = frozen.hashes.session.description
        response.logTimeMs = frozen.logTime
        return response
    }

    func prepareShard(
        request: Flotilla_V1_PrepareShardRequest, context: ServerContext
    ) async throws -> Flotilla_V1_PreparedShard {
        try node.check(Party(request.party))
        let pace = CopyPace(
            needsHashes: request.needsHashes, bytesAllowed: request.hasBytesAllowed ? request.bytesAllowed : nil)
        let prepared = try await needMoves().source.prepare(
            ShardEpoch(shard: ShardID(request.shard), epoch: request.epoch), for: GroupID(request.to), pace)
        var response = Flotilla_V1_PreparedShard()
        response.through = prepared.through
        response.bytes = prepared.bytes
        response.isFrozen = prepared.isFrozen
        return response
    }

    func shardChanges(
        request: Flotilla_V1_ShardChangesRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ShardChangesPage {
        try node.check(Party(request.party))
        let page = try await needMoves().source.changes(
            of: ShardEpoch(shard: ShardID(request.shard), epoch: request.epoch), after: request.after)
        var response = Flotilla_V1_ShardChangesPage()
        response.rows = page.rows.map { row in
            var wire = Flotilla_V1_ChangedRow()
            wire.key = Data(row.key)
            if let value = row.value { wire.value = Data(value) }
            return wire
        }
        response.through = page.through
        response.isAll = page.isAll
        response.isFrozen = page.isFrozen
        response.checksum = page.checksum.description
        return response
    }

    func stageShard(
        request: Flotilla_V1_StageShardRequest, context: ServerContext
    ) async throws -> Flotilla_V1_StageShardResponse {
        let target = try needMoves().target
        guard GroupID(request.gid) == node.options.gid, request.clusterID.array == node.clusterID else {
            throw KvError(.failedPrecondition, "this node is of another group or cluster")
        }
        guard request.toIncarnation.array == node.incarnation.bytes else {
            throw KvError(.failedPrecondition, "this is another life of the node; its disk was lost")
        }
        let order = StageOrder(
            shard: ShardEpoch(shard: ShardID(request.shard), epoch: request.epoch),
            goal: request.userHash.isEmpty && request.sessionHash.isEmpty
                ? .through(request.through) : .all(try Self.hashes(request.userHash, request.sessionHash)),
            source: Party(
                clusterID: request.clusterID.array, gid: GroupID(request.from), identity: request.fromIdentity.array),
            addresses: request.addresses)
        var response = Flotilla_V1_StageShardResponse()
        response.incarnation = request.toIncarnation
        do { response.activated = try await target.stage(order) } catch let obstacle as MoveObstacle {
            throw KvError(.failedPrecondition, obstacle.text)
        }
        return response
    }

    func shardDecision(
        request: Flotilla_V1_ShardEpoch, context: ServerContext
    ) async throws -> Flotilla_V1_ShardDecisionResponse {
        try node.check(Party(request.party))
        var response = Flotilla_V1_ShardDecisionResponse()
        switch try await needMoves().target.decision(ShardEpoch(request)) {
        case .activated(let hashes):
            response.decision = .activated
            response.userHash = hashes.user.description
            response.sessionHash = hashes.session.description
        case .rejected: response.decision = .rejected
        case nil: response.decision = .undecided
        }
        return response
    }

    func collectShard(
        request: Flotilla_V1_CollectShardRequest, context: ServerContext
    ) async throws -> Flotilla_V1_CollectShardResponse {
        try node.check(Party(request.party))
        let source = try needMoves().source
        let decision: ShardDecision
        switch request.decision {
        case .activated: decision = .activated(try Self.hashes(request.userHash, request.sessionHash))
        case .rejected: decision = .rejected
        case .unspecified, .undecided, .UNRECOGNIZED:
            throw KvError(.invalidArgument, "the request names no decision")
        }
        try await source.collect(ShardEpoch(shard: ShardID(request.shard), epoch: request.epoch), decision)
        var response = Flotilla_V1_CollectShardResponse()
        response.collected = true
        return response
    }

    private static func hashes(_ user: String, _ session: String) throws(KvError) -> ShardHashes {
        guard let user = ContentHash(user), let session = ContentHash(session) else {
            throw KvError(.invalidArgument, "the request holds a malformed hash")
        }
        return ShardHashes(user: user, session: session)
    }
}

extension ShardEpoch {
    fileprivate init(_ wire: Flotilla_V1_ShardEpoch) {
        self.init(shard: ShardID(wire.shard), epoch: wire.epoch)
    }
}
