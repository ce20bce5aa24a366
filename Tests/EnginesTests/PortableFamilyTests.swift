import EngineFaults
import Engines
import Foundation
import Testing

/// An exported family, read in place, shows what the engine shows.
@Suite struct PortableFamilyTests {
    private let family = FamilyID(1)

    @Test func cursorsAndGetsAgreeWithTheEngine() throws {
        try withExport(records: 900, valueBytes: 5000) { view, exported in
            #expect(exported.manifest.files.count > 3)
            var random = SeededRandom(seed: 7)
            func bound() -> [UInt8] { key(Int(random.next() % 1000)) + (random.next() % 3 == 0 ? [0] : []) }
            for _ in 0..<200 {
                let one = bound()
                let (mine, theirs) = (try exported.get(one), try view.get(family, key: one))
                #expect(mine == theirs)
                let lower = random.next() % 5 == 0 ? [] : bound()
                let upper = random.next() % 5 == 0 ? nil : bound()
                for reverse in [false, true] {
                    let mine = try exported.cursor(lower: lower, upper: upper, reverse: reverse)
                    let theirs = try view.cursor(family, lower: lower, upper: upper, reverse: reverse)
                    // The ends are what can go wrong.
                    for _ in 0..<300 {
                        let (found, wanted) = (
                            try mine.next { key, _ in Array(key) }, try theirs.next { key, _ in Array(key) }
                        )
                        #expect(found == wanted)
                        if wanted == nil { break }
                    }
                }
            }
        }
    }

    @Test func anEmptyFamilyHasNothingToShow() throws {
        try withExport(records: 0, valueBytes: 1) { _, exported in
            let absent = try exported.get(key(1))
            #expect(absent == nil)
            for reverse in [false, true] {
                let cursor = try exported.cursor(lower: [], upper: nil, reverse: reverse)
                let first: Bool? = try cursor.next { _, _ in true }
                #expect(first == nil)
            }
        }
    }

    @Test func aDamagedChunkIsNotShown() throws {
        try withExport(records: 300, valueBytes: 5000) { _, exported in
            let path = "\(directory)/0.chunk"
            var bytes = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
            bytes[bytes.count / 2] ^= 1
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            #expect(throws: EngineError.self) { _ = try exported.get(key(0)) }
            let cursor = try exported.cursor(lower: [], upper: nil, reverse: true)
            #expect(throws: EngineError.self) { while try cursor.next({ _, _ in true }) != nil {} }
        }
    }

    private let directory = FileManager.default.temporaryDirectory.path + "/portable-\(UUID().uuidString)"

    private func key(_ number: Int) -> [UInt8] { Array(String(format: "k%06d", number).utf8) }

    private func withExport(
        records: Int, valueBytes: Int, _ body: (any ReadSnapshot, PortableFamily) throws -> Void
    ) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let engine = MemoryEngine()
        try engine.createFamily(family)
        var batch = WriteBatch()
        for number in 0..<records {
            batch.put(family, key: key(number), value: [UInt8](repeating: UInt8(number % 251), count: valueBytes))
        }
        try engine.write(batch, durability: .synced)
        let view = try engine.snapshot()
        defer { view.close() }
        let manifest = try engine.export(family, from: view, format: ChunkFormat.portable, to: directory)
        try body(view, try PortableFamily(manifest, in: directory))
    }
}
