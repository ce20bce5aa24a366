internal import Engines
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// The source's side of moves: carries out what a `SourceCall` says, for the target's leader.
final class MoveSource: Sendable {
    private let node: Node<GroupMachine>
    private let desk = Mutex(SourceDesk())

    init(node: Node<GroupMachine>) { self.node = node }

    func freeze(_ shard: ShardEpoch, for target: GroupID) async throws -> FrozenShard {
        guard let frozen = try await answer(.freeze(shard, for: target)) else {
            throw KvError(.internal, "the answer was of another question")
        }
        return frozen
    }

    func collect(_ shard: ShardEpoch, _ decision: ShardDecision) async throws {
        _ = try await answer(.collect(shard, decision))
    }

    private func answer(_ question: SourceQuestion) async throws -> FrozenShard? {
        var call = SourceCall(question)
        var step = call.begin()
        while true {
            let finding: SourceCall.Finding
            switch step {
            case .frozen(let frozen): return frozen
            case .done: return nil
            case .refused(let error, let alarm):
                if let alarm { node.log.critical("\(alarm)") }
                throw error
            case .propose(let command): finding = try await propose(command)
            case .look(let shard):
                finding = try await view { .looked(try $0.record(shard), time: try $0.time(of: shard)) }
            case .scan(let shard):
                finding = try await view { reader in
                    let time = try reader.time(of: shard.shard)
                    guard case .frozen(_, shard.epoch)? = try reader.record(shard.shard)?.state else {
                        return .scanned(nil, time: time)
                    }
                    return .scanned(try reader.hashes(shard.shard), time: time)
                }
            }
            step = desk.withLock { call.heard(finding, &$0) }
        }
    }

    private func propose(_ command: GroupCommand) async throws -> SourceCall.Finding {
        switch try await node.propose(command.encoded) {
        case .stepped: return .stepped
        case .outOfStep(let why): return .outOfStep(why)
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
            return try node.noticingDamage { try body(GroupReader(node.layout, in: snapshot)) }
        }
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
        return [
            try node.noticingDamage {
                try host.export(physical, from: snapshot, formats: formats, to: "\(directory)/0")
            }
        ]
    }
}
