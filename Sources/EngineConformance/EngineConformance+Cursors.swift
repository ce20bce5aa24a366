internal import Engines

extension EngineConformance {
    static let cursorChecks: [Check] = [
        Check("aCursorKeepsToItsBounds") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let bounds: [[UInt8]?] = [nil, [], [0], [3], [4], [5], [9], [9, 0], [255]]
                for lower in bounds.compactMap({ $0 }) {
                    for upper in bounds {
                        let inside = keys.filter { key in
                            !key.lexicographicallyPrecedes(lower)
                                && (upper.map { key.lexicographicallyPrecedes($0) } ?? true)
                        }
                        let found = try engine.pairs(family, lower: lower, upper: upper).map(\.key)
                        try expectEqual(found, inside, "keys in \(lower)..<\(upper.map { "\($0)" } ?? "end")")
                        let backwards = try engine.pairs(family, lower: lower, upper: upper, reverse: true).map(\.key)
                        try expectEqual(
                            backwards, inside.reversed(),
                            "keys in \(lower)..<\(upper.map { "\($0)" } ?? "end"), backwards")
                    }
                }
            }
        },
        Check("aCursorStaysAtItsEnd") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                for reverse in [false, true] {
                    let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: reverse)
                    var count = 0
                    while try cursor.next({ _, _ in }) != nil { count += 1 }
                    try expectEqual(count, keys.count, "pairs, reverse \(reverse)")
                    for _ in 0..<3 {
                        try expect(
                            try cursor.next { _, _ in } == nil, "a cursor went on after its end, reverse \(reverse)")
                    }
                }
            }
        },
        Check("aCursorResumesAfterTheLongestKey") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let longest = [UInt8](repeating: 0x61, count: EngineLimits.keyBytesMax)
                for durability in [Durability.synced, .logged, .buffered] {
                    try engine.put(Families.first, bytes("a"), bytes("v"), durability)
                    try engine.put(Families.first, longest, bytes("v"), durability)
                    try engine.put(Families.first, bytes("b"), bytes("v"), durability)
                    try expectEqual(
                        try engine.pairs(Families.first, lower: longest + [0]).map(\.key), [bytes("b")],
                        "keys after the longest, \(durability)")
                    try expectEqual(
                        try engine.pairs(Families.first, upper: longest + [0]).map(\.key), [bytes("a"), longest],
                        "keys up to the longest, \(durability)")
                    try expectEqual(
                        try engine.pairs(Families.first, upper: longest + [0], reverse: true).map(\.key),
                        [longest, bytes("a")], "keys up to the longest, backwards, \(durability)")
                    try expectEqual(
                        try engine.pairs(Families.first, lower: longest + [0], reverse: true).map(\.key),
                        [bytes("b")], "keys after the longest, backwards, \(durability)")
                }
            }
        },
        Check("twoCursorsOfOneSnapshotDontDisturbEachOther") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let forward = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
                let backward = try snapshot.cursor(family, lower: [], upper: nil, reverse: true)
                for key in keys {
                    try expectEqual(try forward.next { key, _ in Array(key) }, key, "forward")
                    _ = try backward.next { _, _ in }
                    _ = try snapshot.get(family, key: [3])
                }
            }
        },
        Check("aCursorOverKeysShowsEveryKeyAndNoValue") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                for (lower, upper) in [([], nil), ([2], [9]), ([3], [255])] as [([UInt8], [UInt8]?)] {
                    for reverse in [false, true] {
                        var found: [[UInt8]] = []
                        var valueBytes = 0
                        try snapshot.scan(family, lower: lower, upper: upper, reverse: reverse, reading: .keys) {
                            found.append(Array($0))
                            valueBytes += $1.count
                            return true
                        }
                        let inside = keys.filter { key in
                            !key.lexicographicallyPrecedes(lower)
                                && (upper.map { key.lexicographicallyPrecedes($0) } ?? true)
                        }
                        try expectEqual(found, reverse ? inside.reversed() : inside, "keys from \(lower)")
                        try expectEqual(valueBytes, 0, "bytes of values shown")
                    }
                }
            }
        },
        Check("multiGetAnswersInTheOrderOfItsKeys") { bench in
            try bench.withHalfBuffered { engine, family, _ in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let keys: [[UInt8]] = [[9], [1], [2], [9], [], [4]]
                let single = try keys.map { try snapshot.get(family, key: $0) }
                try expectEqual(try snapshot.multiGet(family, keys: keys), single, "values")
                try expectEqual(try snapshot.multiGet(family, keys: []), [], "values of no keys")
            }
        },
        Check("aScanStopsWhenToldTo") { bench in
            try bench.withHalfBuffered { engine, family, _ in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                var seen = 0
                try snapshot.scan(family) { _, _ in
                    seen += 1
                    return seen < 3
                }
                try expectEqual(seen, 3, "pairs seen")
            }
        },
    ]
}

extension Workbench {
    /// A family whose even keys are synced, whose odd keys are buffered, with some deleted or overwritten above
    /// what is synced: an engine that keeps the two apart must merge them.
    func withHalfBuffered(_ body: (any StorageEngine, FamilyID, [[UInt8]]) throws -> Void) throws {
        try withEngine { engine in
            let family = Families.first
            try engine.createFamily(family)
            var batch = WriteBatch()
            for key: UInt8 in [0, 2, 4, 6, 8, 10, 255] { batch.put(family, key: [key], value: [key]) }
            batch.put(family, key: [255, 255], value: [])
            try engine.write(batch, durability: .synced)
            batch.removeAll()
            for key: UInt8 in [1, 3, 5, 9, 254] { batch.put(family, key: [key], value: [key]) }
            batch.delete(family, key: [4])
            batch.delete(family, key: [5])
            batch.put(family, key: [6], value: [66])
            try engine.write(batch, durability: .buffered)
            let keys: [[UInt8]] = [[0], [1], [2], [3], [6], [8], [9], [10], [254], [255], [255, 255]]
            try body(engine, family, keys)
        }
    }
}
