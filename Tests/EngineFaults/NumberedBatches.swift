public import Engines
import Foundation

/// What the writers write: batch N puts row N into both families and sets "head" to N in both; every tenth first
/// deletes the row of ten batches before, by a range. So what lies in a directory says which batch was the last one,
/// and whether everything before it is there, whole.
///
/// These may lag. A batch that isn't buffered also puts row N into a log, which may not: it must be there once the batch
/// was said to be logged, and wherever the rest of it is. Some put a large row into the log and delete it at once.
///
/// With `turnover` families of their own come and go: each lives for a few batches, which set "head" in it too. And
/// copies of the first family are exported and loaded into families of their own, which also go again.
public struct NumberedBatches: Sendable {
    public let seed: UInt64
    public let turnover: Bool

    public static let families = [FamilyID(2), FamilyID(3)]
    public static let log = FamilyID(4)
    /// All that a writer makes first.
    public static let lasting = families + [log]
    static let headKey = Array("head".utf8)
    private static let passingKey = Array("passing".utf8)
    /// Batches in the life of a family that comes and goes.
    static let lifeBatches = 12
    private static let firstPassing: UInt64 = 100
    private static let firstLoaded: UInt64 = 1000

    public init(seed: UInt64, turnover: Bool = false) {
        self.seed = seed
        self.turnover = turnover
    }

    private func random(_ number: Int, _ purpose: UInt64, below bound: UInt64) -> UInt64 {
        SeededRandom.hash(seed, UInt64(number), purpose) % bound
    }

    public func row(_ number: Int) -> [UInt8] { Array(String(format: "%08d", number).utf8) }

    func value(_ number: Int) -> [UInt8] {
        let size =
            random(number, 1, below: 20) == 0 ? random(number, 2, below: 200_000) : random(number, 2, below: 2_000)
        return row(number) + [UInt8](repeating: UInt8(number & 0xff), count: Int(size))
    }

    public func durability(_ number: Int) -> Durability {
        switch random(number, 3, below: 4) {
        case 0: .synced
        case 1, 2: .logged
        default: .buffered
        }
    }

    /// What a writer says when the batch has been written.
    public func promise(_ number: Int) -> String? {
        switch durability(number) {
        case .synced: "\(number)"
        case .logged: "logged \(number)"
        case .buffered: nil
        }
    }

    /// The family that comes and goes in which batch `number` writes.
    public func passingFamily(_ number: Int) -> FamilyID {
        FamilyID(Self.firstPassing + UInt64((number - 1) / Self.lifeBatches))
    }

    /// The family into which a copy is loaded while `passing` lives.
    public func loadedFamily(beside passing: FamilyID) -> FamilyID {
        FamilyID(passing.rawValue - Self.firstPassing + Self.firstLoaded)
    }

    public func batch(_ number: Int) -> WriteBatch {
        var batch = WriteBatch()
        if durability(number) != .buffered { batch.put(Self.log, key: row(number), value: value(number)) }
        // Comes and goes within the batch: LMDB's file then ends before the last page that it counts.
        if random(number, 4, below: 7) == 0 {
            let passing = [UInt8](repeating: 0xee, count: Int(random(number, 5, below: 120_000)))
            batch.put(Self.log, key: Self.passingKey, value: passing)
            batch.deleteRange(Self.log, from: Self.passingKey, to: Self.passingKey + [0])
        }
        batch.mayLag = true
        for family in Self.families {
            if number % 10 == 0 {
                let old = row(number - 10)
                batch.deleteRange(family, from: old, to: old + [0])
            }
            batch.put(family, key: row(number), value: value(number))
            batch.put(family, key: Self.headKey, value: row(number))
        }
        if turnover { batch.put(passingFamily(number), key: Self.headKey, value: row(number)) }
        return batch
    }

