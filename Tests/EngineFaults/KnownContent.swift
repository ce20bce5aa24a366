public import Engines
import Foundation

/// A small directory whose every byte of data is known, to be damaged: five families of small rows and some large
/// ones, written, compacted, then partly written again and deleted, all of it synced.
public struct KnownContent: Sendable {
    public let seed: UInt64
    public static let families = (2...6).map { FamilyID(UInt64($0)) }
    private static let smallRows = 40
    private static let largeRows = 3

    public init(seed: UInt64) { self.seed = seed }

    private func key(_ row: Int) -> [UInt8] { Array(String(format: "row-%04d", row).utf8) }

    /// Bytes that nothing can compress or guess.
    private func value(_ family: FamilyID, _ row: Int, _ version: Int) -> [UInt8] {
        let number = SeededRandom.hash(seed, family.rawValue, UInt64(row), UInt64(version))
        var random = SeededRandom(seed: number)
        let size = row < Self.smallRows ? Int(number % 300) + 20 : 70_000 + Int(number % 60_000)
        return random.bytes(size)
    }

    private static func isWrittenAgain(_ row: Int) -> Bool { row % 3 == 0 }
    private static func isDeleted(_ row: Int) -> Bool { row % 7 == 5 }

    /// What each key held, oldest first; the last one is what must be read.
    public func history(of family: FamilyID) -> [[UInt8]: [[UInt8]?]] {
        var history: [[UInt8]: [[UInt8]?]] = [:]
        for row in 0..<Self.smallRows + Self.largeRows {
            var values: [[UInt8]?] = [value(family, row, 1)]
            if Self.isWrittenAgain(row) { values.append(value(family, row, 2)) }
            if Self.isDeleted(row) { values.append(nil) }
            history[key(row)] = values
        }
        return history
    }

    /// Writes it, and closes the engine, or ends the process without closing it.
    public func make(_ kind: EngineKind, _ directory: String, killed: Bool) throws {
        let engine = try kind.open(directory)
        for family in Self.families { try engine.createFamily(family) }
        for family in Self.families {
            var batch = WriteBatch()
            for row in 0..<Self.smallRows + Self.largeRows {
                batch.put(family, key: key(row), value: value(family, row, 1))
                if batch.count == 20 || batch.byteCount > 100_000 {
                    try engine.write(batch, durability: .synced)
                    batch.removeAll()
                }
            }
            try engine.write(batch, durability: .synced)
        }
        try engine.compact()
        for family in Self.families {
            var batch = WriteBatch()
            for row in 0..<Self.smallRows + Self.largeRows {
                if Self.isWrittenAgain(row) { batch.put(family, key: key(row), value: value(family, row, 2)) }
                if Self.isDeleted(row) { batch.delete(family, key: key(row)) }
            }
            try engine.write(batch, durability: .synced)
        }
        if killed { kill(getpid(), SIGKILL) }
        try engine.close()
    }

    /// Rows that a second writing adds, to see that damage doesn't spread.
    public func addRows(to engine: any StorageEngine) throws {
        for number in 0..<8 {
            var batch = WriteBatch()
            for family in Self.families {
                batch.put(family, key: Array("added-\(number)".utf8), value: value(family, number, 3))
            }
            try engine.write(batch, durability: .synced)
        }
    }

    public enum Finding: Sendable, Equatable {
        case right
        /// Synced rows that are missing or old, though no error was given.
        case lost(String)
        /// Something that was never written.
        case wrong(String)
    }

    /// Reads everything in every way: scans both ways and each key by itself.
    public func read(_ engine: any StorageEngine, added: Bool) throws -> Finding {
        var lost: String?
        let existing = try engine.families()
        if let strange = existing.first(where: { !Self.families.contains($0) }) { return .wrong("\(strange)") }
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        for family in Self.families {
            guard existing.contains(family) else {
                lost = lost ?? "\(family)"
                continue
            }
            var expected = history(of: family)
            if added {
                for number in 0..<8 { expected[Array("added-\(number)".utf8)] = [value(family, number, 3)] }
            }
            for reverse in [false, true] {
                var seen: [[UInt8]: [UInt8]] = [:]
                var count = 0
                var last: [UInt8]?
                var isInOrder = true
                try snapshot.scan(family, reverse: reverse) { key, value in
                    let key = Array(key)
                    if let last, last.lexicographicallyPrecedes(key) == reverse || last == key { isInOrder = false }
                    last = key
                    seen[key] = Array(value)
                    count += 1
                    return count < 10_000
                }
                if !isInOrder { return .wrong("\(family): a scan out of order") }
                if let finding = judge(seen, expected) {
                    if case .wrong(let what) = finding { return .wrong("\(family), scan: \(what)") }
                    if case .lost(let what) = finding { lost = lost ?? "\(family), scan: \(what)" }
                }
            }
            var got: [[UInt8]: [UInt8]] = [:]
            for key in expected.keys { got[key] = try snapshot.get(family, key: key) }
            if let finding = judge(got, expected) {
                if case .wrong(let what) = finding { return .wrong("\(family), get: \(what)") }
                if case .lost(let what) = finding { lost = lost ?? "\(family), get: \(what)" }
            }
        }
        return lost.map { .lost($0) } ?? .right
    }

    private func judge(_ seen: [[UInt8]: [UInt8]], _ expected: [[UInt8]: [[UInt8]?]]) -> Finding? {
        var lost: String?
        for key in seen.keys where expected[key] == nil { return .wrong("a key that was never written") }
        for (key, values) in expected {
            let found = seen[key]
            guard let last = values.last, found != last else { continue }
            let name = String(decoding: key, as: UTF8.self)
            if found == nil {
                lost = lost ?? "\(name) is missing"
            } else if values.contains(found) {
                lost = lost ?? "\(name) is old"
            } else {
                return .wrong("\(name) has a value that was never written")
            }
        }
        return lost.map { .lost($0) }
    }
}
