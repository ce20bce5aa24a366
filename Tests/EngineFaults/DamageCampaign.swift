public import Engines
import Foundation

/// Truncates files and flips bits in them, and looks at what an engine makes of it.
public struct DamageCampaign: Sendable {
    public enum Verdict: String, Sendable, CaseIterable, Comparable {
        /// Everything is there.
        case right
        /// An error, at opening, reading or writing.
        case refused
        /// Synced rows are missing or old, and no error said so.
        case lost
        /// Something was read that nobody has written.
        case wrong
        case crashed
        case hung

        public static func < (left: Verdict, right: Verdict) -> Bool {
            (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
        }
    }

    /// One damaged copy: everything that makes it again.
    public struct Case: Sendable, CustomStringConvertible {
        public var description: String
        public var structure: String
        public var isFlip: Bool
        public var verdict: Verdict
    }

    public struct Report: Sendable {
        public var cases: [Case] = []

        public func count(_ verdict: Verdict) -> Int { cases.count { $0.verdict == verdict } }
        public var summary: String {
            "\(cases.count) damaged copies: "
                + Verdict.allCases.map { "\(count($0)) \($0.rawValue)" }.joined(separator: ", ")
        }

        /// One line for each structure and kind of damage.
        public var table: [String] {
            var rows: [String: [Verdict: Int]] = [:]
            for one in cases {
                rows["\(one.structure) | \(one.isFlip ? "flip" : "cut")", default: [:]][one.verdict, default: 0] += 1
            }
            return rows.sorted { $0.key < $1.key }.map { name, counts in
                "| \(name) | " + Verdict.allCases.map { "\(counts[$0] ?? 0)" }.joined(separator: " | ") + " |"
            }
        }
    }

    public let kind: EngineKind
    public let seed: UInt64

    public init(_ kind: EngineKind, seed: UInt64) {
        self.kind = kind
        self.seed = seed
    }

    private enum Damage {
        case cut(Int)
        case flip(byte: Int, bit: Int)
    }

    /// Damages a directory that was closed, and one whose writer was killed: each file cut at each sixteenth (or at
    /// some of them), and `flips` bits.
    public func run(flips: Int, cutsPerFile: Int = 16) throws -> Report {
        var report = Report()
        for ending in ["clean", "kill"] {
            try withScratchDirectory { place in
                let original = "\(place)/original"
                try emptyDirectory(original)
                let made = try ChildProgram.run(["make", kind.rawValue, original, "\(seed)", ending])
                guard made.end == (ending == "kill" ? .signalled(SIGKILL) : .exited(0)) else {
                    throw BrokenRule("\(kind), seed \(seed): the content can't be made: \(made)")
                }
                try damage(original, ending, flips: flips, cutsPerFile: cutsPerFile, place, &report)
            }
        }
        return report
    }

    private func damage(
        _ original: String, _ ending: String, flips: Int, cutsPerFile: Int, _ place: String, _ report: inout Report
    ) throws {
        var random = SeededRandom(seed: SeededRandom.hash(seed, ending == "kill" ? 1 : 0))
        let files = try FileManager.default.subpathsOfDirectory(atPath: original).sorted().compactMap {
            name -> (name: String, bytes: [UInt8])? in
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(original)/\(name)")))
            return bytes.isEmpty ? nil : (name, bytes)
        }
        var plan: [(file: Int, damage: Damage)] = []
        for (number, file) in files.enumerated() {
            for cut in Array(0..<16).shuffled(using: &random).prefix(cutsPerFile).sorted() {
                plan.append((number, .cut(file.bytes.count * cut / 16)))
            }
        }
        // Half of the flips anywhere, half spread evenly over the structures, most of which are small.
        let total = files.reduce(0) { $0 + $1.bytes.count }
        func anywhere() -> (file: Int, byte: Int) {
            var at = Int.random(in: 0..<total, using: &random)
            for (number, file) in files.enumerated() {
                if at < file.bytes.count { return (number, at) }
                at -= file.bytes.count
            }
            return (0, 0)
        }
        let structures = files.map { FileStructure(kind, name: $0.name, bytes: $0.bytes) }
        let places = Self.places(files.map(\.bytes.count), structures, using: &random)
        let names = places.keys.sorted()
        for number in 0..<flips {
            var chosen = anywhere()
            if number % 2 == 0, let name = names.randomElement(using: &random),
                let place = places[name]?.randomElement(using: &random)
            {
                chosen = place
            }
            plan.append((chosen.file, .flip(byte: chosen.byte, bit: Int.random(in: 0..<8, using: &random))))
        }
        for step in plan {
            let file = files[step.file]
            let structure: String
            let what: String
            var bytes = file.bytes
            switch step.damage {
            case .cut(let size):
                bytes.removeLast(bytes.count - size)
                structure = structures[step.file].name(at: 0).split(separator: ":").first.map(String.init) ?? file.name
                what = "cut to \(size) of \(file.bytes.count)"
            case .flip(let byte, let bit):
                bytes[byte] ^= 1 << UInt8(bit)
                structure = structures[step.file].name(at: byte)
                what = "bit \(bit) of byte \(byte) of \(file.bytes.count) flipped"
            }
            let copy = "\(place)/copy"
            try? FileManager.default.removeItem(atPath: copy)
            try FileManager.default.copyItem(atPath: original, toPath: copy)
            try Data(bytes).write(to: URL(fileURLWithPath: "\(copy)/\(file.name)"))
            let (verdict, answer) = try look(copy)
            report.cases.append(
                Case(
                    description: "\(kind), seed \(seed), \(ending): \(file.name) \(what) (\(structure)): \(answer)",
                    structure: structure, isFlip: { if case .flip = step.damage { true } else { false } }(),
                    verdict: verdict))
        }
    }

    /// Some places in each structure.
    private static func places(
        _ sizes: [Int], _ structures: [FileStructure], using random: inout SeededRandom
    ) -> [String: [(file: Int, byte: Int)]] {
        var places: [String: [(file: Int, byte: Int)]] = [:]
        for (file, size) in sizes.enumerated() {
            // The beginnings of pages hold most structures.
            for number in 0..<600 {
                var byte = Int.random(in: 0..<size, using: &random)
                if number % 3 == 0 { byte = byte / 4096 * 4096 + Int.random(in: 0..<64, using: &random) }
                if number % 3 == 1 { byte = Int.random(in: 0..<min(size, 12_288), using: &random) }
                if byte < size { places[structures[file].name(at: byte), default: []].append((file, byte)) }
            }
        }
        return places
    }

    private func look(_ copy: String) throws -> (Verdict, String) {
        let outcome = try ChildProgram.run(["read", kind.rawValue, copy, "\(seed)"], seconds: 30)
        let answer = String(outcome.lines.last ?? "")
        switch outcome.end {
        case .timedOut, .signalled(SIGXCPU): return (.hung, "no end in time")
        case .exited(0):
            let word = answer.prefix { $0 != " " }
            return (Verdict(rawValue: String(word)) ?? .crashed, answer)
        case .signalled, .exited: return (.crashed, "\(outcome.end)")
        }
    }
}
