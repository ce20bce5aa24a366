internal import Engines

/// All rounds of one cell on one engine, merged.
package struct CellResult: Sendable, Encodable, Equatable {
    var workload: String
    var valueBytes: Int
    var batch: Int?
    package var durability: String?
    package var engine: String
    /// `wrapped`: behind our protocol. `raw`: the C library called directly.
    package var access: String
    package var rounds: Int
    package var calls: Int
    package var keys: Int
    package var keysPerSecond: Double
    package var callsPerSecond: Double
    /// Slowest and fastest round.
    package var keysPerSecondMin: Double
    package var keysPerSecondMax: Double
    /// Our throughput as a share of the C library's: the median over the rounds, in which they ran side by side.
    package var shareOfRaw: Double?
    package var p50Microseconds: Double
    package var p99Microseconds: Double
    var p999Microseconds: Double
    /// CPU time for 1,000 keys, background threads included.
    package var cpuMillisecondsPerThousand: Double
    /// Bytes that reached the page cache for each byte of keys and values; `nil` for reads.
    package var writtenPerUserByte: Double?
    package var allocationsPerThousand: Double?
    /// The most at the end of a round, of a process with this engine alone.
    package var anonymousBytes: UInt64
    /// At the end of the last round.
    package var diskBytes: UInt64
    package var figures: [Figure]
}

extension CellResult {
    package init(_ cell: Cell, _ subject: SubjectName, _ rounds: [RoundResult], raw: [RoundResult]? = nil) {
        workload = cell.workload.rawValue
        valueBytes = cell.valueBytes
        batch = cell.batch
        durability = cell.isSynced.map { $0 ? "synced" : "buffered" }
        engine = cell.workload == .portable ? "-" : subject.engine.rawValue
        access = subject.isRaw ? "raw" : "wrapped"
        self.rounds = rounds.count
        var latencies = Latencies()
        for round in rounds { latencies.add(round.latencies) }
        calls = latencies.count
        keys = rounds.reduce(0) { $0 + $1.keys }
        let seconds = Double(rounds.reduce(0) { $0 + $1.busyNanoseconds }) / 1_000_000_000
        keysPerSecond = seconds > 0 ? Double(keys) / seconds : 0
        callsPerSecond = seconds > 0 ? Double(calls) / seconds : 0
        keysPerSecondMin = rounds.map(\.keysPerSecond).min() ?? 0
        keysPerSecondMax = rounds.map(\.keysPerSecond).max() ?? 0
        shareOfRaw = raw.flatMap { raw in
            median(zip(rounds, raw).filter { $1.keysPerSecond > 0 }.map { $0.keysPerSecond / $1.keysPerSecond })
        }
        p50Microseconds = latencies.microseconds(percentile: 50)
        p99Microseconds = latencies.microseconds(percentile: 99)
        p999Microseconds = latencies.microseconds(percentile: 99.9)
        let thousands = Double(max(1, keys)) / 1000
        cpuMillisecondsPerThousand = Double(rounds.reduce(0) { $0 + $1.cpuNanoseconds }) / 1_000_000 / thousands
        let userBytes = rounds.reduce(0) { $0 + $1.userBytes }
        writtenPerUserByte =
            userBytes > 0 ? Double(rounds.reduce(0) { $0 + $1.writtenBytes }) / Double(userBytes) : nil
        let allocations = rounds.compactMap(\.allocations)
        allocationsPerThousand =
            allocations.count == rounds.count && !rounds.isEmpty
            ? Double(allocations.reduce(0, +)) / thousands : nil
        anonymousBytes = rounds.map(\.anonymousBytes).max() ?? 0
        diskBytes = rounds.last?.diskBytes ?? 0
        figures = Self.merge(rounds)
    }

    private static func merge(_ rounds: [RoundResult]) -> [Figure] {
        var figures: [Figure] = []
        for figure in rounds.first?.figures ?? [] {
            let values = rounds.compactMap { $0.figures.first { $0.name == figure.name }?.value }
            figures.append(Figure(name: figure.name, value: median(values) ?? 0, unit: figure.unit))
        }
        for name in Set(rounds.flatMap(\.beside.keys)).sorted() {
            var latencies = Latencies()
            for round in rounds { if let more = round.beside[name] { latencies.add(more) } }
            for (label, percentile) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
                figures.append(
                    Figure(
                        name: "\(name) \(label)", value: latencies.microseconds(percentile: percentile), unit: "µs"))
            }
        }
        return figures
    }
}

/// The middle value, or the mean of the middle two.
package func median(_ values: [Double]) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// A whole run, as it is printed.
package struct BenchReport: Sendable, Encodable {
    var environment: [String: String]
    package var results: [CellResult]

    package init(environment: [String: String], results: [CellResult]) {
        self.environment = environment
        self.results = results
    }
}
