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

    private enum Answer {
        case prepared(PreparedShard)
        case frozen(FrozenShard)
        case done
    }

    /// How much of a shard's changes is sent at once, about.
    private static let changesBytesMax = 1 << 20

    private static let confusion = KvError(.internal, "the answer was of another question")

    func prepare(_ shard: ShardEpoch, for target: GroupID, _ pace: CopyPace) async throws -> PreparedShard {
        guard case .prepared(let prepared) = try await answer(.prepare(shard, for: target, pace)) else {
            throw Self.confusion
        }
        return prepared
    }

    func freeze(_ shard: ShardEpoch, for target: GroupID) async throws -> FrozenShard {
        guard case .frozen(let frozen) = try await answer(.freeze(shard, for: target)) else { throw Self.confusion }
        return frozen
    }

    func collect(_ shard: ShardEpoch, _ decision: ShardDecision) async throws {
        guard case .done = try await answer(.collect(shard, decision)) else { throw Self.confusion }
    }

    /// Whether a write is taken of a shard whose writers are faster than its copy.
    func admits(_ bytes: Int, to shard: ShardID) -> Bool {
        desk.withLock { $0.slowsAny ? $0.admits(bytes, to: shard, now: HostClock.monotonic()) : true }
    }

    /// What has changed in a shard that is on the move, as this replica has it.
    func changes(of shard: ShardEpoch, after index: LogIndex) async throws -> ShardChanges {
        let page = try await view { try $0.changes(of: shard, after: index, bytesMax: Self.changesBytesMax) }
        guard let page else { throw Self.notMoving(shard) }
        desk.withLock { $0.renew(shard.shard, now: HostClock.monotonic()) }
        return page
    }

    private static func notMoving(_ shard: ShardEpoch) -> KvError {
        KvError(.failedPrecondition, "shard \(shard.shard) is not on the move under epoch \(shard.epoch)")
    }

    private func answer(_ question: SourceQuestion) async throws -> Answer {
        var call = SourceCall(question)
        var step = call.begin()
        while true {
            let finding: SourceCall.Finding
            switch step {
            case .prepared(let prepared): return .prepared(prepared)
            case .frozen(let frozen): return .frozen(frozen)
            case .done: return .done
            case .refused(let error, let alarm):
                if let alarm { node.log.critical("\(alarm)") }
                throw error
            case .propose(let command): finding = try await propose(command)
            case .look(let shard):
                finding = try await view { reader in .looked(try SourceCall.Sight(shard, in: reader)) }
            case .scan(let shard):
                finding = try await view { reader in
                    .looked(try SourceCall.Sight(shard.shard, scannedUnder: shard.epoch, in: reader))
                }
            }
            step = desk.withLock { call.heard(finding, &$0, now: HostClock.monotonic()) }
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

    /// Writes the family of a shard that is on the move, if it has any rows, into `directory/0`. With the index that this
    /// replica has applied.
    func export(
        _ shard: ShardEpoch, formats: [String], to directory: String
    ) throws -> (through: LogIndex, manifests: [FamilyManifest]) {
        guard let host = node.host else { throw node.unavailable() }
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        guard let moving = try GroupReader(node.layout, in: snapshot).moving(shard) else { throw Self.notMoving(shard) }
        guard case .family(let physical) = moving.rows else { return (moving.through, []) }
        let manifest = try node.noticingDamage {
            try host.export(physical, from: snapshot, formats: formats, to: "\(directory)/0")
        }
        return (moving.through, [manifest])
    }
}
