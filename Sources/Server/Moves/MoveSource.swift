internal import Engines
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// The source's side of moves: answers the target's leader. Every step is a log entry of its own group.
final class MoveSource: Sendable {
    private let node: Node<GroupMachine>
    /// A frozen shard doesn't change, so its fingerprints are computed once.
    private let hashes = Mutex<[ShardEpoch: ShardHashes]>([:])

    init(node: Node<GroupMachine>) { self.node = node }

    private func step(_ command: GroupCommand) async throws {
        switch try await node.propose(command.encoded) {
        case .stepped: return
        case .outOfStep(let why): throw KvError(.failedPrecondition, why)
        default: throw KvError(.internal, "the log answered another question")
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
        let found = try await scannedHashes(shard)
        hashes.withLock { $0[shard] = found }
        return found
    }

    private func scannedHashes(_ shard: ShardEpoch) async throws -> ShardHashes {
        let found = try await view { reader -> ShardHashes? in
            guard case .frozen(_, let epoch)? = try reader.record(shard.shard)?.state, epoch == shard.epoch else {
                return nil
            }
            return try reader.hashes(shard.shard)
        }
        guard let found else {
            throw KvError(
                .failedPrecondition, "shard \(shard.shard) is not frozen under epoch \(shard.epoch)"
            )
        }
        return found
    }

    func freeze(_ shard: ShardEpoch, for target: GroupID) async throws -> FrozenShard {
        try await step(.freeze(shard, to: target))
        return FrozenShard(
            hashes: try await frozenHashes(shard), logTime: try await view { try $0.time(of: shard.shard) })
    }

    /// Writes a frozen shard's family, if it has any rows, into `directory/0`. Any replica that has applied the freeze
    /// holds the same rows.
    func export(_ shard: ShardEpoch, formats: [String], to directory: String) throws -> [FamilyManifest] {
        guard let host = node.host else { throw node.unavailable() }
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        guard let family = try GroupReader(node.layout, in: snapshot).frozen(shard) else {
            throw KvError(
                .failedPrecondition, "shard \(shard.shard) is not frozen under epoch \(shard.epoch)"
            )
        }
        guard case .family(let physical) = family else { return [] }
        return [try host.export(physical, from: snapshot, formats: formats, to: "\(directory)/0")]
    }

    /// The target has decided. After an activation the copy here goes, if it is what the target has.
    func collect(_ shard: ShardEpoch, _ decision: ShardDecision) async throws {
        switch decision {
        case .activated(let theirs):
            let record = try await view { try $0.record(shard.shard) }
            if let record, record.state == .gone, record.epoch >= shard.epoch { return }
            // By a scan of what is on the disk now: once this copy is gone, nothing can tell any more.
            let own = try await scannedHashes(shard)
            guard own == theirs else {
                node.log.critical(
                    "shard \(shard.shard): the target activated \(theirs.user), here is \(own.user); keeping both")
                throw KvError(
                    .failedPrecondition,
                    "shard \(shard.shard) has other contents here than at the target; both copies are kept")
            }
            try await step(.collect(shard))
        case .rejected: try await step(.unfreeze(shard))
        }
        hashes.withLock { $0[shard] = nil }
    }
}
