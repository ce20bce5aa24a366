internal import Engines

extension EngineConformance {
    static let familyChecks: [Check] = [
        Check("aNewEngineHasNoFamilies") { bench in
            try bench.withEngine { try expectEqual(try $0.families(), [], "families") }
        },
        Check("familiesAreListedInOrder") { bench in
            try bench.withEngine { engine in
                for number: UInt64 in [300, 2, 1 << 40, 17] { try engine.createFamily(FamilyID(number)) }
                try expectEqual(
                    try engine.families(), [2, 17, 300, 1 << 40].map { FamilyID($0) }, "families")
            }
        },
        Check("creatingAFamilyTwiceKeepsWhatItHolds") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"))
                try engine.createFamily(Families.first)
                try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "value")
                try expectEqual(try engine.families(), [Families.first], "families")
            }
        },
        Check("droppingAMissingFamilyDoesNothing") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.dropFamily(Families.absent)
                try engine.dropFamily(Families.absent)
                try expectEqual(try engine.families(), [Families.first], "families")
            }
        },
        Check("aDroppedFamilyIsMissingAndItsNeighbourStays") { bench in
            try bench.withEngine { engine in
                for family in [Families.first, Families.second] {
                    try engine.createFamily(family)
                    try engine.put(family, bytes("k"), bytes("v"))
                }
                try engine.dropFamily(Families.first)
                try expectEqual(try engine.families(), [Families.second], "families")
                try expectRefusal("reading a dropped family") {
                    _ = try engine.get(Families.first, bytes("k"))
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectRefusal("a cursor over a dropped family") {
                    _ = try engine.pairs(Families.first)
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectRefusal("writing to a dropped family") {
                    try engine.put(Families.first, bytes("k"), bytes("v"))
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectEqual(try engine.get(Families.second, bytes("k")), bytes("v"), "the neighbour's value")
            }
        },
        Check("aFamilyThatIsMadeAgainIsEmpty") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"), .synced)
                try engine.put(Families.first, bytes("l"), bytes("v"), .buffered)
                try engine.dropFamily(Families.first)
                try engine.createFamily(Families.first)
                try expectEqual(try engine.pairs(Families.first), [], "pairs of the new family")
                try engine.put(Families.first, bytes("m"), bytes("w"))
                try expectEqual(try engine.get(Families.first, bytes("m")), bytes("w"), "value")
            }
        },
        Check("familiesComeAndGoUnderOpenSnapshots") { bench in
            try bench.withEngine { engine in
                var snapshots: [(snapshot: any ReadSnapshot, family: FamilyID)] = []
                for number: UInt64 in 2..<60 {
                    let family = FamilyID(number)
                    try engine.createFamily(family)
                    try engine.put(family, bytes("k"), bytes("\(number)"), number % 2 == 0 ? .synced : .buffered)
                    snapshots.append((try engine.snapshot(), family))
                    try engine.dropFamily(family)
                    // Some live long, some end at once.
                    if snapshots.count > 7 || number % 3 == 0 { snapshots.removeFirst().snapshot.close() }
                    for open in snapshots {
                        let value = try open.snapshot.get(open.family, key: bytes("k"))
                        try expectEqual(
                            value, bytes("\(open.family.rawValue)"), "\(open.family), dropped before \(family)")
                    }
                }
                for open in snapshots { open.snapshot.close() }
                try expectEqual(try engine.families(), [], "families")
            }
        },
        Check("familiesOf256NumbersDontMix") { bench in
            let families = (10..<266).map { FamilyID(UInt64($0)) }
            func expectOwnValues(_ engine: any StorageEngine) throws {
                try expectEqual(try engine.families(), families, "families")
                for family in families {
                    let value = bytes("\(family.rawValue)")
                    try expectEqual(
                        try engine.pairs(family), [Pair(key: bytes("same"), value: value)], "pairs of \(family)")
                }
            }
            try bench.withEngine { engine in
                var batch = WriteBatch()
                for family in families {
                    try engine.createFamily(family)
                    batch.put(family, key: bytes("same"), value: bytes("\(family.rawValue)"))
                }
                try engine.write(batch, durability: .synced)
                try expectOwnValues(engine)
            }
            if bench.suite.keepsData { try bench.withEngine { try expectOwnValues($0) } }
        },
        Check("aDroppedFamilyIsGoneFromNewSnapshotsAtOnceAndOlderOnesReadIt") { bench in
            try bench.withLargeFamily { engine, family, expected in
                let older = try engine.snapshot()
                defer { older.close() }
                try engine.dropFamily(family)
                func expectGone(_ moment: String) throws {
                    try expectRefusal("a new snapshot \(moment)") {
                        _ = try engine.pairs(family)
                    } matches: {
                        $0 == .familyMissing(family)
                    }
                    var hash = ContentHash()
                    try older.scan(family) { key, value in
                        hash.add(key: key, value: value)
                        return true
                    }
                    try expectEqual(hash, expected, "what the older snapshot reads \(moment)")
                }
                try expectGone("after the drop")
                var slices = 0
                while try engine.reclaim() {
                    slices += 1
                    if slices % 4 == 1 { try expectGone("after slice \(slices)") }
                    try expect(slices < 100_000, "reclaiming never ends")
                }
                try expectGone("after reclaiming")
                try engine.put(Families.second, bytes("k"), bytes("v"), .synced)
                try expectGone("after a later write")
            }
        },
        Check("aFamilyThatIsMadeAgainWhileItIsReclaimedIsEmpty") { bench in
            try bench.withLargeFamily { engine, family, expected in
                let older = try engine.snapshot()
                defer { older.close() }
                try engine.dropFamily(family)
                _ = try engine.reclaim()
                try engine.createFamily(family)
                try expectEqual(try engine.pairs(family), [], "pairs of the new family")
                try engine.put(family, bytes("new"), bytes("v"), .synced)
                while try engine.reclaim() {}
                try expectEqual(
                    try engine.pairs(family), [Pair(key: bytes("new"), value: bytes("v"))],
                    "pairs of the new family after reclaiming the old one")
                try expectEqual(
                    try older.pairs(family).count, Int(expected.count), "rows that the older snapshot reads")
            }
        },
        Check("reclaimingGoesOnAfterReopening") { bench in
            guard bench.suite.keepsData else { return }
            var before: UInt64 = 0
            try bench.withLargeFamily { engine, family, _ in
                try engine.dropFamily(family)
                _ = try engine.reclaim()
                let statistics = try engine.statistics()
                before = statistics.storageBytes - min(statistics.storageBytes, statistics.reusableBytes)
            }
            try bench.withEngine { engine in
                try expectEqual(try engine.families(), [Families.second], "families after reopening")
                while try engine.reclaim() {}
                try engine.sync()
                try engine.compact()
                let statistics = try engine.statistics()
                let after = statistics.storageBytes - min(statistics.storageBytes, statistics.reusableBytes)
                try expect(
                    after < max(before, 8 << 20), "\(before) bytes were in use, and \(after) are after reclaiming")
                try engine.createFamily(Families.first)
                try expectEqual(try engine.pairs(Families.first), [], "pairs of the family made again")
            }
        },
    ]
}

extension Workbench {
    /// A family of 24 MiB, too large to be given back in one slice, beside an empty one.
    func withLargeFamily(
        _ body: (any StorageEngine, FamilyID, ContentHash) throws -> Void
    ) throws {
        try withEngine { engine in
            try engine.createFamily(Families.first)
            try engine.createFamily(Families.second)
            for round in 0..<24 {
                var batch = WriteBatch()
                for number in 0..<256 {
                    batch.put(
                        Families.first, key: bytes("\(round)/\(number)"),
                        value: [UInt8](repeating: UInt8(number), count: 4096))
                }
                try engine.write(batch, durability: round % 8 == 7 ? .synced : .buffered)
            }
            try body(engine, Families.first, try engine.contentHash(Families.first))
        }
    }
}
