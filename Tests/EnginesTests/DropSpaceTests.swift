import EngineFaults
import Engines
import Testing

/// The space of dropped families is used again. The whole, 100 cycles of 64 MiB, is in scripts/durability.
@Suite struct DropSpaceTests {
    /// Each drop of 64 MiB comes in the middle of a flush on RocksDB, whose output nobody wants then.
    @Test(arguments: [(EngineKind.rocksdb, 64, 16), (.lmdb, 8, 6), (.sqlite, 8, 6)])
    func aDirectoryDoesNotGrowWithEachDroppedFamily(kind: EngineKind, mebibytes: Int, cycles: Int) throws {
        let sizes = try DropCampaign(kind, shardBytes: mebibytes << 20).run(cycles: cycles)
        // What RocksDB's threads have removed so far is more or less one shard.
        let most = max(1.5 * Double(sizes[..<3].max()!), Double(3 * mebibytes << 20))
        #expect(Double(sizes[cycles - 1]) <= most, "\(sizes)")
    }
}
