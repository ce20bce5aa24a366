import EngineFaults
import Engines
import Foundation

/// Fills the disk, looks, makes room by removing `ballast`, and goes on: first in the open engine, then, with the disk
/// full once more and `ballast`2 removed, after reopening. One line: "right …" or "broken …".
func fill(_ kind: EngineKind, _ directory: String, seed: UInt64, ballast: String) -> String {
    let batches = NumberedBatches(seed: seed)
    var stage = "opening"
    do {
        var engine = try kind.open(directory)
        for family in NumberedBatches.lasting + [passing] { try engine.createFamily(family) }
        var promises = Promises()
        promises.isReady = true

        stage = "filling"
        var last = try writeUntilFull(engine, batches, from: 1, &promises)
        let first = last
        try expect(batches.check(engine, promises), last, "full, in the open engine")
        // Trying again leaves nothing either, unless the engine has found room meanwhile.
        for _ in 0..<3 { last = try writeUntilFull(engine, batches, from: last + 1, &promises) }
        try expect(batches.check(engine, promises), last, "full, after more failures")

        stage = "with room again"
        try FileManager.default.removeItem(atPath: ballast)
        for number in last + 1...last + 20 { try engine.write(batches.batch(number), durability: .synced) }
        last += 20
        promises.head = last
        try expect(batches.check(engine, promises), last, "with room again, in the open engine")
        try engine.close()
        engine = try kind.open(directory)
        try expect(batches.check(engine, promises), last, "with room again, reopened")

        // Once more, and closed while the disk is full; what was written last goes with its family.
        stage = "the second time"
        last = try writeUntilFull(engine, batches, from: last + 1, &promises)
        let second = last
        let isDropped = try dropWhileFull(engine)
        do throws(EngineError) { try engine.close() } catch {
            guard case .noSpace = error else { throw BrokenRule("closing while full: \(error)") }
        }
        let full = try reopenWhileFull(kind, directory, batches, promises, last: last)
        stage = "with room again, the second time"
        try FileManager.default.removeItem(atPath: "\(ballast)2")
        for _ in 0..<3 {
            engine = try kind.open(directory)
            if isDropped, try engine.families().contains(passing) { throw BrokenRule("\(passing) was dropped") }
            _ = try batches.check(engine, promises)
            try engine.close()
        }
        engine = try kind.open(directory)
        last = try batches.check(engine, promises)
        for number in last + 1...last + 20 { try engine.write(batches.batch(number), durability: .synced) }
        promises.head = last + 20
        try expect(batches.check(engine, promises), last + 20, "after the second time")
        try engine.close()
        return "right: full after \(first) and \(second) batches, \(full)"
    } catch { return "broken \(stage): \(oneLine(error))" }
}

/// A family that is dropped while the disk is full.
private let passing = FamilyID(50)

/// Rows that fit no more, or just fit, and then the drop of their family, which may need room.
private func dropWhileFull(_ engine: any StorageEngine) throws -> Bool {
    var small = WriteBatch()
    small.put(passing, key: [1], value: [1])
    do throws(EngineError) {
        try engine.write(small, durability: .synced)
    } catch {
        guard case .noSpace = error else { throw BrokenRule("a small row on a full disk: \(error)") }
    }
    do throws(EngineError) {
        try engine.dropFamily(passing)
        return true
    } catch {
        guard case .noSpace = error else { throw BrokenRule("a drop on a full disk: \(error)") }
        return false
    }
}

/// An engine may need room to open. If it doesn't, everything synced must be there.
private func reopenWhileFull(
    _ kind: EngineKind, _ directory: String, _ batches: NumberedBatches, _ promises: Promises, last: Int
) throws -> String {
    let engine: any StorageEngine
    do throws(EngineError) { engine = try kind.open(directory) } catch {
        guard case .noSpace = error else { throw BrokenRule("opening while full: \(error)") }
        return "refuses to open while full"
    }
    let head = try batches.check(engine, promises)
    if head > last { throw BrokenRule("reopened while full: batch \(head) had been refused") }
    try? engine.close()
    return "opens while full"
}

/// Returns the last batch that was taken. The one that found no room left nothing.
private func writeUntilFull(
    _ engine: any StorageEngine, _ batches: NumberedBatches, from first: Int, _ promises: inout Promises
) throws -> Int {
    for number in first..<first + 1_000_000 {
        do throws(EngineError) {
            try engine.write(batches.batch(number), durability: batches.durability(number))
        } catch {
            guard case .noSpace = error else { throw BrokenRule("batch \(number) on a full disk: \(error)") }
            return number - 1
        }
        if let promise = batches.promise(number) { promises.hear(promise[...]) }
    }
    throw BrokenRule("the disk never filled up")
}

private func expect(_ head: Int, _ expected: Int, _ place: String) throws {
    if head != expected {
        throw BrokenRule("\(place): batch \(expected) was taken, batch \(head) is the last one there")
    }
}
