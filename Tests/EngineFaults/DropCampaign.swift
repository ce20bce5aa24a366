public import Engines
internal import Foundation

/// Fills a shard and drops it, over and over, as moves do: the directory must not grow for ever.
public struct DropCampaign {
    private static let valueBytes = 1024
    private static let poolBytes = 1 << 20

    let kind: EngineKind
    let shardBytes: Int

    public init(_ kind: EngineKind, shardBytes: Int) {
        self.kind = kind
        self.shardBytes = shardBytes
    }

    /// Bytes that the directory occupies after each cycle.
    public func run(cycles: Int) throws -> [UInt64] {
        let directory = "\(NSTemporaryDirectory())/flotilla-drop-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let engine = try kind.open(directory)
        defer { try? engine.close() }
        var random = SeededRandom(seed: 11)
        // What no engine can compress; values are pieces of it.
        let pool = (0..<Self.poolBytes / 8).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
        var sizes: [UInt64] = []
        for cycle in 0..<cycles {
            let family = FamilyID(UInt64(cycle) + 2)
            try engine.createFamily(family)
            var written = 0
            var number: UInt64 = 0
            while written < shardBytes {
                var batch = WriteBatch()
                while batch.byteCount < 1 << 20 {
                    // Neither in order nor the same each time, as the keys of a shard.
                    number += 1
                    let key = withUnsafeBytes(of: (number &* 0x9e37_79b9_7f4a_7c15).bigEndian) { Array($0) }
                    let at = Int(random.next() % UInt64(Self.poolBytes - Self.valueBytes))
                    batch.put(family, key: key, value: Array(pool[at..<at + Self.valueBytes]))
                }
                written += batch.byteCount
                try engine.write(batch, durability: .buffered)
            }
            try engine.sync()
            try engine.dropFamily(family)
            while try engine.reclaim() {}
            sizes.append(try engine.statistics().storageBytes)
        }
        return sizes
    }
}
