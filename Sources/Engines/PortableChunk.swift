/// The portable chunk: a sorted run of records that every engine can read (docs/formats.md).
///
///     "FCK1" | record count u32 | body length u32 | CRC-32C of the body u32 | body
///     body: for each record varint key length, varint value length, key, value
public enum PortableChunk {
    static let magic: [UInt8] = Array("FCK1".utf8)
    static let headerBytes = 16

    /// Shows every record in order, after the checksum has been verified. Garbage of any kind is `corruption`.
    public static func decode(
        _ bytes: [UInt8],
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(EngineError) -> Void
    ) throws(EngineError) {
        let damaged = EngineError.corruption(place: "portable chunk")
        var failure: EngineError?
        bytes.withUnsafeBytes { all in
            do throws(EngineError) { try decode(all, damaged, body) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    static func decode(
        _ all: UnsafeRawBufferPointer, _ damaged: EngineError,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(EngineError) -> Void
    ) throws(EngineError) {
        guard all.count >= headerBytes, all.prefix(4).elementsEqual(magic) else { throw damaged }
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: all.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        let records = UnsafeRawBufferPointer(rebasing: all[headerBytes...])
        guard records.count == Int(word(8)), crc32c(records) == word(12) else { throw damaged }
        var offset = 0
        func varint() throws(EngineError) -> Int {
            var value = 0
            var shift = 0
            while offset < records.count, shift <= 28 {
                let byte = records[offset]
                offset += 1
                value |= Int(byte & 0x7f) << shift
                if byte & 0x80 == 0 { return value }
                shift += 7
            }
            throw damaged
        }
        for _ in 0..<word(4) {
            let keyCount = try varint()
            let valueCount = try varint()
            guard keyCount > 0, keyCount <= EngineLimits.keyBytesMax, keyCount + valueCount <= records.count - offset
            else { throw damaged }
            let key = UnsafeRawBufferPointer(rebasing: records[offset..<offset + keyCount])
            let value = UnsafeRawBufferPointer(rebasing: records[offset + keyCount..<offset + keyCount + valueCount])
            offset += keyCount + valueCount
            try body(key, value)
        }
        guard offset == records.count else { throw damaged }
    }
}

/// Fills a portable chunk record by record.
public struct ChunkBuilder: Sendable {
    private var bytes: [UInt8]
    public private(set) var count: UInt32 = 0

    public init() {
        bytes = PortableChunk.magic + [UInt8](repeating: 0, count: PortableChunk.headerBytes - 4)
    }

    /// Bytes of the chunk so far.
    public var byteCount: Int { bytes.count }
    public var isEmpty: Bool { count == 0 }

    public mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        varint(key.count)
        varint(value.count)
        bytes.append(contentsOf: key)
        bytes.append(contentsOf: value)
        count += 1
    }

    private mutating func varint(_ value: Int) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The finished chunk; the builder begins a new one.
    public mutating func finish() -> [UInt8] {
        let crc = bytes.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[PortableChunk.headerBytes...])) }
        func store(_ value: UInt32, at offset: Int) {
            withUnsafeBytes(of: value.littleEndian) { for (at, byte) in $0.enumerated() { bytes[offset + at] = byte } }
        }
        store(count, at: 4)
        store(UInt32(bytes.count - PortableChunk.headerBytes), at: 8)
        store(crc, at: 12)
        defer { self = ChunkBuilder() }
        return bytes
    }
}
