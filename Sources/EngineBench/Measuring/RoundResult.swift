/// What one round of a cell measured on one engine.
struct RoundResult: Sendable, Codable {
    /// One for each call.
    var latencies = Latencies()
    /// Keys that the calls touched.
    var keys = 0
    /// Bytes of keys and values that were written; 0 for reads.
    var userBytes = 0
    /// Time in calls, with the sync that ends a round of buffered writes.
    var busyNanoseconds: UInt64 = 0
    var cpuNanoseconds: UInt64 = 0
    var writtenBytes: UInt64 = 0
    var allocations: UInt64?
    /// At the end of the round.
    var anonymousBytes: UInt64 = 0
    var diskBytes: UInt64 = 0
    /// Latencies of somebody else meanwhile, by name.
    var beside: [String: Latencies] = [:]
    /// Other numbers; the median over the rounds is shown.
    var figures: [Figure] = []

    var keysPerSecond: Double {
        busyNanoseconds == 0 ? 0 : Double(keys) / (Double(busyNanoseconds) / 1_000_000_000)
    }
}

/// A number with its name and unit.
struct Figure: Sendable, Codable, Equatable {
    var name: String
    var value: Double
    var unit: String
}
