/// A big-endian number, so that keys sort by it.
@inlinable public func bigEndianBytes(_ value: UInt64) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

/// Reads what `bigEndianBytes` wrote, from the first eight bytes.
@inlinable public func bigEndianNumber(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
    guard bytes.count >= 8 else { return nil }
    return UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
}

/// The first key after every key that begins with `prefix`; `nil` if there is none.
public func successor(ofPrefix prefix: [UInt8]) -> [UInt8]? {
    var bytes = prefix
    while let last = bytes.last {
        if last < 0xff {
            bytes[bytes.count - 1] = last + 1
            return bytes
        }
        bytes.removeLast()
    }
    return nil
}

extension FixedWidthInteger {
    /// The sum, or the greatest number if it would go beyond that: for numbers from outside, of which a sum must not trap.
    @inlinable package func addingClamped(_ other: Self) -> Self {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? .max : sum
    }
}
