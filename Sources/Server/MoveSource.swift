internal import Engines
internal import Foundation
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// The source's side of moves: answers the target's leader. Every step is a log entry of its own group.
final class MoveSource: ShardPeer {
    private let node: Node<GroupMachine>
    private let target: MoveTarget
    /// A frozen shard doesn't change, so its fingerprints are computed once.
    private let hashes = Mutex<[ShardEpoch: ShardHashes]>([:])

    init(node: Node<GroupMachine>, target: MoveTarget) {
        self.node = node
        self.target = target
    }

    private func step(_ command: GroupCommand) async throws {
        switch try await node.propose(command.encoded) {
        case .stepped: return
        case .outOfStep(let why): throw Flotilla_V1_Error(.failedPrecondition, why).status
        default: throw Flotilla_V1_Error(.internal, "the log answered another question").status
        }
    }

    private func view<Result: Sendable>(_ body: @escaping @Sendable (GroupReader) throws -> Result) async throws
        -> Result
    {
        let node = node
        return try await offload {
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            return try body(GroupReader(node.layout, in: snapshot))
        }
    }

    private func frozenHashes(_ shard: ShardEpoch) async throws -> ShardHashes {
        if let known = hashes.withLock({ $0[shard] }) { return known }
        let found = try await view { reader -> ShardHashes? in
            guard case .frozen(_, let epoch)? = try reader.record(shard.shard)?.state, epoch == shard.epoch else {
                return nil
            }
            return try reader.hashes(shard.shard)
        }
        guard let found else {
            throw Flotilla_V1_Error(
                .failedPrecondition, "shard \(shard.shard) is not frozen under epoch \(shard.epoch)"
            ).status
        }
        hashes.withLock { $0[shard] = found }
        return found
    }

    func freeze(_ request: Flotilla_V1_ShardEpoch) async throws -> Flotilla_V1_FrozenShard {
        let shard = ShardEpoch(shard: Int(request.shard), epoch: request.epoch)
        try await step(.freeze(shard, to: request.to))
        let hashes = try await frozenHashes(shard)
        var response = Flotilla_V1_FrozenShard()
        response.userHash = hashes.user.description
        response.sessionHash = hashes.session.description
        response.logTimeMs = try await view { try $0.logTime() }
        return response
    }

    /// Any replica that has applied the freeze holds the same rows.
    func export(
        _ request: Flotilla_V1_ShardEpoch, formats: [String], to directory: String
    ) throws -> [FamilyManifest] {
        guard let host = node.host else { throw node.unavailable().status }
        let shard = ShardEpoch(shard: Int(request.shard), epoch: request.epoch)
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        guard let family = try GroupReader(node.layout, in: snapshot).frozen(shard) else {
            throw Flotilla_V1_Error(
                .failedPrecondition, "shard \(shard.shard) is not frozen under epoch \(shard.epoch)"
            ).status
        }
        guard case .family(let physical) = family else { return [] }
        return [try host.export(physical, from: snapshot, formats: formats, to: "\(directory)/0")]
    }

    func stage(_ request: Flotilla_V1_StageShardRequest) async throws -> Flotilla_V1_StageShardResponse {
        try await target.stage(request)
    }

    /// As the target: what the log has decided.
    func decision(_ request: Flotilla_V1_ShardEpoch) async throws -> Flotilla_V1_ShardDecisionResponse {
        let shard = ShardEpoch(shard: Int(request.shard), epoch: request.epoch)
        let layout = node.layout
        let decided = try await node.read { try GroupReader(layout, in: $0).decision(shard) }
        var response = Flotilla_V1_ShardDecisionResponse()
        switch decided {
        case .activated(let hashes):
            response.decision = .activated
            response.userHash = hashes.user.description
            response.sessionHash = hashes.session.description
        case .rejected: response.decision = .rejected
        case nil: response.decision = .undecided
        }
        return response
    }

    /// The target has decided. After an activation the copy here goes, if it is what the target has.
    func collect(_ request: Flotilla_V1_CollectShardRequest) async throws -> Flotilla_V1_CollectShardResponse {
        let shard = ShardEpoch(shard: Int(request.shard), epoch: request.epoch)
        var response = Flotilla_V1_CollectShardResponse()
        response.collected = true
        let record = try await view { try $0.record(shard.shard) }
        switch request.decision {
        case .activated:
            if let record, record.state == .gone, record.epoch >= shard.epoch { return response }
            let own = try await frozenHashes(shard)
            guard own.user.description == request.userHash, own.session.description == request.sessionHash else {
                node.log.critical(
                    "shard \(shard.shard): the target activated \(request.userHash), here is \(own.user); keeping both")
                throw Flotilla_V1_Error(
                    .failedPrecondition,
                    "shard \(shard.shard) has other contents here than at the target; both copies are kept"
                ).status
            }
            try await step(.collect(shard))
        case .rejected: try await step(.unfreeze(shard))
        default: throw Flotilla_V1_Error(.invalidArgument, "the request names no decision").status
        }
        hashes.withLock { $0[shard] = nil }
        return response
    }
}
