internal import CChecksum

/// An order-independent fingerprint of a set of records: their count, and the sum modulo 2^128 of a
/// 128-bit hash of each (key, value).
///
/// Equal sets have equal hashes on every engine; a record can be added and taken away without a scan.
/// It finds damage and divergence, not malice.
public struct ContentHash: Hashable, Sendable, CustomStringConvertible {
    public private(set) var count: UInt64
    public private(set) var high: UInt64
    public private(set) var low: UInt64

    public init() { self.init(count: 0, high: 0, low: 0) }

    public init(count: UInt64, high: UInt64, low: UInt64) {
        self.count = count
        self.high = high
        self.low = low
    }

    public mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        add(Self.hash(key, value), count: 1)
    }

    public mutating func remove(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        let (recordHigh, recordLow) = Self.hash(key, value)
        let (difference, borrow) = low.subtractingReportingOverflow(recordLow)
        low = difference
        high = high &- recordHigh &- (borrow ? 1 : 0)
        count &-= 1
    }

    public mutating func add(_ other: ContentHash) { add((other.high, other.low), count: other.count) }

    /// Takes away what `add` of the same has added.
    public mutating func remove(_ other: ContentHash) {
        let (difference, borrow) = low.subtractingReportingOverflow(other.low)
        low = difference
        high = high &- other.high &- (borrow ? 1 : 0)
        count &-= other.count
    }

    private mutating func add(_ record: (high: UInt64, low: UInt64), count more: UInt64) {
        let (sum, carry) = low.addingReportingOverflow(record.low)
        low = sum
        high = high &+ record.high &+ (carry ? 1 : 0)
        count &+= more
    }

    /// The key's hash seeds the value's, so that bytes can't move between the two.
    private static func hash(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
        let keyHash = flotilla_hash128(key.baseAddress, key.count, UInt64(key.count))
        let valueHash = flotilla_hash128(value.baseAddress, value.count, keyHash.low ^ keyHash.high)
        return (valueHash.high &+ keyHash.high, valueHash.low ^ keyHash.low)
    }

    /// 20 hexadecimal digits would hide the count; the count comes first, then 32 digits.
    public var description: String {
        "\(count):" + Self.hex(high) + Self.hex(low)
    }

    /// Reads what `description` writes.
    public init?(_ text: String) {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let count = UInt64(parts[0]), parts[1].count == 32,
            let high = UInt64(parts[1].prefix(16), radix: 16), let low = UInt64(parts[1].suffix(16), radix: 16)
        else { return nil }
        self.init(count: count, high: high, low: low)
    }

    private static func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// CRC-32C (Castagnoli), as `docs/formats.md` uses it.
public func crc32c(_ bytes: UnsafeRawBufferPointer, continuing seed: UInt32 = 0) -> UInt32 {
    flotilla_crc32c(seed, bytes.baseAddress, bytes.count)
}

/// CRC-32C (Castagnoli) of an array.
public func crc32c(_ bytes: [UInt8], continuing seed: UInt32 = 0) -> UInt32 {
    bytes.withUnsafeBytes { crc32c($0, continuing: seed) }
}

extension ReadView {
    /// The fingerprint of a whole family, by reading it.
    public func contentHash(of family: FamilyID) throws(EngineError) -> ContentHash {
        var hash = ContentHash()
        try scan(family) { key, value in
            hash.add(key: key, value: value)
            return true
        }
        return hash
    }
}
