/// One sample for each observation of the last hour.
struct HistoryLog: Sendable, Equatable {
    /// Milliseconds.
    static let kept: UInt64 = 3_600_000
    static let samplesMax = 3600

    /// The names of all series, in the order of a sample's values.
    static let names: [String] = {
        let kinds = OperationKind.allCases.map(\.rawValue)
        return kinds.map { "operations.\($0)" } + kinds.map { "p50Ms.\($0)" } + kinds.map { "p99Ms.\($0)" }
            + ["fsync.p50Ms", "fsync.p99Ms", "lagEntries", "keys", "storage", "healthyNodes"]
    }()

    struct Sample: Sendable, Equatable {
        /// Unix milliseconds.
        var at: UInt64
        /// One for each name; `nil`: unknown then.
        var values: [Double?]
    }

    /// Times grow.
    private var samples: [Sample] = []

    init() {}

    mutating func add(_ sample: Sample) {
        // A clock that was set back: what it has not reached again yet would make the curves run backwards.
        while let last = samples.last, last.at >= sample.at { samples.removeLast() }
        samples.append(sample)
        let expired = samples.prefix { $0.at <= sample.at.subtracting(Self.kept) }.count
        samples.removeFirst(max(expired, samples.count - Self.samplesMax))
    }

    /// The samples of the last seconds before the newest.
    func answer(windowSeconds: Int, intervalMs: UInt64) -> Answer.History {
        let window = UInt64(min(max(windowSeconds, 1), 3600)) * 1000
        let newest = samples.last?.at ?? 0
        let shown = samples.drop { newest - $0.at >= window }
        var series: [String: [Double?]] = [:]
        for (index, name) in Self.names.enumerated() { series[name] = shown.map { $0.values[index] } }
        return Answer.History(intervalMs: intervalMs, times: shown.map(\.at), series: series)
    }
}
