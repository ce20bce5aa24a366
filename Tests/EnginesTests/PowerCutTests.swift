import EngineFaults
import Engines
import Testing

/// A power cut anywhere, with any part of what nobody synced on the disk: the directory opens, every synced batch is
/// there, what survives is a prefix, no half batch, and writing goes on.
///
/// scripts/durability looks at many more states.
@Suite(.serialized) struct PowerCutTests {
    @Test(arguments: EngineKind.durable) func everySyncedBatchSurvivesAPowerCut(kind: EngineKind) throws {
        let report = try PowerCutCampaign(kind, batches: 40).run(seeds: 1..<2, statesPerLife: 15)
        let broken = report.failures.filter { !$0.isRefusal }
        #expect(broken.isEmpty, "\(broken.map(\.description).joined(separator: "\n"))")
        let refused = report.failures.filter { $0.isRefusal }
        #expect(refused.isEmpty, "\(refused.map(\.description).joined(separator: "\n"))")
        #expect(report.states == 30)
        // Written through maps, and made anew after a crash: SQLite's index of its log and LMDB's table of readers.
        // RocksDB writes its LOG for people through stdio.
        let unrecorded = report.unrecorded.filter {
            !["engine/engine.db-shm", "engine/lock.mdb"].contains($0) && !$0.hasPrefix("engine/LOG")
        }
        #expect(unrecorded.isEmpty, "changed behind the recorder's back: \(unrecorded)")
    }

    @Test(arguments: EngineKind.durable) func whatAnEngineShowsAfterOpeningIsDurable(kind: EngineKind) throws {
        let report = try PowerCutCampaign(kind, batches: 40).runReopened(seeds: 2..<3, killsPerLife: 8)
        #expect(report.failures.isEmpty, "\(report.failures.map(\.description).joined(separator: "\n"))")
        #expect(report.states == 16)
        let lying = try PowerCutCampaign(kind, batches: 40, isDiskLying: true).runReopened(
            seeds: 1..<2, killsPerLife: 2)
        #expect(!lying.failures.isEmpty, "a disk that drops syncs went unnoticed")
    }

    @Test(arguments: EngineKind.durable) func aDiskThatDropsSyncsIsFoundOut(kind: EngineKind) throws {
        let report = try PowerCutCampaign(kind, batches: 40, isDiskLying: true).run(seeds: 1..<2, statesPerLife: 8)
        #expect(!report.failures.isEmpty, "\(report)")
    }
}
