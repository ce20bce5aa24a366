internal import Engines
internal import Foundation

extension EngineConformance {
    static let durabilityChecks: [Check] = [
        Check("aBufferedWriteIsVisibleAtOnce") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for round: UInt8 in 0..<20 {
                    try engine.put(Families.first, [round], [round], .buffered)
                    try expectEqual(try engine.get(Families.first, [round]), [round], "value \(round)")
                    try expectEqual(try engine.pairs(Families.first).count, Int(round) + 1, "pairs")
                }
            }
        },
        Check("syncingChangesNothingThatIsVisible") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let before = try engine.pairs(family)
                try engine.sync()
                try expectEqual(try engine.pairs(family), before, "pairs after sync")
                try engine.write(WriteBatch(), durability: .synced)
                try engine.compact()
                try expectEqual(try engine.pairs(family), before, "pairs after compaction")
            }
        },
        Check("aClosedEngineSaysSo") { bench in
            let engine = try bench.open()
            try engine.createFamily(Families.first)
            try engine.close()
            try engine.close()
            func refused(_ what: String, _ body: () throws -> Void) throws {
                try expectRefusal("\(what) on a closed engine", body) { $0 == .closed }
            }
            try refused("families") { _ = try engine.families() }
            try refused("createFamily") { try engine.createFamily(Families.second) }
            try refused("dropFamily") { try engine.dropFamily(Families.first) }
            try refused("write") { try engine.put(Families.first, [1], [1]) }
            try refused("snapshot") { _ = try engine.snapshot() }
            try refused("sync") { try engine.sync() }
            try refused("statistics") { _ = try engine.statistics() }
            try refused("statistics of a family") { _ = try engine.statistics(of: Families.first) }
        },
        Check("closingAndReopeningKeepsEverything") { bench in
            guard bench.suite.keepsData else { return }
            var before: [Pair] = []
            try bench.withHalfBuffered { engine, family, _ in
                try engine.createFamily(Families.second)
                try engine.put(Families.second, bytes("k"), [UInt8](repeating: 9, count: 100_000), .buffered)
                before = try engine.pairs(family)
            }
            try bench.withEngine { engine in
                try expectEqual(try engine.families(), [Families.first, Families.second], "families")
                try expectEqual(try engine.pairs(Families.first), before, "pairs of the first family")
                try expectEqual(try engine.get(Families.second, bytes("k"))?.count, 100_000, "a large value")
            }
        },
        Check("aDropSurvivesReopening") { bench in
            guard bench.suite.keepsData else { return }
            try bench.withHalfBuffered { engine, family, _ in
                try engine.createFamily(Families.second)
                try engine.put(Families.second, bytes("k"), bytes("v"))
                try engine.dropFamily(family)
            }
            for _ in 0..<2 {
                try bench.withEngine { engine in
                    try expectEqual(try engine.families(), [Families.second], "families")
                    try expectEqual(try engine.get(Families.second, bytes("k")), bytes("v"), "value")
                }
            }
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try expectEqual(try engine.pairs(Families.first), [], "pairs of a family made again")
            }
        },
        Check("whatADroppedFamilyHeldIsNotMissed") { bench in
            guard bench.suite.keepsData else { return }
            // The last rows that were synced go with their family; no later opening may take that for a loss.
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"), .synced)
                for round: UInt8 in 0..<3 {
                    try engine.createFamily(Families.second)
                    for row: UInt8 in 0..<5 { try engine.put(Families.second, [row], [round], .synced) }
                    try engine.dropFamily(Families.second)
                }
            }
            for _ in 0..<4 {
                try bench.withEngine { engine in
                    try expectEqual(try engine.families(), [Families.first], "families")
                    try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "the row that stays")
                }
            }
        },
        Check("anEngineOpenedForReadingShowsAllAndTakesNothing") { bench in
            guard bench.suite.keepsData else { return }
            var before: [Pair] = []
            try bench.withHalfBuffered { engine, family, _ in before = try engine.pairs(family) }
            let engine = try bench.open(readOnly: true)
            try expectEqual(try engine.families(), [Families.first], "families")
            try expectEqual(try engine.pairs(Families.first), before, "pairs")
            var wasTaken = true
            do { try engine.put(Families.first, bytes("k"), bytes("v"), .synced) } catch { wasTaken = false }
            try expect(!wasTaken, "an engine opened for reading took a write")
            try engine.close()
            try bench.withEngine { engine in
                try expectEqual(try engine.pairs(Families.first), before, "pairs afterwards")
            }
        },
        Check("openingForReadingChangesNoByte") { bench in
            guard bench.suite.keepsData else { return }
            var before: [Pair] = []
            try bench.withHalfBuffered { engine, family, _ in before = try engine.pairs(family) }
            let files = try contents(of: bench.engineDirectory)
            for _ in 0..<2 {
                let engine = try bench.open(readOnly: true)
                try expectEqual(try engine.pairs(Families.first), before, "pairs")
                try expectEqual(try engine.families(), [Families.first], "families")
                _ = try engine.statistics()
                try engine.close()
            }
            let after = try contents(of: bench.engineDirectory)
            try expectEqual(after.keys.sorted(), files.keys.sorted(), "files")
            for (name, bytes) in files { try expect(after[name] == bytes, "\(name) was changed by a reader") }
        },
        Check("aSnapshotMayOutliveTheEnginesClosing") { bench in
            guard bench.suite.keepsData else { return }
            // The directory is free again once the snapshot is gone too.
            func outlive() throws {
                let engine = try bench.open()
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"), .buffered)
                let snapshot = try engine.snapshot()
                try engine.close()
                try expectEqual(try snapshot.get(Families.first, key: bytes("k")), bytes("v"), "value")
                snapshot.close()
            }
            try outlive()
            try bench.withEngine { engine in
                try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "value after reopening")
            }
        },
        Check("statisticsCountRoughly") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try expectRefusal("statistics of a missing family") {
                    _ = try engine.statistics(of: Families.absent)
                } matches: {
                    $0 == .familyMissing(Families.absent)
                }
                var batch = WriteBatch()
                for number: UInt8 in 0..<200 {
                    batch.put(Families.first, key: [number], value: [UInt8](repeating: number, count: 1000))
                }
                try engine.write(batch, durability: .synced)
                let family = try engine.statistics(of: Families.first)
                try expect((100...400).contains(family.keys), "200 keys are counted as \(family.keys)")
                try expect(family.bytes >= 100_000, "200,000 bytes are counted as \(family.bytes)")
                let whole = try engine.statistics()
                try expect(!whole.isStalled, "an idle engine calls itself stalled")
                try expect(!bench.suite.keepsData || whole.storageBytes > 0, "an engine on disk occupies nothing")
            }
        },
    ]
}

/// What lies in a directory, byte for byte.
private func contents(of directory: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
        var isDirectory: ObjCBool = false
        let path = "\(directory)/\(name)"
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue else {
            continue
        }
        files[name] = try Data(contentsOf: URL(fileURLWithPath: path))
    }
    return files
}
