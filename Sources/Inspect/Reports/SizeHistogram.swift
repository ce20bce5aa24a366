/// How many sizes lie between each two powers of two.
public struct SizeHistogram: Encodable, Sendable, Equatable {
    /// Sizes of `from...through` bytes.
    public struct Bucket: Encodable, Sendable, Equatable {
        public var from: Int
        public var through: Int
        public var count: UInt64
    }

    public private(set) var count: UInt64 = 0
    public private(set) var bytes: UInt64 = 0
    public private(set) var smallest = 0
    public private(set) var largest = 0
    /// Empty buckets before the first and behind the last full one are left out.
    public var buckets: [Bucket] {
        guard let first = counts.firstIndex(where: { $0 > 0 }), let last = counts.lastIndex(where: { $0 > 0 }) else {
            return []
        }
        return (first...last).map { Bucket(from: Self.from($0), through: Self.from($0 + 1) - 1, count: counts[$0]) }
    }

    /// Bucket 0: size 0; bucket n: sizes of n binary digits.
    private var counts = [UInt64](repeating: 0, count: 64)

    public init() {}

    public mutating func add(_ size: Int) {
        counts[Int.bitWidth - max(0, size).leadingZeroBitCount] += 1
        smallest = count == 0 ? size : min(smallest, size)
        largest = max(largest, size)
        count += 1
        bytes += UInt64(size)
    }

    private static func from(_ bucket: Int) -> Int { bucket == 0 ? 0 : 1 << (bucket - 1) }

    private enum CodingKeys: String, CodingKey { case count, bytes, smallest, largest, buckets }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(count, forKey: .count)
        try container.encode(bytes, forKey: .bytes)
        try container.encode(smallest, forKey: .smallest)
        try container.encode(largest, forKey: .largest)
        try container.encode(buckets, forKey: .buckets)
    }
}
