public import Engines
import Foundation

/// Records a writer's calls, cuts the power at many places, and looks at what each cut may leave.
public struct PowerCutCampaign: Sendable {
    public let kind: EngineKind
    /// Batches in each recorded life.
    public let batches: Int

    /// The disk drops syncs, so that the campaign must find failures: it proves itself by that.
    public let isDiskLying: Bool

    public init(_ kind: EngineKind, batches: Int = 60, isDiskLying: Bool = false) {
        self.kind = kind
        self.batches = batches
        self.isDiskLying = isDiskLying
    }

    /// One state that broke a rule: everything that makes it again.
    public struct Failure: Sendable, CustomStringConvertible {
        public var description: String
        /// The engine would not open it, though there were promises to keep.
        public var isRefusal: Bool
    }

    public struct Report: Sendable, CustomStringConvertible {
        public var states = 0
        /// Refused before anything had been promised: nothing is lost, and the directory may be made anew.
        public var refusedEmpty = 0
        /// RocksDB writes a record of its MANIFEST and then syncs it. If a cut tears that record in the middle, it
        /// looks like damage to one that had been synced, and refusing is the safe answer.
        public var refusedTornManifest: [String] = []
        /// States that held more than was promised.
        public var beyondPromise = 0
        public var failures: [Failure] = []
        /// Files that came out otherwise than the trace says: written through a map, or through stdio.
        public var unrecorded: Set<String> = []

        public var right: Int { states - failures.count - refusedEmpty - refusedTornManifest.count }
        public var refusals: Int { failures.count { $0.isRefusal } }
        public var description: String {
            "\(states) states, \(right) right (\(beyondPromise) with unsynced batches), "
                + "\(refusedEmpty) refused before the first promise, "
                + (refusedTornManifest.isEmpty ? "" : "\(refusedTornManifest.count) refused for a torn MANIFEST, ")
                + "\(refusals) refused, "
                + "\(failures.count - refusals) broken"
        }
    }

    /// Two lives for each seed: the second one begins with a state that a cut in the first one left, so that recovery
    /// is cut too.
    public func run(seeds: Range<UInt64>, statesPerLife: Int) throws -> Report {
        var report = Report()
        for seed in seeds {
            try withScratchDirectory { place in
                let begin = "\(place)/begin"
                // As in a node's directory: the engine has one of its own, beside what is being put together.
                try emptyDirectory("\(begin)/engine")
                var promises = Promises()
                for life in 0..<2 {
                    try? FileManager.default.removeItem(atPath: "\(place)/lived")
                    try FileManager.default.copyItem(atPath: begin, toPath: "\(place)/lived")
                    try? FileManager.default.removeItem(atPath: "\(place)/lived/staging")
                    let trace = try record(in: place, seed: seed)
                    promises = try look(
                        at: trace, life: life, seed: seed, states: statesPerLife, place, begin, promises, &report)
                }
            }
        }
        return report
    }

    /// The process is killed, another one opens what is in the system's cache, and the power fails: what the second one
    /// has seen must be there.
    public func runReopened(seeds: Range<UInt64>, killsPerLife: Int) throws -> Report {
        var report = Report()
        for seed in seeds {
            try withScratchDirectory { place in
                try emptyDirectory("\(place)/lived/engine")
                let first = try record(in: place, seed: seed)
                var random = SeededRandom(seed: SeededRandom.hash(seed, 7))
                try emptyDirectory("\(place)/begin/engine")
                for number in 0..<killsPerLife {
                    // Late enough for something to be there.
                    let kill = Int.random(in: first.calls.count / 8...first.calls.count, using: &random)
                    var killed = try DiskModel(first, over: "\(place)/begin", ignoresSyncs: isDiskLying)
                    try killed.advance(to: kill)
                    try emptyDirectory("\(place)/lived")
                    try killed.write(.everything, to: "\(place)/lived", using: &random)
                    let second = try record(in: place, seed: seed, verb: "reopen")
                    let story = first.killed(after: kill, then: second)
                    var model = try DiskModel(story, over: "\(place)/begin", ignoresSyncs: isDiskLying)
                    try model.advance(to: story.calls.count)
                    for survival in [.nothing, model.survival(using: &random)] {
                        try emptyDirectory("\(place)/state")
                        try model.write(survival, to: "\(place)/state", using: &random)
                        report.states += 1
                        var isTorn = false
                        if case .blocks = survival { isTorn = true }
                        try judge("\(place)/state", seed, model.promises, isTorn: isTorn, &report) {
                            "\(kind), seed \(seed), kill \(number): reopened after call \(kill), then \(survival)"
                        }
                    }
                }
            }
        }
        return report
    }

    private func record(in place: String, seed: UInt64, verb: String = "record") throws -> RecordedTrace {
        let outcome = try ChildProgram.run(
            [verb, kind.rawValue, "\(place)/lived", "\(seed)", "\(batches)"],
            environment: [
                "LD_PRELOAD": try ChildProgram.path("libWriteRecorder.so"),
                "FLOTILLA_RECORD_DIRECTORY": "\(place)/lived", "FLOTILLA_RECORD_TRACE": "\(place)/trace",
            ])
        guard outcome.end == .exited(0) else {
            throw BrokenRule("\(kind), seed \(seed): the writer failed: \(outcome)")
        }
        return try RecordedTrace(contentsOf: "\(place)/trace")
    }

