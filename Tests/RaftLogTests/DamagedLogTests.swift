import Engines
import Foundation
import RaftLog
import Testing

/// A bit that flips in a stored log entry is found on every engine: by the engine's check or by the entry's own.
@Suite struct DamagedLogTests {
    @Test(arguments: EngineKind.durable) func aFlippedBitInAStoredEntryIsFoundOut(kind: EngineKind) throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "flotilla-log-\(UUID().uuidString)"
        )
        .path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let layout = GroupLayout(gid: 7, log: FamilyID(2), meta: FamilyID(3))
        // Nothing compresses it, so its bytes are found in the file.
        var random = SystemRandomNumberGenerator()
        let payload = (0..<256).map { _ in UInt8.random(in: 0...255, using: &random) }
        do {
            let engine = try kind.open(directory)
            for family in [layout.log, layout.meta] { try engine.createFamily(family) }
            var batch = WriteBatch()
            for index in LogIndex(1)...5 {
                let entry = Entry(
                    index: index, term: 3, kind: .command, stamp: 0,
                    payload: index == 3 ? payload : Array(repeating: 1, count: 256))
                batch.put(layout.log, key: GroupLayout.logKey(index), value: layout.logValue(entry))
            }
            try engine.write(batch, durability: .synced)
            try engine.compact()
            try engine.close()
        }
        #expect(try read(kind, directory, layout) == 5)
        var flips = 0
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
            let path = "\(directory)/\(name)"
            let original = try Data(contentsOf: URL(fileURLWithPath: path))
            guard let place = original.range(of: Data(payload)) else { continue }
            for offset in [0, 17, 255] {
                var damaged = original
                damaged[place.lowerBound + offset] ^= 1 << UInt8(offset % 8)
                try damaged.write(to: URL(fileURLWithPath: path))
                flips += 1
                do {
                    let count = try read(kind, directory, layout)
                    Issue.record("\(name), byte \(place.lowerBound + offset): \(count) entries were read")
                } catch let error as EngineError {
                    guard case .corruption = error else { throw error }
                }
                try original.write(to: URL(fileURLWithPath: path))
            }
        }
        #expect(flips > 0, "the entry lies in no file as it was written")
    }

    /// A leader that took a hole for a compacted log would ask for the same entry again and again.
    @Test func aMissingEntryIsToldFromACompactedOne() throws {
        let layout = GroupLayout(gid: 7, log: FamilyID(2), meta: FamilyID(3))
        let engine = MemoryEngine()
        for family in [layout.log, layout.meta] { try engine.createFamily(family) }
        var batch = WriteBatch()
        for index in LogIndex(1)...5 where index != 3 {
            let entry = Entry(index: index, term: 3, kind: .command, stamp: 0, payload: [1])
            batch.put(layout.log, key: GroupLayout.logKey(index), value: layout.logValue(entry))
        }
        try engine.write(batch, durability: .synced)
        func read(from lower: LogIndex) throws -> [LogIndex] {
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            return try layout.readEntries(from: lower, through: 5, bytesMax: .max, in: snapshot).map(\.index)
        }
        #expect(try read(from: 1) == [1, 2])
        let error = #expect(throws: EngineError.self) { _ = try read(from: 3) }
        #expect(error == .corruption(place: "log of group 7: entry 3 is missing"))
        // Not written yet.
        #expect(try read(from: 6) == [])
        batch.removeAll()
        batch.deleteRange(layout.log, from: GroupLayout.logKey(1), to: GroupLayout.logKey(4))
        try engine.write(batch, durability: .synced)
        #expect(try read(from: 3) == [])
        #expect(try read(from: 4) == [4, 5])
    }

    private func read(_ kind: EngineKind, _ directory: String, _ layout: GroupLayout) throws -> Int {
        let engine = try kind.open(directory, readOnly: true)
        defer { try? engine.close() }
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        return try layout.readEntries(from: 1, through: 5, bytesMax: .max, in: snapshot).count
    }
}
