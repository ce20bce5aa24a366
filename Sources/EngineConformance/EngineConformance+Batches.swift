internal import Engines

extension EngineConformance {
    static let batchChecks: [Check] = [
        Check("aBatchReachesAllItsFamilies") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.createFamily(Families.second)
                var batch = WriteBatch()
                batch.put(Families.first, key: bytes("k"), value: bytes("1"))
                batch.put(Families.second, key: bytes("k"), value: bytes("2"))
                try engine.write(batch, durability: .buffered)
                try expectEqual(try engine.get(Families.first, bytes("k")), bytes("1"), "first family")
                try expectEqual(try engine.get(Families.second, bytes("k")), bytes("2"), "second family")
            }
        },
        Check("operationsOfABatchCountInTheirOrder") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for durability in [Durability.buffered, .logged, .synced] {
                    try engine.put(Families.first, bytes("old"), bytes("0"), durability)
                    var batch = WriteBatch()
                    batch.put(Families.first, key: bytes("a"), value: bytes("1"))
                    batch.put(Families.first, key: bytes("a"), value: bytes("2"))
                    batch.put(Families.first, key: bytes("b"), value: bytes("1"))
                    batch.delete(Families.first, key: bytes("b"))
                    batch.delete(Families.first, key: bytes("c"))
                    batch.put(Families.first, key: bytes("c"), value: bytes("3"))
                    batch.put(Families.first, key: bytes("d"), value: bytes("1"))
                    batch.deleteRange(Families.first, from: bytes("d"), to: bytes("p"))
                    batch.put(Families.first, key: bytes("d"), value: bytes("4"))
                    try engine.write(batch, durability: durability)
                    let expected = [
                        Pair(key: bytes("a"), value: bytes("2")), Pair(key: bytes("c"), value: bytes("3")),
                        Pair(key: bytes("d"), value: bytes("4")),
                    ]
                    try expectEqual(try engine.pairs(Families.first), expected, "pairs, \(durability)")
                }
            }
        },
        Check("aMissingFamilyLeavesNothingOfTheBatch") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for durability in [Durability.buffered, .logged, .synced] {
                    var batch = WriteBatch()
                    batch.put(Families.first, key: bytes("k"), value: bytes("v"))
                    batch.put(Families.absent, key: bytes("k"), value: bytes("v"))
                    try expectRefusal("a batch with a missing family") {
                        try engine.write(batch, durability: durability)
                    } matches: {
                        $0 == .familyMissing(Families.absent)
                    }
                    try expectEqual(try engine.get(Families.first, bytes("k")), nil, "value, \(durability)")
                }
                try engine.put(Families.first, bytes("k"), bytes("v"))
                try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "value after going on")
            }
        },
        Check("anEmptyBatchIsTaken") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.write(WriteBatch(), durability: .buffered)
                try engine.write(WriteBatch(), durability: .synced)
                try expectEqual(try engine.pairs(Families.first), [], "pairs")
            }
        },
        Check("aRangeDeleteTakesTheLowerBoundAndLeavesTheUpper") { bench in
            try bench.withRange(of: 10) { engine, family in
                try engine.deleteRange(family, [3], [7])
                try expectEqual(try engine.pairs(family).map { $0.key[0] }, [0, 1, 2, 7, 8, 9], "what is left")
            }
        },
        Check("aRangeDeleteWithEmptyOrInvertedBoundsDoesNothing") { bench in
            try bench.withRange(of: 5) { engine, family in
                for bounds in [([3], [3]), ([4], [1]), ([], []), ([2], [])] as [([UInt8], [UInt8])] {
                    try engine.deleteRange(family, bounds.0, bounds.1)
                    try expectEqual(try engine.pairs(family).count, 5, "keys after deleting \(bounds)")
                }
            }
        },
        Check("aRangeDeleteWithoutUpperBoundGoesToTheEnd") { bench in
            try bench.withRange(of: 5) { engine, family in
                let last = [UInt8](repeating: 0xff, count: EngineLimits.keyBytesMax)
                try engine.put(family, last, bytes("v"))
                try engine.deleteRange(family, [3], nil)
                try expectEqual(try engine.pairs(family).map(\.key), [[0], [1], [2]], "what is left")
                try engine.deleteRange(family, [], nil)
                try expectEqual(try engine.pairs(family), [], "after deleting everything")
            }
        },
        Check("aRangeDeleteStaysInItsFamily") { bench in
            try bench.withRange(of: 5) { engine, family in
                try engine.createFamily(Families.second)
                try engine.put(Families.second, [3], bytes("v"))
                try engine.deleteRange(family, [0], nil)
                try expectEqual(try engine.get(Families.second, [3]), bytes("v"), "the neighbour's value")
            }
        },
        Check("aRangeDeleteWithALongBoundIsExact") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let longest = [UInt8](repeating: 0x61, count: EngineLimits.keyBytesMax)
                try engine.put(Families.first, longest, bytes("v"), .synced)
                try engine.put(Families.first, bytes("b"), bytes("v"), .synced)
                try engine.deleteRange(Families.first, longest + [0], nil)
                try expectEqual(try engine.pairs(Families.first).map(\.key), [longest], "what is left")
                try engine.deleteRange(Families.first, [0], longest + [0])
                try expectEqual(try engine.pairs(Families.first), [], "after deleting the longest key too")
            }
        },
        Check("aRangeDeleteOverManyPagesIsComplete") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                var batch = WriteBatch()
                for number in 0..<4000 {
                    batch.put(
                        Families.first, key: [UInt8(number >> 8), UInt8(number & 0xff)],
                        value: [UInt8](repeating: 7, count: 100))
                }
                try engine.write(batch, durability: .synced)
                try engine.deleteRange(Families.first, [1, 10], [14, 200])
                let left = try engine.pairs(Families.first).map { Int($0.key[0]) << 8 | Int($0.key[1]) }
                try expectEqual(left, Array(0..<266) + Array(3784..<4000), "what is left")
            }
        },
        Check("aRangeDeleteTakesWhatIsOnlyBuffered") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, [1], bytes("synced"), .synced)
                try engine.put(Families.first, [2], bytes("buffered"), .buffered)
                try engine.put(Families.first, [3], bytes("buffered"), .buffered)
                try engine.deleteRange(Families.first, [1], [3])
                try expectEqual(try engine.pairs(Families.first).map(\.key), [[3]], "what is left")
            }
        },
    ]
}

extension Workbench {
    /// An engine with keys [0], [1], … in one family.
    func withRange(of count: UInt8, _ body: (any StorageEngine, FamilyID) throws -> Void) throws {
        try withEngine { engine in
            try engine.createFamily(Families.first)
            var batch = WriteBatch()
            for key in 0..<count { batch.put(Families.first, key: [key], value: [key]) }
            try engine.write(batch, durability: .buffered)
            try body(engine, Families.first)
        }
    }
}

extension StorageEngine {
    func deleteRange(_ family: FamilyID, _ lower: [UInt8], _ upper: [UInt8]?) throws {
        var batch = WriteBatch()
        batch.deleteRange(family, from: lower, to: upper)
        try write(batch, durability: .buffered)
    }
}
