import Engines
import Testing

/// The engine in memory shows damage as the others do: a row that can't be trusted is not shown.
@Suite struct MemoryDamageTests {
    private let family = FamilyID(7)

    private func engine(_ keys: ClosedRange<UInt8>) throws -> MemoryEngine {
        let engine = MemoryEngine()
        try engine.createFamily(family)
        var batch = WriteBatch()
        for key in keys { batch.put(family, key: [key], value: [key]) }
        try engine.write(batch, durability: .synced)
        return engine
    }

    private func keys(_ view: any ReadSnapshot) throws(EngineError) -> [[UInt8]] {
        var keys: [[UInt8]] = []
        try view.scan(family) { key, _ in
            keys.append(Array(key))
            return true
        }
        return keys
    }

    @Test func aDamagedRowIsNotShown() throws {
        let engine = try engine(1...3)
        let before = try engine.snapshot()
        engine.damage(family, key: [2])
        #expect(engine.damagedCount == 1)
        let view = try engine.snapshot()
        #expect(try view.get(family, key: [1]) == [1])
        #expect(throws: EngineError.self) { try view.get(family, key: [2]) }
        #expect(throws: EngineError.self) { try keys(view) }
        #expect(try keys(engine.undamagedSnapshot()) == [[1], [2], [3]])
        #expect(try keys(before) == [[1], [2], [3]])
    }

    @Test func whatIsWrittenAnewOrDeletedIsWhole() throws {
        for change in 0..<4 {
            let engine = try engine(1...3)
            engine.damage(family, key: [2])
            var batch = WriteBatch()
            switch change {
            case 0: batch.put(family, key: [2], value: [9])
            case 1: batch.delete(family, key: [2])
            case 2: batch.deleteRange(family, from: [2], to: [3])
            default: batch.deleteRange(family, from: [1], to: nil)
            }
            try engine.write(batch, durability: .synced)
            #expect(engine.damagedCount == 0, "change \(change)")
            #expect(throws: Never.self) { try keys(engine.snapshot()) }
        }
        let engine = try engine(1...3)
        engine.damage(family, key: [2])
        var batch = WriteBatch()
        batch.put(family, key: [1], value: [9])
        batch.deleteRange(family, from: [3], to: [9])
        try engine.write(batch, durability: .synced)
        #expect(engine.damagedCount == 1, "its neighbours don't mend it")
        try engine.dropFamily(family)
        #expect(engine.damagedCount == 0)
    }
}
