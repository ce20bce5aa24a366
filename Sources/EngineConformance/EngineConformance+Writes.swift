internal import Engines

extension EngineConformance {
    static let writeChecks: [Check] = [
        Check("anAbsentKeyIsNilAndAnEmptyValueIsAValue") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try expectEqual(try engine.get(Families.first, bytes("k")), nil, "absent key")
                for durability in [Durability.buffered, .logged, .synced] {
                    try engine.put(Families.first, bytes("k"), [], durability)
                    try expectEqual(try engine.get(Families.first, bytes("k")), [], "empty value, \(durability)")
                    try expectEqual(
                        try engine.pairs(Families.first), [Pair(key: bytes("k"), value: [])], "pairs, \(durability)")
                }
            }
        },
        Check("aKeyCanBeOverwrittenAndDeleted") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for durability in [Durability.buffered, .logged, .synced] {
                    try engine.put(Families.first, bytes("k"), bytes("long value"), durability)
                    try engine.put(Families.first, bytes("k"), bytes("v"), durability)
                    try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "overwritten")
                    var batch = WriteBatch()
                    batch.delete(Families.first, key: bytes("k"))
                    batch.delete(Families.first, key: bytes("never there"))
                    try engine.write(batch, durability: durability)
                    try expectEqual(try engine.get(Families.first, bytes("k")), nil, "deleted")
                }
            }
        },
        Check("keysCompareAsUnsignedBytes") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                var keys: [[UInt8]] = (0...255).map { [UInt8($0)] }
                keys += [[0, 0], [0, 255], [127, 0], [128, 0], [255, 0], [255, 255], [255, 255, 255]]
                var batch = WriteBatch()
                var random = SeededGenerator(seed: 4)
                for key in keys.shuffled(using: &random) { batch.put(Families.first, key: key, value: key) }
                try engine.write(batch, durability: .synced)
                let expected = keys.sorted { $0.lexicographicallyPrecedes($1) }
                try expectEqual(try engine.pairs(Families.first).map(\.key), expected, "keys in order")
                try expectEqual(
                    try engine.pairs(Families.first, reverse: true).map(\.key), expected.reversed(), "keys backwards")
                for key in keys { try expectEqual(try engine.get(Families.first, key), key, "value of \(key)") }
            }
        },
        Check("aKeyOfTheLargestSizeIsKept") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for byte: UInt8 in [0, 0x61, 0xff] {
                    let key = [UInt8](repeating: byte, count: EngineLimits.keyBytesMax)
                    try engine.put(Families.first, key, bytes("v"), .synced)
                    try expectEqual(try engine.get(Families.first, key), bytes("v"), "value of the longest key")
                }
                try expectEqual(try engine.pairs(Families.first).count, 3, "number of keys")
            }
        },
        Check("keysOf480BytesThatDifferInTheLastAreKept") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let prefix = [UInt8](repeating: 0xff, count: 479)
                let keys = (0...255).map { prefix + [UInt8($0)] }
                var batch = WriteBatch()
                for key in keys.reversed() { batch.put(Families.first, key: key, value: [key[479]]) }
                try engine.write(batch, durability: .synced)
                try expect(try engine.pairs(Families.first).map(\.key) == keys, "keys out of order")
                try expect(
                    try engine.pairs(Families.first, reverse: true).map(\.key) == keys.reversed(),
                    "keys backwards out of order")
                for key in keys { try expectEqual(try engine.get(Families.first, key), [key[479]], "value") }
                try expectEqual(try engine.get(Families.first, prefix), nil, "a key that begins them all")
            }
        },
        Check("aKeyBeyondTheLimitIsRefusedAndNothingIsWritten") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let tooLong = [UInt8](repeating: 0x61, count: EngineLimits.keyBytesMax + 1)
                for durability in [Durability.buffered, .logged, .synced] {
                    for isPut in [true, false] {
                        var batch = WriteBatch()
                        batch.put(Families.first, key: bytes("before"), value: bytes("v"))
                        if isPut {
                            batch.put(Families.first, key: tooLong, value: [])
                        } else {
                            batch.delete(Families.first, key: tooLong)
                        }
                        try expectRefusal("a key of 512 bytes") {
                            try engine.write(batch, durability: durability)
                        } matches: {
                            if case .tooLarge(_, EngineLimits.keyBytesMax + 1, EngineLimits.keyBytesMax) = $0 {
                                true
                            } else {
                                false
                            }
                        }
                    }
                }
                try expectEqual(try engine.pairs(Families.first), [], "pairs after the refusal")
                try expectEqual(try engine.get(Families.first, tooLong), nil, "a key that can't be there")
                try engine.put(Families.first, bytes("after"), bytes("v"))
                try expectEqual(try engine.pairs(Families.first).count, 1, "pairs after going on")
            }
        },
        Check("anEmptyKeyIsRefusedAndNothingIsWritten") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                for isPut in [true, false] {
                    var batch = WriteBatch()
                    batch.put(Families.first, key: bytes("before"), value: bytes("v"))
                    if isPut {
                        batch.put(Families.first, key: [], value: bytes("v"))
                    } else {
                        batch.delete(Families.first, key: [])
                    }
                    try expectRefusal("an empty key") {
                        try engine.write(batch, durability: .buffered)
                    } matches: { error in
                        if case .unsupported = error { true } else { false }
                    }
                }
                try expectEqual(try engine.pairs(Families.first), [], "pairs after the refusal")
                try expectEqual(try engine.get(Families.first, []), nil, "the empty key")
            }
        },
        Check("aValueOf8MiBIsKept") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                var value = [UInt8](repeating: 0x5a, count: 8 << 20)
                for place in stride(from: 0, to: value.count, by: 4093) { value[place] = UInt8(place & 0xff) }
                for (name, durability) in [("buffered", Durability.buffered), ("logged", .logged), ("synced", .synced)]
                {
                    try engine.put(Families.first, bytes(name), value, durability)
                    try expect(
                        try engine.get(Families.first, bytes(name)) == value, "8 MiB, \(name), came back changed")
                }
                try engine.put(Families.first, bytes("small"), bytes("v"))
                let sizes = try engine.pairs(Families.first).map(\.value.count)
                try expectEqual(sizes, [8 << 20, 8 << 20, 1, 8 << 20], "sizes of values")
            }
        },
        Check("aValueBeyondTheLimitIsRefused") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let value = [UInt8](repeating: 0, count: EngineLimits.valueBytesMax + 1)
                try expectRefusal("a value beyond the limit") {
                    try engine.put(Families.first, bytes("k"), value)
                } matches: {
                    if case .tooLarge = $0 { true } else { false }
                }
                try expectEqual(try engine.get(Families.first, bytes("k")), nil, "value after the refusal")
            }
        },
    ]
}
