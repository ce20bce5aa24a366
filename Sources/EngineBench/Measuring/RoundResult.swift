/// What one round of a cell measured on one engine.
package struct RoundResult: Sendable, Codable {
    /// One for each call.
    package var latencies = Latencies()
    /// Keys that the calls touched.
    package var keys = 0
    /// Bytes of keys and values that were written; 0 for reads.
    package var userBytes = 0
    /// Time in calls, with the sync that ends a round of buffered writes.
    package var busyNanoseconds: UInt64 = 0
    package var cpuNanoseconds: UInt64 = 0
    package var writtenBytes: UInt64 = 0
    package var allocations: UInt64?
    /// At the end of the round.
    package var anonymousBytes: UInt64 = 0
    package var diskBytes: UInt64 = 0
    /// Latencies of somebody else meanwhile, by name.
    package var beside: [String: Latencies] = [:]
    /// Other numbers; the median over the rounds is shown.
    package var figures: [Figure] = []

    package init() {}

    var keysPerSecond: Double {
        busyNanoseconds == 0 ? 0 : Double(keys) / (Double(busyNanoseconds) / 1_000_000_000)
    }
}

/// A number with its name and unit.
package struct Figure: Sendable, Codable, Equatable {
    package var name: String
    package var value: Double
    package var unit: String

    package init(name: String, value: Double, unit: String) {
        self.name = name
        self.value = value
        self.unit = unit
    }
}
