import Engines
import Testing

@Suite struct FamilyTurnoverTests {
    /// LMDB has 8192 handles for families; moves and snapshots use up new families for as long as a node lives.
    @Test func handlesOfDroppedFamiliesAreUsedAgain() throws {
        try withTemporaryDirectory { path in
            let engine = try EngineKind.lmdb.open(path)
            for number in UInt64(2)...8400 {
                try engine.createFamily(FamilyID(number))
                try engine.dropFamily(FamilyID(number))
            }
            #expect(try engine.families().isEmpty)
            try engine.close()
        }
    }
}
