internal import Engines
internal import Foundation

extension EngineConformance {
    static let movementChecks: [Check] = [
        Check("anEmptyFamilyCanBeExported") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.createFamily(Families.second)
                for format in engine.formats {
                    let directory = try bench.directory("export-\(format)")
                    let manifest = try engine.export(Families.first, format, directory)
                    try expectEqual(manifest.keys, 0, "keys")
                    try expectEqual(manifest.firstKey, nil, "first key")
                    try engine.ingest(manifest, from: directory, into: Families.second)
                    try expectEqual(try engine.pairs(Families.second), [], "pairs")
                }
            }
        },
        Check("anExportShowsTheMomentOfItsSnapshot") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                for (number, format) in engine.formats.enumerated() {
                    let before = try engine.pairs(family)
                    let hash = try engine.contentHash(family)
                    let snapshot = try engine.snapshot()
                    try engine.put(family, bytes("later"), bytes("v"))
                    try engine.deleteRange(family, [0], [4])
                    let directory = try bench.directory("export-\(format)")
                    let manifest = try engine.export(family, from: snapshot, format: format, to: directory)
                    snapshot.close()
                    try expectEqual(manifest.contentHash, hash.description, "content hash")
                    try expectEqual(manifest.keys, UInt64(before.count), "keys")
                    try expectEqual(manifest.firstKey, before.first?.key, "first key")
                    try expectEqual(manifest.lastKey, before.last?.key, "last key")
                    let target = FamilyID(50 + UInt64(number))
                    try engine.createFamily(target)
                    try engine.ingest(manifest, from: directory, into: target)
                    try expectEqual(try engine.pairs(target), before, "pairs after loading")
                }
            }
        },
        Check("exportingAMissingFamilyIsRefused") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let directory = try bench.directory("export")
                try expectRefusal("exporting a missing family") {
                    _ = try engine.export(Families.absent, from: snapshot, format: ChunkFormat.portable, to: directory)
                } matches: {
                    $0 == .familyMissing(Families.absent)
                }
                try expectRefusal("an unknown format") {
                    _ = try engine.export(Families.first, from: snapshot, format: "no such format", to: directory)
                } matches: {
                    if case .unsupported = $0 { true } else { false }
                }
            }
        },
        Check("aDamagedExportIsRefusedAndTheFamilyIsLeftEmpty") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                var random = SeededGenerator(seed: 3)
                var batch = WriteBatch()
                for number in 0..<300 {
                    batch.put(Families.first, key: bytes("key \(number)"), value: random.bytes(8_000))
                }
                try engine.write(batch, durability: .buffered)
                for format in engine.formats {
                    for damage in Damage.allCases {
                        let directory = try bench.directory("damaged-\(format)-\(damage)")
                        var manifest = try engine.export(Families.first, format, directory)
                        try expect(
                            manifest.files.count > 1 || format != ChunkFormat.portable, "2.4 MB fit into one chunk")
                        try damage.inflict(on: &manifest, in: directory)
                        let target = FamilyID(60)
                        try engine.createFamily(target)
                        var wasTaken = true
                        do { try engine.ingest(manifest, from: directory, into: target) } catch { wasTaken = false }
                        try expect(!wasTaken, "\(format): \(damage) was not found")
                        try expectEqual(try engine.pairs(target), [], "\(format): pairs after \(damage)")
                        try engine.put(target, bytes("k"), bytes("v"))
                        try engine.dropFamily(target)
                    }
                }
            }
        },
        Check("aCheckpointIsAWholeEngine") { bench in
            guard bench.suite.keepsData else { return }
            try bench.withHalfBuffered { engine, family, _ in
                let before = try engine.pairs(family)
                let copy = "\(bench.path)/checkpoint"
                try engine.checkpoint(to: copy)
                try engine.put(family, bytes("later"), bytes("v"))
                let opened = try bench.suite.opener(copy, false)
                try expectEqual(try opened.families(), [family], "families of the copy")
                try expectEqual(try opened.pairs(family), before, "pairs of the copy")
                try opened.put(family, bytes("only here"), bytes("v"), .synced)
                try opened.close()
                try expectEqual(
                    try engine.get(family, bytes("only here")), nil, "the original after writing to the copy")
                var wasTaken = true
                do { try engine.checkpoint(to: copy) } catch { wasTaken = false }
                try expect(!wasTaken, "a checkpoint overwrote a directory")
                try expectEqual(try engine.get(family, bytes("later")), bytes("v"), "the engine goes on")
            }
        },
        Check("theContentHashDoesNotDependOnHistory") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.createFamily(Families.second)
                let keys = (0..<50).map { bytes("key \($0)") }
                for key in keys { try engine.put(Families.first, key, key, .buffered) }
                for key in keys.reversed() {
                    try engine.put(Families.second, key, bytes("other"), .buffered)
                    try engine.put(Families.second, key + [0], bytes("gone"), .buffered)
                }
                for key in keys {
                    var batch = WriteBatch()
                    batch.put(Families.second, key: key, value: key)
                    batch.delete(Families.second, key: key + [0])
                    try engine.write(batch, durability: .buffered)
                }
                let hash = try engine.contentHash(Families.first)
                try expectEqual(hash, try engine.contentHash(Families.second), "hash")
                try expectEqual(hash.count, 50, "count")
                try engine.put(Families.second, keys[7], bytes("different"))
                try expect(try engine.contentHash(Families.second) != hash, "a changed value has the same hash")
            }
        },
    ]

    /// What one engine exports, another loads: same pairs, same hash.
    public static func checkRoundTrip(from source: EngineConformance, to target: EngineConformance) throws {
        try Workbench.temporary { path in
            let from = try source.opener(try makeDirectory("\(path)/from"), false)
            let to = try target.opener(try makeDirectory("\(path)/to"), false)
            try from.createFamily(Families.first)
            try to.createFamily(Families.second)
            var random = SeededGenerator(seed: 11)
            for round in 0..<5 {
                var batch = WriteBatch()
                for _ in 0..<40 {
                    let count = Int.random(in: 1...EngineLimits.keyBytesMax, using: &random)
                    let size = Int.random(in: 0...20_000, using: &random)
                    batch.put(Families.first, key: random.bytes(count), value: random.bytes(size))
                }
                for edge: [UInt8] in [[0], [0, 0], [255], [UInt8](repeating: 255, count: EngineLimits.keyBytesMax)] {
                    batch.put(Families.first, key: edge, value: [])
                }
                try from.write(batch, durability: round % 2 == 0 ? .buffered : .synced)
            }
            try from.put(Families.first, bytes("large"), random.bytes(2 << 20))
            let shared =
                from.capabilities.formats.filter(to.capabilities.formats.contains)
            for format in shared {
                let directory = try makeDirectory("\(path)/export-\(format)")
                let manifest = try from.export(Families.first, format, directory)
                try to.ingest(manifest, from: directory, into: Families.second)
                try expect(
                    try from.pairs(Families.first) == (try to.pairs(Families.second)),
                    "\(source) -> \(target), \(format): pairs differ")
                try expectEqual(
                    try to.contentHash(Families.second).description, manifest.contentHash,
                    "\(source) -> \(target), \(format): content hash")
                try to.dropFamily(Families.second)
                try to.createFamily(Families.second)
            }
            try from.close()
            try to.close()
        }
    }

    private static func makeDirectory(_ path: String) throws -> String {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }
}

