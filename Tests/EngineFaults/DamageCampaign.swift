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
        let plan = try DamagePlan(of: original, kind, flips: flips, cutsPerFile: cutsPerFile, using: &random)
        for step in plan.steps {
            let copy = "\(place)/copy"
            try plan.apply(step, from: original, to: copy)
            let (verdict, answer) = try look(copy)
            report.cases.append(
                Case(
                    description: "\(kind), seed \(seed), \(ending): \(step.what) (\(step.structure)): \(answer)",
                    structure: step.structure, isFlip: step.isFlip, verdict: verdict))
        }
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
