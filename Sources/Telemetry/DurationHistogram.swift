/// How long things took, counted in buckets whose bounds grow by √2, from 10 µs to two minutes. A quantile read from it
/// is off by a fifth at most. A pure value; `Meter` shares one between threads.
public struct DurationHistogram: Sendable, Equatable {
    /// Upper bounds in nanoseconds, inclusive. The bucket after the last counts what took longer.
    public static let bounds: [UInt64] = {
        var bounds: [UInt64] = []
        var even: UInt64 = 10_000
        for _ in 0..<24 {
            bounds.append(even)
            bounds.append(UInt64(Double(even) * 2.0.squareRoot()))
            even *= 2
        }
        return bounds
    }()

    public private(set) var sumNanoseconds: UInt64 = 0
    /// One for each bound, and one for what is above all.
    public private(set) var counts: [UInt64]

    private static let countMax: UInt64 = 1 << 56
    private static let sumMax: UInt64 = 1 << 62

    public init() { counts = Array(repeating: 0, count: Self.bounds.count + 1) }

    /// As read from elsewhere; `nil` if it isn't of this form.
    public init?(counts: [UInt64], sumNanoseconds: UInt64) {
        guard counts.count == Self.bounds.count + 1 else { return nil }
        // What no machine can have counted is damage, and must not overflow a sum.
        guard counts.allSatisfy({ $0 <= Self.countMax }) else { return nil }
        self.counts = counts
        self.sumNanoseconds = min(sumNanoseconds, Self.sumMax)
    }

    public var count: UInt64 { counts.reduce(0, +) }

    public mutating func record(_ nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        // Many at once wait more seconds than pass: in years the sum comes to its end, and stays there.
        sumNanoseconds = Self.sum(sumNanoseconds, nanoseconds, Self.sumMax)
    }

    private static func bucket(_ nanoseconds: UInt64) -> Int {
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < nanoseconds { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Saturates: histograms may come from anybody.
    public static func += (sum: inout DurationHistogram, other: DurationHistogram) {
        for index in sum.counts.indices {
            sum.counts[index] = Self.sum(sum.counts[index], other.counts[index], countMax)
        }
        sum.sumNanoseconds = Self.sum(sum.sumNanoseconds, other.sumNanoseconds, sumMax)
    }

    private static func sum(_ left: UInt64, _ right: UInt64, _ most: UInt64) -> UInt64 {
        let (result, overflows) = left.addingReportingOverflow(right)
        return overflows ? most : min(result, most)
    }

    /// What has been recorded since an earlier state of the same histogram. If that can't be one (the process has begun
    /// anew), everything.
    public func since(_ earlier: DurationHistogram) -> DurationHistogram {
        guard zip(counts, earlier.counts).allSatisfy({ $0 >= $1 }), sumNanoseconds >= earlier.sumNanoseconds else {
            return self
        }
        var difference = self
        for index in counts.indices { difference.counts[index] -= earlier.counts[index] }
        difference.sumNanoseconds -= earlier.sumNanoseconds
        return difference
    }

    /// The duration in nanoseconds that a share `q` (0 to 1) of all didn't exceed, interpolated within its bucket; `nil`
    /// of nothing. What is beyond the last bound counts as the last bound.
    public func quantile(_ q: Double) -> Double? {
        let total = count
        guard total > 0 else { return nil }
        let rank = min(max(q, 0), 1) * Double(total)
        var below: UInt64 = 0
        for (index, count) in counts.enumerated() where count > 0 {
            if Double(below + count) >= rank {
                guard index < Self.bounds.count else { break }
                let lower = index == 0 ? 0 : Double(Self.bounds[index - 1])
                let upper = Double(Self.bounds[index])
                return lower + (upper - lower) * max(0, rank - Double(below)) / Double(count)
            }
            below += count
        }
        return Double(Self.bounds[Self.bounds.count - 1])
    }
}
