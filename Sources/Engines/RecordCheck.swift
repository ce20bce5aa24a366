/// The checksum of a record in an engine that has none of its own: CRC-32C over the key's length, key and value.
///
/// It covers the key too, so that a value which lands under another key is found out.
package enum RecordCheck {
    package static let bytes = 4

    package static func checksum(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> UInt32 {
        crc32c(value, continuing: crc32c(key, continuing: UInt32(truncatingIfNeeded: key.count)))
    }

    /// Writes the value and, behind it, its checksum.
    package static func seal(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer
    ) {
        if value.count > 0 { room.copyMemory(from: value) }
        room.storeBytes(of: checksum(key, value).littleEndian, toByteOffset: value.count, as: UInt32.self)
    }

    /// The value of a sealed record, or nothing if it is damaged.
    package static func open(_ key: UnsafeRawBufferPointer, _ sealed: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer?
    {
        guard sealed.count >= bytes else { return nil }
        let value = UnsafeRawBufferPointer(rebasing: sealed[..<(sealed.count - bytes)])
        let stored = UInt32(littleEndian: sealed.loadUnaligned(fromByteOffset: value.count, as: UInt32.self))
        return stored == checksum(key, value) ? value : nil
    }
}

/// A key as an error names it: hexadecimal, cut.
func describe(_ key: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    let shown = key.prefix(24).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    return String(shown) + (key.count > 24 ? "… (\(key.count) bytes)" : "")
}
