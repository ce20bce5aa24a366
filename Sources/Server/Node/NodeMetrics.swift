package import Keyspace
internal import RaftHost
package import RaftLog
internal import Synchronization
internal import Telemetry

/// What a node counts of itself since its process began.
package final class NodeMetrics: Sendable {
    /// The raw value is its place among the meters.
    package enum Operation: Int, CaseIterable, Sendable {
        case get, scan, put, append, delete, compareAndSet

        /// `nil`: housekeeping, which isn't counted.
        init?(_ operation: KvRequest.Operation) {
            switch operation {
            case .get: self = .get
            case .scan: self = .scan
            case .write(_, .put, _): self = .put
            case .write(_, .append, _): self = .append
            case .write(_, .delete, _): self = .delete
            case .write(_, .compareAndSet, _): self = .compareAndSet
            case .closeSession, .listSessions: return nil
            }
        }

        var isRead: Bool { self == .get || self == .scan }
    }

    /// A request on its way to its answer.
    package struct Pending: Sendable {
        var operation: Operation
        /// `nil`: not known yet.
        var shard: ShardID?
        /// Of `HostClock.nanoseconds`.
        var start: UInt64

        package init(operation: Operation, shard: ShardID?, start: UInt64) {
            self.operation = operation
            self.shard = shard
            self.start = start
        }
    }

    package struct ShardLoad: Sendable {
        package var reads: UInt64 = 0
        package var writes: UInt64 = 0
    }

    private final class OperationMeters: Sendable {
        let latency = Meter()
        let errors = Counter()
    }

    private struct Leadership {
        var leader: ReplicaID?
        var changes: UInt64 = 0
    }

    let startedAt = HostClock.wall()
    let diskSync = Meter()
    private let operations = Operation.allCases.map { _ in OperationMeters() }
    private let leadership = Mutex(Leadership())
    private let proposalsFailed = Counter()
    /// By shard; as long as the largest number that was asked for.
    private let loads = Mutex<[ShardLoad]>([])

    package init() {}

    package func answered(_ pending: Pending, _ response: KvResponse, at now: UInt64) {
        if case .failed(let error) = response.result {
            if !pending.operation.isRead { proposalsFailed.add() }
            switch error.code {
            // Whoever holds an old map or another leader asks elsewhere: no failure of the store.
            case .notLeader, .wrongGroup, .sessionExpired: return
            default: meters(pending.operation).errors.add()
            }
            return
        }
        meters(pending.operation).latency.record(now - min(now, pending.start))
        guard let shard = pending.shard else { return }
        loads.withLock { loads in
            while loads.count <= shard.index { loads.append(ShardLoad()) }
            if pending.operation.isRead { loads[shard.index].reads += 1 } else { loads[shard.index].writes += 1 }
        }
    }

    package func load(of shard: ShardID) -> ShardLoad {
        loads.withLock { $0.indices.contains(shard.index) ? $0[shard.index] : ShardLoad() }
    }

    /// A term without a leader is no change; the next leader is one, even if it is the last one again.
    package func led(by leader: ReplicaID?) {
        leadership.withLock { state in
            if let leader, leader != state.leader { state.changes += 1 }
            state.leader = leader
        }
    }

    private func meters(_ operation: Operation) -> OperationMeters { operations[operation.rawValue] }

    /// Adds what was counted to a node's status.
    package func complete(_ status: inout NodeStatus, pending: Int) {
        status.operations = Operation.allCases.map { operation in
            NodeStatus.Operation(
                name: "\(operation)", errors: meters(operation).errors.value, latency: meters(operation).latency.value)
        }
        status.fsync = diskSync.value
        status.leaderChanges = leadership.withLock { $0.changes }
        status.proposalsPending = UInt64(pending)
        status.proposalsFailed = proposalsFailed.value
        status.startedAt = startedAt
    }
}
