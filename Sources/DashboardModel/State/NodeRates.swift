internal import Keyspace
internal import Telemetry

/// The kinds of requests that the dashboard shows, in its order. What else a node counts is ignored.
enum OperationKind: String, CaseIterable {
    case get, scan, put, append, delete, compareAndSet
}

/// What a node did between two of its reports.
struct NodeRates: Sendable, Equatable {
    struct Requests: Sendable, Equatable {
        var perSecond = 0.0
        var errorsPerSecond = 0.0
        /// Of the time between the reports alone.
        var latency = DurationHistogram()
    }

    struct Shard: Sendable, Equatable {
        var readsPerSecond: Double
        var writesPerSecond: Double
    }

    /// One for each `OperationKind`.
    private(set) var requests: [Requests]
    private(set) var fsync: Requests
    /// Only shards that were asked for something.
    private(set) var shards: [ShardID: Shard] = [:]

    /// - Parameters:
    ///   - earlier: the report before; `nil` if the process has begun since, so that all of `later` is new.
    ///   - seconds: between the two, above 0.
    init(from earlier: NodeStatus?, to later: NodeStatus, seconds: Double) {
        let perSecond = { (count: UInt64) in Double(count) / seconds }
        let before = earlier.map(Self.operations) ?? [:]
        let now = Self.operations(later)
        requests = OperationKind.allCases.map { kind in
            guard let operation = now[kind] else { return Requests() }
            guard let old = before[kind] else {
                return Requests(
                    perSecond: perSecond(operation.latency.count), errorsPerSecond: perSecond(operation.errors),
                    latency: operation.latency)
            }
            let latency = operation.latency.since(old.latency)
            return Requests(
                perSecond: perSecond(latency.count), errorsPerSecond: perSecond(operation.errors.since(old.errors)),
                latency: latency)
        }
        let synced = earlier.map { later.fsync.since($0.fsync) } ?? later.fsync
        fsync = Requests(perSecond: perSecond(synced.count), latency: synced)

        var counted: [ShardID: ShardStatus] = [:]
        for shard in earlier?.shards ?? [] { counted[shard.shard] = shard }
        for shard in later.shards where shards[shard.shard] == nil {
            let old = counted[shard.shard]
            // One that has come back counts on from its earlier stay, which was in no report meanwhile.
            if earlier != nil, old == nil { continue }
            let (reads, writes) = (shard.reads.since(old?.reads ?? 0), shard.writes.since(old?.writes ?? 0))
            guard reads > 0 || writes > 0 else { continue }
            shards[shard.shard] = Shard(readsPerSecond: perSecond(reads), writesPerSecond: perSecond(writes))
        }
    }

    private static func operations(_ report: NodeStatus) -> [OperationKind: NodeStatus.Operation] {
        var operations: [OperationKind: NodeStatus.Operation] = [:]
        for operation in report.operations {
            guard let kind = OperationKind(rawValue: operation.name), operations[kind] == nil else { continue }
            operations[kind] = operation
        }
        return operations
    }

    var requestsPerSecond: Double { requests.reduce(0) { $0 + $1.perSecond } }
}

/// Requests of many nodes together.
struct MergedRequests {
    private(set) var perSecond = 0.0
    private(set) var errorsPerSecond = 0.0
    private var latency = DurationHistogram()

    mutating func add(_ requests: NodeRates.Requests) {
        guard requests.perSecond > 0 || requests.errorsPerSecond > 0 else { return }
        perSecond += requests.perSecond
        errorsPerSecond += requests.errorsPerSecond
        latency += requests.latency
    }

    /// The median and the 99th percentile, in milliseconds; `nil` of nothing.
    var percentiles: (p50: Double?, p99: Double?) {
        (latency.quantile(0.5)?.milliseconds, latency.quantile(0.99)?.milliseconds)
    }
}
