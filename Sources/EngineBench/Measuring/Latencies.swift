internal import Histogram

/// Latencies of calls in nanoseconds, three digits exact. Crosses the pipe between processes as pairs of value and
/// count.
package struct Latencies: Sendable, Codable {
    /// Beyond a minute a call counts as a minute.
    private static let highest: UInt64 = 60_000_000_000

    private var histogram = Self.empty
    private static var empty: Histogram<UInt64> {
        Histogram(highestTrackableValue: highest, numberOfSignificantValueDigits: .three)
    }
    /// The sum of what was recorded, exactly.
    package private(set) var totalNanoseconds: UInt64 = 0

    package init() {}

    package var count: Int { Int(histogram.totalCount) }

    package mutating func record(_ nanoseconds: UInt64) {
        histogram.record(min(nanoseconds, Self.highest))
        totalNanoseconds += nanoseconds
    }

    mutating func add(_ other: Latencies) {
        histogram.add(other.histogram)
        totalNanoseconds += other.totalNanoseconds
    }

    /// Microseconds; 0 if nothing was recorded.
    package func microseconds(percentile: Double) -> Double {
        count == 0 ? 0 : Double(histogram.valueAtPercentile(percentile)) / 1000
    }

    private enum Keys: String, CodingKey { case pairs, total }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        let pairs = try container.decode([UInt64].self, forKey: .pairs)
        for at in stride(from: 0, to: pairs.count - 1, by: 2) {
            histogram.record(min(pairs[at], Self.highest), count: pairs[at + 1])
        }
        totalNanoseconds = try container.decode(UInt64.self, forKey: .total)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Keys.self)
        try container.encode(histogram.recordedValues().flatMap { [$0.value, $0.count] }, forKey: .pairs)
        try container.encode(totalNanoseconds, forKey: .total)
    }
}
