// Every log entry, row and message passes through here, from many modules: the methods are inlinable, so that each of
// them is made for its caller's types.

/// Appends fixed-width little-endian numbers, varints and length-prefixed bytes (docs/formats.md).
public struct ByteWriter: Sendable {
    public var bytes: [UInt8] = []

    @inlinable public init(reserving capacity: Int = 0) {
        if capacity > 0 { bytes.reserveCapacity(capacity) }
    }

    @inlinable public mutating func byte(_ value: UInt8) { bytes.append(value) }

    @inlinable public mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    @inlinable public mutating func varint(_ value: Int) { varint(UInt64(value)) }

    @inlinable public mutating func fixed64(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    @inlinable public mutating func fixed32(_ value: UInt32) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Length, then the bytes.
    @inlinable public mutating func blob(_ value: some Collection<UInt8>) {
        varint(value.count)
        bytes.append(contentsOf: value)
    }

    @inlinable public mutating func string(_ value: String) { blob(value.utf8) }

    @inlinable public mutating func optional<Value>(_ value: Value?, _ write: (inout ByteWriter, Value) -> Void) {
        guard let value else { return byte(0) }
        byte(1)
        write(&self, value)
    }
}

/// The bytes are not what the format says; `place` names the structure.
public struct CodingError: Error, Equatable, Sendable, CustomStringConvertible {
    public var place: String
    @inlinable public init(_ place: String) { self.place = place }
    public var description: String { "malformed \(place)" }
}

/// Reads what `ByteWriter` wrote; every read checks its bounds.
public struct ByteReader: Sendable {
    @usableFromInline let bytes: ArraySlice<UInt8>
    @usableFromInline var position: Int
    @usableFromInline let place: String

    @inlinable public init(_ bytes: some Collection<UInt8>, place: String) {
        self.init(ArraySlice(bytes), place: place)
    }

    @inlinable public init(_ bytes: ArraySlice<UInt8>, place: String) {
        self.bytes = bytes
        self.position = bytes.startIndex
        self.place = place
    }

    @inlinable public var isAtEnd: Bool { position == bytes.endIndex }
    @inlinable public var remaining: Int { bytes.endIndex - position }

    @inlinable public mutating func byte() throws(CodingError) -> UInt8 {
        guard position < bytes.endIndex else { throw CodingError(place) }
        defer { position += 1 }
        return bytes[position]
    }

    @inlinable public mutating func varint() throws(CodingError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            if shift == 63, next > 1 { throw CodingError(place) }
            value |= UInt64(next & 0x7f) << shift
            if next & 0x80 == 0 { return value }
            shift += 7
            if shift > 63 { throw CodingError(place) }
        }
    }

    /// A count or length: bounded by what is left, so that damage can't ask for memory.
    @inlinable public mutating func count() throws(CodingError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining) else { throw CodingError(place) }
        return Int(value)
    }

    @inlinable public mutating func fixed64() throws(CodingError) -> UInt64 {
        UInt64(littleEndian: try number())
    }

    @inlinable public mutating func fixed32() throws(CodingError) -> UInt32 {
        UInt32(littleEndian: try number())
    }

    @inlinable mutating func number<Number: FixedWidthInteger>() throws(CodingError) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw CodingError(place) }
        let offset = position - bytes.startIndex
        position += size
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Number.self) }
    }

    @inlinable public mutating func blob() throws(CodingError) -> [UInt8] {
        let count = try count()
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    @inlinable public mutating func string() throws(CodingError) -> String {
        guard let text = String(validating: try blob(), as: UTF8.self) else { throw CodingError(place) }
        return text
    }

    @inlinable public mutating func optional<Value>(
        _ read: (inout ByteReader) throws(CodingError) -> Value
    ) throws(CodingError) -> Value? {
        switch try byte() {
        case 0: return nil
        case 1: return try read(&self)
        default: throw CodingError(place)
        }
    }

    /// Nothing may follow.
    @inlinable public func finish() throws(CodingError) {
        if !isAtEnd { throw CodingError(place) }
    }
}
