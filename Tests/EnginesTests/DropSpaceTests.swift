import EngineFaults
import Engines
import Testing

/// The space of dropped families is used again. The whole, 100 cycles of 64 MiB, is in scripts/durability.
@Suite struct DropSpaceTests {
    @Test(arguments: [(EngineKind.rocksdb, 64), (.lmdb, 8), (.sqlite, 8)])
    func aDirectoryDoesNotGrowWithEachDroppedFamily(kind: EngineKind, mebibytes: Int) throws {
        let sizes = try DropCampaign(kind, shardBytes: mebibytes << 20).run(cycles: 6)
        #expect(Double(sizes[5]) <= 1.5 * Double(sizes[2]), "\(sizes)")
    }
}
