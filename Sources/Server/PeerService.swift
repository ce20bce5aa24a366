internal import Engines
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Wire

/// The part of the Peer service that only shard groups serve.
protocol ShardPeer: Sendable {
    func freeze(_ request: Flotilla_V1_ShardEpoch) async throws -> Flotilla_V1_FrozenShard
    /// Writes a frozen shard's family, if it has any rows, into `directory/0`.
    func export(
        _ request: Flotilla_V1_ShardEpoch, formats: [String], to directory: String
    ) throws -> [FamilyManifest]
    func stage(_ request: Flotilla_V1_StageShardRequest) async throws -> Flotilla_V1_StageShardResponse
    func decision(_ request: Flotilla_V1_ShardEpoch) async throws -> Flotilla_V1_ShardDecisionResponse
    func collect(_ request: Flotilla_V1_CollectShardRequest) async throws -> Flotilla_V1_CollectShardResponse
}

/// What nodes ask each other.
struct PeerService<Machine: StateMachine>: Flotilla_V1_Peer.SimpleServiceProtocol {
    let node: Node<Machine>
    let shards: (any ShardPeer)?

    private func shardPeer() throws -> any ShardPeer {
        guard let shards else { throw RPCError(code: .unimplemented, message: "a controller node has no shards") }
        return shards
    }

    func raft(
        request: RPCAsyncSequence<Flotilla_V1_RaftFrame, any Error>,
        response: RPCWriter<Flotilla_V1_RaftAcknowledgement>, context: ServerContext
    ) async throws {
        var unpacker = EnvelopeUnpacker()
        for try await frame in request { try node.receive(frame, &unpacker) }
    }

    func takeSnapshot(
        request: Flotilla_V1_TakeSnapshotRequest, context: ServerContext
    ) async throws -> Flotilla_V1_TakeSnapshotResponse {
        try await node.takeSnapshot(request)
    }

    func openExport(
        request: Flotilla_V1_OpenExportRequest, context: ServerContext
    ) async throws -> Flotilla_V1_Export {
        try await node.openExport(request, shards: shards)
    }

    func readExport(
        request: Flotilla_V1_ReadExportRequest, response: RPCWriter<Flotilla_V1_ExportPiece>, context: ServerContext
    ) async throws {
        try await node.exports.read(request, response)
    }

    func closeExport(
        request: Flotilla_V1_CloseExportRequest, context: ServerContext
    ) async throws -> Flotilla_V1_CloseExportResponse {
        node.exports.close(request.id)
        return Flotilla_V1_CloseExportResponse()
    }

    func identify(
        request: Flotilla_V1_IdentifyRequest, context: ServerContext
    ) async throws -> Flotilla_V1_IdentifyResponse {
        guard request.gid == node.options.gid else {
            throw RPCError(
                code: .failedPrecondition,
                message:
                    "\(node.options.address) is a node of \(node.options.role) \(node.options.gid), not of \(request.gid)"
            )
        }
        return node.identity(request)
    }

    func freezeShard(request: Flotilla_V1_ShardEpoch, context: ServerContext) async throws -> Flotilla_V1_FrozenShard {
        try await shardPeer().freeze(request)
    }

    func stageShard(
        request: Flotilla_V1_StageShardRequest, context: ServerContext
    ) async throws -> Flotilla_V1_StageShardResponse {
        try await shardPeer().stage(request)
    }

    func shardDecision(
        request: Flotilla_V1_ShardEpoch, context: ServerContext
    ) async throws -> Flotilla_V1_ShardDecisionResponse {
        try await shardPeer().decision(request)
    }

    func collectShard(
        request: Flotilla_V1_CollectShardRequest, context: ServerContext
    ) async throws -> Flotilla_V1_CollectShardResponse {
        try await shardPeer().collect(request)
    }
}

extension Node {
    /// Proposes and waits for the answer; failures as errors of the wire.
    func propose(_ payload: [UInt8]) async throws -> Machine.Reply {
        guard let host else { throw unavailable().status }
        let result = await withCheckedContinuation { continuation in
            host.propose(payload) { continuation.resume(returning: $0) }
        }
        switch result {
        case .applied(_, let reply): return reply
        case .notLeader: throw notLeader().status
        case .busy: throw Flotilla_V1_Error(.busy, "too many requests wait", retryAfterMilliseconds: 20).status
        case .unknown:
            throw Flotilla_V1_Error(.outcomeUnknown, "leadership was lost before the request was answered").status
        }
    }

    /// A linearizable view; failures as errors of the wire. `body` runs on the host's reading thread.
    func read<Result: Sendable>(_ body: @escaping @Sendable (any ReadSnapshot) throws -> Result) async throws -> Result
    {
        guard let host else { throw unavailable().status }
        return try await withCheckedThrowingContinuation { continuation in
            host.read { result in
                switch result {
                case .ready(let snapshot): continuation.resume(with: Swift.Result { try body(snapshot) })
                case .notLeader: continuation.resume(throwing: self.notLeader().status)
                case .busy:
                    continuation.resume(
                        throwing: Flotilla_V1_Error(.busy, "too many requests wait", retryAfterMilliseconds: 20).status)
                case .failed(let error):
                    continuation.resume(throwing: Flotilla_V1_Error(.internal, error.description).status)
                }
            }
        }
    }

    func notLeader() -> Flotilla_V1_Error {
        let leader = leaderAddress
        if leader.isEmpty {
            return Flotilla_V1_Error(
                .noLeader, "\(options.role) \(options.gid) has no leader", retryAfterMilliseconds: 50)
        }
        return Flotilla_V1_Error(.notLeader, "node \(options.id) doesn't lead", leader: leader)
    }

    func unavailable() -> Flotilla_V1_Error {
        Flotilla_V1_Error(.unavailable, condition ?? "the node is starting", retryAfterMilliseconds: 100)
    }
}
