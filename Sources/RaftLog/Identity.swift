internal import Bytes

/// A position in the log; the first entry has index 1.
public typealias LogIndex = UInt64
/// A Raft term; 0 is before the first election.
public typealias Term = UInt64
/// Milliseconds. Monotonic time for timeouts, Unix time for log time; never compared with each other.
public typealias Milliseconds = UInt64

/// A replica's number within its group.
public struct ReplicaID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    public static func < (left: ReplicaID, right: ReplicaID) -> Bool { left.rawValue < right.rawValue }
    public var description: String { String(rawValue) }
}

/// 128 random bits made with a replica's directory: a wiped disk comes back as somebody else.
public struct Incarnation: Hashable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public init?(bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads 32 hexadecimal digits.
    public init?(hex: String) {
        guard hex.utf8.count == 32, let high = UInt64(hex.prefix(16), radix: 16),
            let low = UInt64(hex.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    public var bytes: [UInt8] { bigEndianBytes(high) + bigEndianBytes(low) }

    public var description: String {
        [high, low].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}

/// SplitMix64: a small generator whose whole state is its seed, so that one seed decides everything.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64
    public init(seed: UInt64) { state = seed }

    /// One of many independent sources that one seed decides. (Seeds that lie some steps of the generator apart would give
    /// the same numbers, shifted.)
    public init(seed: UInt64, stream: UInt64) {
        var source = SplitMix64(seed: seed)
        var other = SplitMix64(seed: source.next() ^ stream)
        state = other.next() ^ source.next()
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