    /// The number of the last batch of which the log is there; 0 in an empty directory.
    public static func logged(in engine: any StorageEngine) throws -> Int {
        guard try engine.families().contains(log) else { return 0 }
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        var found = 0
        try snapshot.scan(log, reverse: true) { key, _ in
            found = Int(String(decoding: key, as: UTF8.self)) ?? 0
            return found == 0
        }
        return found
    }

    /// The number of the last batch that is there; 0 in an empty directory.
    public static func head(of engine: any StorageEngine) throws -> Int {
        guard try engine.families().contains(families[0]) else { return 0 }
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        return try snapshot.get(families[0], key: headKey).flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
    }
}

/// What a writer has said, and must therefore be found after any crash.
public struct Promises: Sendable, Equatable, Codable {
    /// The last batch that was said to be durable.
    public var head = 0
    /// The last one that was said to be logged, or more.
    public var logged = 0
    /// Both families exist.
    public var isReady = false
    /// Families that come and go, whose creation has returned.
    public var created: Set<UInt64> = []
    /// Those whose removal has begun.
    public var dropping: Set<UInt64> = []
    /// Those whose removal has returned.
    public var dropped: Set<UInt64> = []
    /// Families that were loaded, with the last batch in them.
    public var loaded: [UInt64: Int] = [:]

    public init() {}

    /// Takes in one line of what a writer says: "ready", "created F", "dropping F", "dropped F", "loaded N F",
    /// "logged N", or the number of a durable batch.
    public mutating func hear(_ line: Substring) {
        let words = line.split(separator: " ")
        switch (words.first, words.last.flatMap { UInt64($0) }) {
        case ("ready", _): isReady = true
        case ("created", let family?): created.insert(family)
        case ("dropping", let family?): dropping.insert(family)
        case ("dropped", let family?): dropped.insert(family)
        case ("loaded", let family?): loaded[family] = Int(words[1])
        case ("logged", let number?): logged = max(logged, Int(number))
        case (_, let number?):
            head = max(head, Int(number))
            logged = max(logged, Int(number))
        default: break
        }
    }
}

/// A rule of `Durability` that a directory breaks.
public struct BrokenRule: Error, CustomStringConvertible, Sendable {
    public let description: String
    public init(_ description: String) { self.description = description }
}

extension NumberedBatches {
    /// Checks that a prefix of the batches is there, whole, with everything that was promised. Returns its last number.
    public func check(_ engine: any StorageEngine, _ promises: Promises) throws -> Int {
        let existing = Set(try engine.families())
        for family in Self.lasting where !existing.contains(family) {
            // Creating them is the first thing that a writer does.
            if promises.isReady { throw BrokenRule("\(family) was created and is missing") }
            return 0
        }
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        let contents = try Self.families.map { try rows(of: $0, in: snapshot) }
        if contents[0] != contents[1] {
            let ends = contents.map { rows in
                "\(rows.count) rows and batch \(rows[Self.headKey].map { String(decoding: $0, as: UTF8.self) } ?? "none")"
            }
            throw BrokenRule(
                "half a batch: the families have \(ends.joined(separator: ", ")); \(promises.head) was synced")
        }
        let head = try checkRows(contents[0])
        if head < promises.head {
            throw BrokenRule("batch \(promises.head) was durable, batch \(head) is the last one there")
        }
        try checkLog(rows(of: Self.log, in: snapshot), promises, head: head)
        if turnover { try checkPassingFamilies(existing, promises, head: head, snapshot) }
        return head
    }

    private func checkLog(_ rows: [[UInt8]: [UInt8]], _ promises: Promises, head: Int) throws {
        var last = 0
        for key in rows.keys {
            guard let number = Int(String(decoding: key, as: UTF8.self)) else {
                throw BrokenRule("the log has a row that nobody wrote")
            }
            last = max(last, number)
        }
        for number in 1..<max(last, head, promises.logged) + 1 where durability(number) != .buffered {
            let value = rows[row(number)]
            if value != self.value(number) {
                throw BrokenRule(
                    "row \(number) of the log, of which \(promises.logged) were promised and \(last) are there, is "
                        + "\(value == nil ? "missing" : "another"); the head is \(head)")
            }
        }
    }

