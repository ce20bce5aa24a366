/// Hash slots and shards.
///
/// A key's slot is CRC16/XMODEM(key or its {hash tag}) mod 16384, as in the Redis Cluster
/// specification; a shard is a contiguous run of slots.
public enum Slot {
    /// The slot of a key, 0..<16384.
    public static func of(_ key: some Collection<UInt8>) -> Int {
        Int(crc16(hashedPart(key))) % Limits.slotCount
    }

    /// The shard of a key, 0..<shardCount.
    public static func shard(of key: some Collection<UInt8>, shardCount: Int) -> ShardID {
        ShardID(clamping: of(key) * shardCount / Limits.slotCount)
    }

    /// The same for bytes in place: checks of whole shards ask for each key.
    public static func shard(of key: UnsafeRawBufferPointer, shardCount: Int) -> ShardID {
        let hashed = hashedPart(key)
        var crc: UInt16 = 0
        table.withUnsafeBufferPointer { table in
            for byte in hashed { crc = (crc << 8) ^ table[Int(UInt8(crc >> 8) ^ byte)] }
        }
        return ShardID(clamping: Int(crc) % Limits.slotCount * shardCount / Limits.slotCount)
    }

    /// The part between the first `{` and the next `}` if that is not empty, else the whole key.
    package static func hashedPart<Key: Collection<UInt8>>(_ key: Key) -> Key.SubSequence {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")) else { return key[...] }
        let start = key.index(after: open)
        guard let close = key[start...].firstIndex(of: UInt8(ascii: "}")), close > start else { return key[...] }
        return key[start..<close]
    }

    /// CRC16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
    package static func crc16(_ bytes: some Collection<UInt8>) -> UInt16 {
        var crc: UInt16 = 0
        for byte in bytes {
            crc = (crc << 8) ^ table[Int(UInt8(crc >> 8) ^ byte)]
        }
        return crc
    }

    private static let table: [UInt16] = (0..<256).map { index in
        var crc = UInt16(index) << 8
        for _ in 0..<8 {
            crc = crc & 0x8000 != 0 ? (crc << 1) ^ 0x1021 : crc << 1
        }
        return crc
    }
}
