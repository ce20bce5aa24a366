public import Engines
internal import Foundation

/// What every storage engine must do, as code that a new engine's author can call.
///
/// A suite needs two things of an engine: how to open it in a directory, and whether it keeps anything there.
/// Each `Check` is one rule. It gets an empty directory of its own, throws `ConformanceFailure` where the engine
/// breaks the rule, and passes on whatever the engine throws by mistake.
///
///     let suite = EngineConformance(name: "fifth", keepsData: true) { path, readOnly in … }
///     for check in EngineConformance.checks { try suite.run(check) }
public struct EngineConformance: Sendable, CustomStringConvertible {
    public typealias Opener = @Sendable (_ directory: String, _ readOnly: Bool) throws -> any StorageEngine

    /// One rule.
    public struct Check: Sendable, CustomStringConvertible {
        /// The rule, as the name of a test.
        public let name: String
        let body: @Sendable (Workbench) throws -> Void

        init(_ name: String, _ body: @escaping @Sendable (Workbench) throws -> Void) {
            self.name = name
            self.body = body
        }

        public var description: String { name }
    }

    public let name: String
    /// False for an engine in memory: what asks for reopening does not apply to it.
    public let keepsData: Bool
    let opener: Opener

    public init(name: String, keepsData: Bool, open: @escaping Opener) {
        self.name = name
        self.keepsData = keepsData
        opener = open
    }

    /// The suite of an engine that this package knows.
    public init(_ kind: EngineKind) {
        self.init(name: kind.rawValue, keepsData: kind != .memory) { try kind.open($0, readOnly: $1) }
    }

    public var description: String { name }

    /// Every rule that one engine can be held to alone.
    public static let checks: [Check] =
        familyChecks + writeChecks + batchChecks + cursorChecks + snapshotChecks + durabilityChecks + movementChecks
        + modelChecks

    /// Holds the engine to one rule, in a temporary directory that is gone afterwards.
    public func run(_ check: Check) throws {
        try Workbench.temporary { path in
            try check.body(Workbench(suite: self, path: path))
        }
    }
}

/// A rule that an engine breaks.
public struct ConformanceFailure: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ sentence: String, _ file: String, _ line: Int) {
        description = "\(sentence) (\(file):\(line))"
    }
}

/// Where a check works: a directory, and the engine under test.
struct Workbench: Sendable {
    let suite: EngineConformance
    let path: String

    /// The engine's own directory.
    var engineDirectory: String { "\(path)/engine" }

    static func temporary<Result>(_ body: (String) throws -> Result) throws -> Result {
        let path = "\(NSTemporaryDirectory())/flotilla-conformance-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    /// A new, empty directory.
    func directory(_ name: String) throws -> String {
        let directory = "\(path)/\(name)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        return directory
    }

    func open(readOnly: Bool = false) throws -> any StorageEngine {
        try suite.opener(try directory("engine"), readOnly)
    }

    /// Opens the engine for as long as `body` runs.
    func withEngine<Result>(_ body: (any StorageEngine) throws -> Result) throws -> Result {
        let engine = try open()
        let result = try body(engine)
        try engine.close()
        return result
    }
}

// MARK: - Expectations

func expect(
    _ isTrue: Bool, _ sentence: @autoclosure () -> String, file: String = #fileID, line: Int = #line
) throws {
    if !isTrue { throw ConformanceFailure(sentence(), file, line) }
}

func expectEqual<Value: Equatable>(
    _ found: Value, _ expected: Value, _ what: @autoclosure () -> String, file: String = #fileID, line: Int = #line
) throws {
    if found != expected {
        throw ConformanceFailure("\(what()): found \(found), expected \(expected)", file, line)
    }
}

/// `body` must be refused with an error that `matches`.
func expectRefusal(
    _ what: String, file: String = #fileID, line: Int = #line, _ body: () throws -> Void,
    matches: (EngineError) -> Bool
) throws {
    do {
        try body()
    } catch let error as EngineError {
        if matches(error) { return }
        throw ConformanceFailure("\(what) was refused as \"\(error)\"", file, line)
    }
    throw ConformanceFailure("\(what) was not refused", file, line)
}

// MARK: - Shorthand

/// Families that checks use.
enum Families {
    static let first = FamilyID(2)
    static let second = FamilyID(3)
    static let absent = FamilyID(99)
}

/// A pair as a check sees it.
struct Pair: Equatable, CustomStringConvertible {
    var key: [UInt8]
    var value: [UInt8]

    var description: String { "\(brief(key))=\(brief(value))" }
}

func brief(_ bytes: [UInt8]) -> String {
    bytes.count <= 12 ? "\(bytes)" : "[\(bytes[0]), \(bytes[1]), …\(bytes.count) bytes]"
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension StorageEngine {
    func put(_ family: FamilyID, _ key: [UInt8], _ value: [UInt8], _ durability: Durability = .buffered) throws {
        var batch = WriteBatch()
        batch.put(family, key: key, value: value)
        try write(batch, durability: durability)
    }

    func get(_ family: FamilyID, _ key: [UInt8]) throws -> [UInt8]? {
        let snapshot = try snapshot()
        defer { snapshot.close() }
        return try snapshot.get(family, key: key)
    }

    func pairs(
        _ family: FamilyID, lower: [UInt8] = [], upper: [UInt8]? = nil, reverse: Bool = false
    ) throws -> [Pair] {
        let snapshot = try snapshot()
        defer { snapshot.close() }
        return try snapshot.pairs(family, lower: lower, upper: upper, reverse: reverse)
    }

    func contentHash(_ family: FamilyID) throws -> ContentHash {
        let snapshot = try snapshot()
        defer { snapshot.close() }
        var hash = ContentHash()
        try snapshot.scan(family) { key, value in
            hash.add(key: key, value: value)
            return true
        }
        return hash
    }
}

extension ReadView {
    func pairs(
        _ family: FamilyID, lower: [UInt8] = [], upper: [UInt8]? = nil, reverse: Bool = false
    ) throws -> [Pair] {
        var pairs: [Pair] = []
        try scan(family, lower: lower, upper: upper, reverse: reverse) { key, value in
            pairs.append(Pair(key: Array(key), value: Array(value)))
            return true
        }
        return pairs
    }
}

/// SplitMix64: a check's whole randomness is its seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }
}
