/// Appends fixed-width little-endian numbers, varints and length-prefixed bytes (docs/formats.md).
public struct ByteWriter: Sendable {
    public var bytes: [UInt8] = []

    public init(reserving capacity: Int = 0) {
        if capacity > 0 { bytes.reserveCapacity(capacity) }
    }

    public mutating func byte(_ value: UInt8) { bytes.append(value) }

    public mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    public mutating func varint(_ value: Int) { varint(UInt64(value)) }

    public mutating func fixed64(_ value: UInt64) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    public mutating func fixed32(_ value: UInt32) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Length, then the bytes.
    public mutating func blob(_ value: some Collection<UInt8>) {
        varint(value.count)
        bytes.append(contentsOf: value)
    }

    public mutating func string(_ value: String) { blob(Array(value.utf8)) }

    public mutating func optional<Value>(_ value: Value?, _ write: (inout ByteWriter, Value) -> Void) {
        guard let value else { return byte(0) }
        byte(1)
        write(&self, value)
    }
}

/// The bytes are not what the format says; `place` names the structure.
public struct CodingError: Error, Equatable, Sendable, CustomStringConvertible {
    public var place: String
    public init(_ place: String) { self.place = place }
    public var description: String { "malformed \(place)" }
}

/// Reads what `ByteWriter` wrote; every read checks its bounds.
public struct ByteReader: Sendable {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let place: String

    public init(_ bytes: some Collection<UInt8>, place: String) {
        let all = ArraySlice(bytes)
        self.bytes = all
        self.position = all.startIndex
        self.place = place
    }

    public init(_ bytes: ArraySlice<UInt8>, place: String) {
        self.bytes = bytes
        self.position = bytes.startIndex
        self.place = place
    }

    public var isAtEnd: Bool { position == bytes.endIndex }
    public var remaining: Int { bytes.endIndex - position }

    public mutating func byte() throws(CodingError) -> UInt8 {
        guard position < bytes.endIndex else { throw CodingError(place) }
        defer { position += 1 }
        return bytes[position]
    }

    public mutating func varint() throws(CodingError) -> UInt64 {
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
    public mutating func count() throws(CodingError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining) else { throw CodingError(place) }
        return Int(value)
    }

    public mutating func fixed64() throws(CodingError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 8) { value |= UInt64(try byte()) << shift }
        return value
    }

    public mutating func fixed32() throws(CodingError) -> UInt32 {
        var value: UInt32 = 0
        for shift in stride(from: UInt32(0), to: 32, by: 8) { value |= UInt32(try byte()) << shift }
        return value
    }

    public mutating func blob() throws(CodingError) -> [UInt8] {
        let count = try count()
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    public mutating func string() throws(CodingError) -> String {
        guard let text = String(validating: try blob(), as: UTF8.self) else { throw CodingError(place) }
        return text
    }

    public mutating func optional<Value>(
        _ read: (inout ByteReader) throws(CodingError) -> Value
    ) throws(CodingError) -> Value? {
        switch try byte() {
        case 0: return nil
        case 1: return try read(&self)
        default: throw CodingError(place)
        }
    }

    /// Nothing may follow.
    public func finish() throws(CodingError) {
        if !isAtEnd { throw CodingError(place) }
    }
}