    /// The rows are those after some batch, whose number it returns.
    private func checkRows(_ rows: [[UInt8]: [UInt8]]) throws -> Int {
        var head = 0
        if let stored = rows[Self.headKey] {
            guard let number = Int(String(decoding: stored, as: UTF8.self)) else {
                throw BrokenRule("the head is not a number")
            }
            head = number
        }
        for number in 0..<head {
            let isDeleted = (number + 1) % 10 == 0 && number + 11 <= head
            let value = rows[row(number + 1)]
            if isDeleted, value != nil { throw BrokenRule("row \(number + 1) of \(head) should be deleted") }
            if !isDeleted, value != self.value(number + 1) {
                throw BrokenRule("row \(number + 1) of \(head) is \(value == nil ? "missing" : "another")")
            }
        }
        let count = head == 0 ? 0 : head + 1 - max(0, head / 10 - 1)
        if rows.count != count { throw BrokenRule("rows beyond batch \(head)") }
        return head
    }

    private func checkPassingFamilies(
        _ existing: Set<FamilyID>, _ promises: Promises, head: Int, _ snapshot: any ReadSnapshot
    ) throws {
        for family in promises.created.subtracting(promises.dropping) where !existing.contains(FamilyID(family)) {
            throw BrokenRule("family \(family) was created and is missing")
        }
        for family in promises.dropped where existing.contains(FamilyID(family)) {
            throw BrokenRule("family \(family) was dropped and is there")
        }
        for family in existing where family.rawValue >= Self.firstPassing {
            if promises.dropping.contains(family.rawValue) { continue }
            if family.rawValue >= Self.firstLoaded {
                let last = try checkRows(rows(of: family, in: snapshot))
                // Without the promise: everything or nothing.
                if let promised = promises.loaded[family.rawValue], promised != last {
                    throw BrokenRule("\(family) was loaded with \(promised) batches and has \(last)")
                }
                continue
            }
            let first = Int(family.rawValue - Self.firstPassing) * Self.lifeBatches + 1
            let last = min(head, first + Self.lifeBatches - 1)
            let found = try snapshot.get(family, key: Self.headKey)
            if found != (last >= first ? row(last) : nil) {
                throw BrokenRule("half a batch: \(family) ends before batch \(last)")
            }
        }
    }

    private func rows(of family: FamilyID, in snapshot: any ReadSnapshot) throws -> [[UInt8]: [UInt8]] {
        var rows: [[UInt8]: [UInt8]] = [:]
        try snapshot.scan(family) { key, value in
            rows[Array(key)] = Array(value)
            return true
        }
        return rows
    }

    /// Checks, writes one more batch, and checks again after reopening: the directory must work on.
    public func checkAndGoOn(_ kind: EngineKind, _ directory: String, _ promises: Promises) throws -> Int {
        var engine = try kind.open(directory)
        let head = try check(engine, promises)
        for family in Self.lasting { try engine.createFamily(family) }
        // What was logged and not carried out must be carried out, as from any log.
        var onward = promises
        onward.isReady = true
        if turnover {
            try engine.createFamily(passingFamily(head + 1))
            onward.created.insert(passingFamily(head + 1).rawValue)
            onward.dropping.remove(passingFamily(head + 1).rawValue)
            onward.dropped.remove(passingFamily(head + 1).rawValue)
            while try engine.reclaim() {}
        }
        try engine.write(batch(head + 1), durability: .synced)
        onward.head = head + 1
        try engine.close()
        engine = try kind.open(directory)
        let next = try check(engine, onward)
        try engine.close()
        if next != head + 1 { throw BrokenRule("batch \(next) follows batch \(head)") }
        return head
    }
}
