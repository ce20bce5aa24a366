import Engines
import RaftLog
import Testing

/// Physical numbers are never used twice.
@Suite struct FamilyTableTests {
    @Test func aGroupKeepsItsFamilies() throws {
        let engine = MemoryEngine()
        let layout = try FamilyTable(engine: engine).layout(of: 7)
        let other = try FamilyTable(engine: engine).layout(of: 8)
        engine.crash(keepingUnsynced: 0)
        let again = try FamilyTable(engine: engine)
        #expect(try again.layout(of: 7) == layout)
        #expect(try again.layout(of: 8) == other)
        #expect(Set([layout.log, layout.meta, other.log, other.meta]).count == 4)
    }

    @Test func aNumberIsNeverHandedOutTwice() throws {
        let engine = MemoryEngine()
        var seen: Set<FamilyID> = []
        for round in 0..<5 {
            let table = try FamilyTable(engine: engine)
            try table.sweep(mapped: [])
            for _ in 0..<(round * 30 + 1) {
                let family = try table.take()
                #expect(seen.insert(family).inserted, "\(family) again")
                #expect(try engine.families().contains(family))
            }
            engine.crash(keepingUnsynced: 0)
        }
    }

    /// A reservation that failed for want of space is made again, not taken for granted.
    @Test func aNumberIsNotHandedOutBeforeItsReservationIsOnDisk() throws {
        let engine = MemoryEngine()
        let table = try FamilyTable(engine: engine)
        engine.failNextWrite(.noSpace(place: "disk"))
        #expect(throws: EngineError.self) { _ = try table.take() }
        let family = try table.take()
        engine.crash(keepingUnsynced: 0)
        let again = try FamilyTable(engine: engine)
        for _ in 0..<5 { #expect(try again.take() != family) }
    }

    @Test func stockedFamiliesAreTakenFirst() throws {
        let engine = MemoryEngine()
        let table = try FamilyTable(engine: engine)
        try table.stock(3)
        let before = try engine.families()
        for _ in 0..<3 { #expect(before.contains(try table.take())) }
        #expect(try engine.families() == before)
    }

    @Test func sweepingRemovesWhatNothingMaps() throws {
        let engine = MemoryEngine()
        let table = try FamilyTable(engine: engine)
        let kept = try table.take()
        _ = try table.take()
        try table.sweep(mapped: [kept])
        #expect(try engine.families() == [FamilyTable.node, kept])
    }
}