extension StorageEngine {
    var formats: [String] { capabilities.formats }

    func export(_ family: FamilyID, _ format: String, _ directory: String) throws -> FamilyManifest {
        let snapshot = try snapshot()
        defer { snapshot.close() }
        return try export(family, from: snapshot, format: format, to: directory)
    }
}

/// What can happen to an export on its way.
private enum Damage: CaseIterable {
    case flippedBit, truncatedFile, missingFile, otherHash, otherCount, swappedFiles, missingEntry, pathInName

    func inflict(on manifest: inout FamilyManifest, in directory: String) throws {
        guard let first = manifest.files.first, let last = manifest.files.last else { return }
        let path = "\(directory)/\(last.name)"
        switch self {
        case .flippedBit:
            var data = try Data(contentsOf: URL(fileURLWithPath: path))
            data[data.count / 2] ^= 0x10
            try data.write(to: URL(fileURLWithPath: path))
        case .truncatedFile:
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            try data.prefix(data.count - 1).write(to: URL(fileURLWithPath: path))
        case .missingFile: try FileManager.default.removeItem(atPath: path)
        case .otherHash: manifest.contentHash = ContentHash(count: manifest.keys, high: 1, low: 2).description
        case .otherCount: manifest.keys += 1
        case .swappedFiles:
            // Sorted runs out of order, or (with a single file) the same run twice.
            manifest.files = manifest.files.count > 1 ? [first, first] + manifest.files.dropFirst(2) : [first, first]
        case .missingEntry: manifest.files.removeLast()
        case .pathInName: manifest.files[manifest.files.count - 1].name = "../\(last.name)"
        }
    }
}