    /// Places to cut at: half of them anywhere, half near the calls that decide something.
    private func cuts(_ trace: RecordedTrace, count: Int, using random: inout SeededRandom) -> [Int] {
        let deciding = trace.calls.indices.filter {
            switch trace.calls[$0] {
            case .sync, .rename, .link, .unlink, .truncate, .say: true
            default: false
            }
        }
        return (0..<count).map { _ in
            if random.chance(50), let near = deciding.randomElement(using: &random) {
                return min(trace.calls.count, max(0, near + Int.random(in: -1...2, using: &random)))
            }
            return Int.random(in: 0...trace.calls.count, using: &random)
        }.sorted()
    }

    /// Returns what had been promised about the state that it leaves in `begin`.
    private func look(
        at trace: RecordedTrace, life: Int, seed: UInt64, states: Int, _ place: String, _ begin: String,
        _ earlier: Promises, _ report: inout Report
    ) throws -> Promises {
        var random = SeededRandom(seed: SeededRandom.hash(seed, UInt64(life)))
        var model = try DiskModel(trace, over: begin, promises: earlier, ignoresSyncs: isDiskLying)
        let cuts = cuts(trace, count: states, using: &random)
        // The next life begins in the second half, so that there is something to recover.
        let chosen = Int.random(in: states / 2..<states, using: &random)
        var next: (directory: String, promises: Promises)?
        for (number, cut) in cuts.enumerated() {
            try model.advance(to: cut)
            let state = "\(place)/state"
            try emptyDirectory(state)
            let survival = model.survival(using: &random)
            let before = random
            try model.write(survival, to: state, using: &random)
            if number == chosen {
                try FileManager.default.copyItem(atPath: state, toPath: "\(place)/next")
                next = ("\(place)/next", model.promises)
            }
            report.states += 1
            let failures = report.failures.count
            var isTorn = false
            if case .blocks = survival { isTorn = true }
            try judge(state, seed, model.promises, isTorn: isTorn, &report) {
                "\(kind), seed \(seed), life \(life), state \(number): cut after call \(cut), \(survival)"
            }
            // Threads of the engine may write in another order next time, so the seed alone may not bring it back.
            if report.failures.count > failures, let shelf = ProcessInfo.processInfo.environment["FLOTILLA_KEEP_STATES"]
            {
                let kept = "\(shelf)/\(kind)-\(seed)-\(life)-\(number)"
                try emptyDirectory(kept)
                var again = before
                try model.write(survival, to: kept, using: &again)
            }
        }
        try model.advance(to: trace.calls.count)
        report.unrecorded.formUnion(try difference(model, place, &random))
        guard let next else { return earlier }
        try FileManager.default.removeItem(atPath: begin)
        try FileManager.default.moveItem(atPath: next.directory, toPath: begin)
        return next.promises
    }

    /// The whole trace must give the directory that the writer left; otherwise calls have escaped the recorder.
    private func difference(_ model: DiskModel, _ place: String, _ random: inout SeededRandom) throws -> Set<String> {
        try emptyDirectory("\(place)/state")
        try model.write(.everything, to: "\(place)/state", using: &random)
        var names = model.mapped
        let (work, state) = (try Self.files(in: "\(place)/lived"), try Self.files(in: "\(place)/state"))
        for name in work.union(state)
        where !FileManager.default.contentsEqual(atPath: "\(place)/lived/\(name)", andPath: "\(place)/state/\(name)") {
            names.insert(name)
        }
        return names
    }

    private static func files(in directory: String) throws -> Set<String> {
        Set(
            try FileManager.default.subpathsOfDirectory(atPath: directory).filter {
                var isDirectory: ObjCBool = false
                _ = FileManager.default.fileExists(atPath: "\(directory)/\($0)", isDirectory: &isDirectory)
                return !isDirectory.boolValue
            })
    }

    private func judge(
        _ state: String, _ seed: UInt64, _ promises: Promises, isTorn: Bool, _ report: inout Report,
        _ name: () -> String
    ) throws {
        let promised = String(decoding: try JSONEncoder().encode(promises), as: UTF8.self)
        let outcome = try ChildProgram.run(["check", kind.rawValue, state, "\(seed)", promised], seconds: 60)
        let answer = outcome.lines.last ?? ""
        let words = answer.split(separator: " ", maxSplits: 1)
        switch (outcome.end, words.first) {
        case (.exited(0), "right"):
            if let head = words.last.flatMap({ Int($0) }), head > promises.head { report.beyondPromise += 1 }
        case (.exited(0), "refused"):
            if !promises.isReady {
                report.refusedEmpty += 1
            } else if isTorn, answer.contains("checksum mismatch in file"), answer.contains("/MANIFEST-") {
                report.refusedTornManifest.append("\(name()): \(answer)")
            } else {
                report.failures.append(Failure(description: "\(name()): \(answer)", isRefusal: true))
            }
        default:
            let description = "\(name()): \(outcome.end) \(answer)"
            report.failures.append(Failure(description: description, isRefusal: false))
        }
    }
}
