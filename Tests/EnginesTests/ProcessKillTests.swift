import EngineFaults
import Engines
import Foundation
import Testing

/// kill -9 in the middle of writing: every synced batch is there, what survives is a prefix, no half batch.
///
/// scripts/durability runs many more rounds.
@Suite(.serialized) struct ProcessKillTests {
    @Test(arguments: EngineKind.durable) func everySyncedBatchSurvivesKill(kind: EngineKind) throws {
        for round in 0..<6 { try ProcessKillCampaign(kind).round(round) }
    }
}

func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    try withScratchDirectory(body)
}
