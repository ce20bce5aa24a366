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
    /// More room than this isn't kept for the next chunk.
    private static let keptBytesMax = 4 << 20
    /// Of a varint.
    private static let lengthBytesMax = 5
    private static let emptyHeader =
        PortableChunk.magic + [UInt8](repeating: 0, count: PortableChunk.headerBytes - PortableChunk.magic.count)

    /// The chunk so far, and behind it room, which is made once for all chunks.
    private var room = Self.emptyHeader
    /// Bytes of the chunk so far.
    public private(set) var byteCount = PortableChunk.headerBytes
    public private(set) var count: UInt32 = 0

    public init() {}

    public var isEmpty: Bool { count == 0 }

    public mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        let needed = byteCount + 2 * Self.lengthBytesMax + key.count + value.count
        if room.count < needed { room += repeatElement(0, count: max(needed, 2 * room.count) - room.count) }
        let begin = byteCount
        byteCount = room.withUnsafeMutableBytes { room in
            var at = begin
            Self.varint(key.count, room, &at)
            Self.varint(value.count, room, &at)
            Self.copy(key, room, &at)
            Self.copy(value, room, &at)
            return at
        }
        count += 1
    }

    @inline(__always)
    private static func varint(_ value: Int, _ room: UnsafeMutableRawBufferPointer, _ at: inout Int) {
        var rest = value
        while rest >= 0x80 {
            room[at] = UInt8(rest & 0x7f) | 0x80
            at += 1
            rest >>= 7
        }
        room[at] = UInt8(rest)
        at += 1
    }

    @inline(__always)
    private static func copy(_ bytes: UnsafeRawBufferPointer, _ room: UnsafeMutableRawBufferPointer, _ at: inout Int) {
        UnsafeMutableRawBufferPointer(rebasing: room[at..<at + bytes.count]).copyMemory(from: bytes)
        at += bytes.count
    }

    /// The finished chunk; the builder begins a new one.
    public mutating func finish() -> [UInt8] {
        var chunk = Array(room[..<byteCount])
        let crc = chunk.withUnsafeBytes { crc32c(UnsafeRawBufferPointer(rebasing: $0[PortableChunk.headerBytes...])) }
        func store(_ value: UInt32, at offset: Int) {
            withUnsafeBytes(of: value.littleEndian) { for (at, byte) in $0.enumerated() { chunk[offset + at] = byte } }
        }
        store(count, at: 4)
        store(UInt32(chunk.count - PortableChunk.headerBytes), at: 8)
        store(crc, at: 12)
        if room.count > Self.keptBytesMax { room = Self.emptyHeader }
        byteCount = PortableChunk.headerBytes
        count = 0
        return chunk
    }
}
