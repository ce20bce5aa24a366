internal import RaftHost
internal import RaftLog
internal import Synchronization
internal import Telemetry
internal import Wire

/// What a node counts of itself since its process began.
final class NodeMetrics: Sendable {
    /// The raw value is its place among the meters.
    enum Operation: Int, CaseIterable, Sendable {
        case get, scan, put, append, delete, compareAndSet

        init?(_ request: Flotilla_V1_Request) {
            switch request.op {
            case .get: self = .get
            case .scan: self = .scan
            case .put: self = .put
            case .append: self = .append
            case .delete: self = .delete
            case .compareAndSet: self = .compareAndSet
            case nil: return nil
            }
        }

        var isRead: Bool { self == .get || self == .scan }
    }

    /// A request on its way to its answer.
    struct Pending: Sendable {
        var operation: Operation
        /// `nil`: not known yet.
        var shard: Int?
        /// Of `HostClock.nanoseconds`.
        var start: UInt64
    }

    struct ShardLoad: Sendable {
        var reads: UInt64 = 0
        var writes: UInt64 = 0
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

    func answered(_ pending: Pending, _ response: Flotilla_V1_Response, at now: UInt64) {
        let isError = if case .error? = response.result { true } else { false }
        if isError {
            if !pending.operation.isRead { proposalsFailed.add() }
            switch response.error.code {
            // Whoever holds an old map or another leader asks elsewhere: no failure of the store.
            case .notLeader, .wrongGroup, .sessionExpired: return
            default: meters(pending.operation).errors.add()
            }
            return
        }
        meters(pending.operation).latency.record(now - min(now, pending.start))
        guard let shard = pending.shard else { return }
        loads.withLock { loads in
            while loads.count <= shard { loads.append(ShardLoad()) }
            if pending.operation.isRead { loads[shard].reads += 1 } else { loads[shard].writes += 1 }
        }
    }

    func load(of shard: Int) -> ShardLoad {
        loads.withLock { $0.indices.contains(shard) ? $0[shard] : ShardLoad() }
    }

    /// A term without a leader is no change; the next leader is one, even if it is the last one again.
    func led(by leader: ReplicaID?) {
        leadership.withLock { state in
            if let leader, leader != state.leader { state.changes += 1 }
            state.leader = leader
        }
    }

    private func meters(_ operation: Operation) -> OperationMeters { operations[operation.rawValue] }

    func wire(pending: Int, peers: [Flotilla_V1_PeerRoundTrip]) -> Flotilla_V1_NodeMetrics {
        var metrics = Flotilla_V1_NodeMetrics()
        for operation in Operation.allCases {
            var row = Flotilla_V1_OperationMetrics()
            row.operation = "\(operation)"
            row.errors = meters(operation).errors.value
            row.latency = meters(operation).latency.value.wire
            metrics.operations.append(row)
        }
        metrics.diskSync = diskSync.value.wire
        metrics.leaderChanges = leadership.withLock { $0.changes }
        metrics.proposalsPending = UInt64(pending)
        metrics.proposalsFailed = proposalsFailed.value
        metrics.peers = peers
        return metrics
    }
}
