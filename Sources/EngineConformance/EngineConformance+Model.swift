internal import Engines

/// Thousands of random operations, each answered as a sorted dictionary would.
extension EngineConformance {
    static let modelChecks: [Check] = (1...3).map { seed in
        Check("aRandomHistoryBehavesLikeASortedDictionary, seed \(seed)") { bench in
            var history = RandomHistory(seed: UInt64(seed), bench: bench)
            try history.run(operations: 3_000)
        }
    }
}

private struct RandomHistory {
    typealias Model = [FamilyID: [[UInt8]: [UInt8]]]

    var random: SeededGenerator
    let bench: Workbench
    var engine: (any StorageEngine)?
    var model: Model = [:]
    /// Open snapshots, with what they must go on showing.
    var snapshots: [(snapshot: any ReadSnapshot, model: Model)] = []
    let families = (2...5).map { FamilyID(UInt64($0)) }
    let seed: UInt64
    private var moves = 0

    init(seed: UInt64, bench: Workbench) {
        random = SeededGenerator(seed: seed)
        self.seed = seed
        self.bench = bench
    }

    mutating func run(operations: Int) throws {
        engine = try bench.open()
        for number in 0..<operations {
            do {
                try step()
            } catch let failure as ConformanceFailure {
                throw ConformanceFailure("seed \(seed), operation \(number): \(failure)", #fileID, #line)
            }
        }
        for family in families where model[family] != nil { try compare(family, with: model) }
        try expect(moves > 0, "seed \(seed) never moves a family")
        closeSnapshots()
        try engine?.close()
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    /// Few and short, so that they meet again; sometimes one that begins another.
    private mutating func key() -> [UInt8] {
        let alphabet: [UInt8] = [0, 1, 0x61, 0x7f, 0x80, 0xff]
        let length = chance(3) ? EngineLimits.keyBytesMax : Int.random(in: 1...3, using: &random)
        return (0..<length).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] }
    }

    private mutating func bound() -> [UInt8] { chance(10) ? [] : key() }

    private mutating func step() throws {
        guard let engine else { return }
        let family = families[Int.random(in: 0..<families.count, using: &random)]
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<3:
            try engine.createFamily(family)
            if model[family] == nil { model[family] = [:] }
        case 3:
            try engine.dropFamily(family)
            model[family] = nil
        case 4..<58: try write()
        case 58: while try engine.reclaim(), chance(80) {}
        case 59: if chance(60) { try move(family) }
        case 60..<75:
            let key = bound()
            guard let rows = model[family] else {
                return try expectRefusal("reading a missing family") {
                    _ = try engine.get(family, key)
                } matches: {
                    $0 == .familyMissing(family)
                }
            }
            try expectEqual(
                try engine.get(family, key).map { $0.count }, rows[key].map { $0.count }, "size at \(brief(key))")
            try expect(try engine.get(family, key) == rows[key], "value of \(brief(key))")
        case 75..<90: try scan(family)
        case 90..<94:
            if snapshots.count > 3 { snapshots.removeFirst().snapshot.close() }
            snapshots.append((try engine.snapshot(), model))
        case 94: try engine.sync()
        case 95: try engine.compact()
        case 96:
            guard bench.suite.keepsData, chance(40) else { return }
            closeSnapshots()
            try engine.close()
            self.engine = try bench.open()
            try expectEqual(try self.engine?.families() ?? [], model.keys.sorted(), "families after reopening")
        default:
            if model[family] != nil { try compare(family, with: model) }
        }
    }

    /// Exports a family, as it is or as an open snapshot shows it, and loads it under another number.
    private mutating func move(_ family: FamilyID) throws {
        guard let engine, let target = families.first(where: { model[$0] == nil }) else { return }
        let format = engine.formats.randomElement(using: &random) ?? ChunkFormat.portable
        moves += 1
        let directory = try bench.directory("move-\(moves)")
        let old = chance(50) ? snapshots.randomElement(using: &random) : nil
        guard let rows = (old?.model ?? model)[family] else { return }
        let manifest =
            try old.map { try engine.export(family, from: $0.snapshot, format: format, to: directory) }
            ?? engine.export(family, format, directory)
        try expectEqual(manifest.keys, UInt64(rows.count), "rows of an export, \(format), old \(old != nil)")
        try engine.createFamily(target)
        try engine.ingest(manifest, from: directory, into: target)
        model[target] = rows
        try compare(target, with: model)
    }

    private mutating func write() throws {
        guard let engine else { return }
        var batch = WriteBatch()
        var next = model
        var isRefused = false
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let family = families[Int.random(in: 0..<families.count, using: &random)]
            // Rarely into a family that is missing: then the whole batch must fail.
            if model[family] == nil, !chance(2) { continue }
            if model[family] == nil { isRefused = true }
            let key = key()
            batch.mayLag = chance(60)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<6:
                let size = chance(2) ? 40_000 : Int.random(in: 0...40, using: &random)
                let value = random.bytes(size)
                batch.put(family, key: key, value: value)
                next[family]?[key] = value
            case 6..<9:
                batch.delete(family, key: key)
                next[family]?[key] = nil
            default:
                let (lower, upper) = (bound(), chance(20) ? nil : bound())
                batch.deleteRange(family, from: lower, to: upper)
                next[family] = next[family]?.filter { row in !isInside(row.key, lower, upper) }
            }
        }
        let durability: Durability = chance(15) ? .synced : chance(40) ? .logged : .buffered
        if isRefused {
            try expectRefusal("a batch with a missing family") {
                try engine.write(batch, durability: durability)
            } matches: {
                if case .familyMissing = $0 { true } else { false }
            }
        } else {
            try engine.write(batch, durability: durability)
            model = next
        }
    }

    private func isInside(_ key: [UInt8], _ lower: [UInt8], _ upper: [UInt8]?) -> Bool {
        !key.lexicographicallyPrecedes(lower) && (upper.map { key.lexicographicallyPrecedes($0) } ?? true)
    }

    /// A random range of the engine, or of a snapshot that is some operations old.
    private mutating func scan(_ family: FamilyID) throws {
        guard let engine else { return }
        let old = chance(50) ? snapshots.randomElement(using: &random) : nil
        guard let rows = (old?.model ?? model)[family] else { return }
        let (lower, upper, reverse) = (bound(), chance(50) ? nil : bound(), chance(50))
        var expected = rows.filter { isInside($0.key, lower, upper) }.map { Pair(key: $0.key, value: $0.value) }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
        if reverse { expected.reverse() }
        let found =
            try old?.snapshot.pairs(family, lower: lower, upper: upper, reverse: reverse)
            ?? engine.pairs(family, lower: lower, upper: upper, reverse: reverse)
        try expectEqual(
            found.map(\.key).map(brief), expected.map(\.key).map(brief),
            "\(family), \(brief(lower))..<\(upper.map(brief) ?? "end"), reverse \(reverse), old \(old != nil)")
        try expect(found == expected, "values of \(family) differ")
    }

    private func compare(_ family: FamilyID, with model: Model) throws {
        guard let engine, let rows = model[family] else { return }
        let expected = rows.map { Pair(key: $0.key, value: $0.value) }
            .sorted { $0.key.lexicographicallyPrecedes($1.key) }
        try expect(try engine.pairs(family) == expected, "the whole of \(family) differs")
    }

    private mutating func closeSnapshots() {
        for open in snapshots { open.snapshot.close() }
        snapshots = []
    }
}
