internal import Foundation
internal import Simulator

/// Runs seeds in jobs, tells what was found in the order of the seeds, and makes it small.
///
/// What goes to the standard output is the same for any number of jobs; progress, which isn't, goes to the standard error.
struct Search<Run: SimulatedRun> {
    let jobs: Int
    let isWorld: Bool
    /// What a finding is repeated with.
    let command: String
    let shrinks: Bool
    let wantsOwnReason: Bool
    let options: @Sendable (UInt64) -> Run.Options?

    private static var tailMax: Int { 50 }
    private static var shrinkingRunsMax: Int { 150 }

    init(
        jobs: Int, isWorld: Bool, command: String, shrinks: Bool, wantsOwnReason: Bool,
        options: @escaping @Sendable (UInt64) -> Run.Options?
    ) {
        self.jobs = jobs
        self.isWorld = isWorld
        self.command = command
        self.shrinks = shrinks
        self.wantsOwnReason = wantsOwnReason
        self.options = options
    }

    /// What a seed came to.
    private struct Finding {
        var options: Run.Options
        var report: Run.Report?
        var sentence: String
    }

    /// What the jobs share.
    private struct State {
        var next: UInt64
        var total: Run.Report?
        var passed: UInt64 = 0
        /// Found the bug, and not for its own reason.
        var passedOver: UInt64 = 0
        var first: (seed: UInt64, finding: Finding)?
        var failure: String?
    }

    private final class Shared: @unchecked Sendable {
        private let lock = NSLock()
        private var state: State
        init(_ state: State) { self.state = state }
        func with<Result>(_ body: (inout State) -> Result) -> Result {
            lock.lock()
            defer { lock.unlock() }
            return body(&state)
        }
    }

    // MARK: - Many seeds

    /// - Returns: whether nothing was found.
    func run(_ range: ClosedRange<UInt64>) throws -> Bool {
        let shared = Shared(State(next: range.lowerBound))
        search(shared, last: range.upperBound, until: nil)
        return try conclude(shared, seconds: nil)
    }

    /// Seeds from one on, until the time is up.
    func run(from first: UInt64, seconds: UInt64) throws -> Bool {
        let shared = Shared(State(next: first))
        let began = Date()
        let ticker = DispatchSource.makeTimerSource(queue: .global())
        ticker.schedule(deadline: .now() + 60, repeating: 60)
        ticker.setEventHandler {
            let passed = Date().timeIntervalSince(began)
            let line = shared.with { progress($0, passed) }
            FileHandle.standardError.write(Data((line + "\n").utf8))
        }
        ticker.resume()
        search(shared, last: .max, until: began.addingTimeInterval(Double(seconds)))
        ticker.cancel()
        return try conclude(shared, seconds: Date().timeIntervalSince(began))
    }

    private func progress(_ state: State, _ seconds: Double) -> String {
        let virtual = Double(state.total?.virtualTime ?? 0) / 1_000
        let rate = Int(virtual / max(seconds, 0.001) / Double(jobs))
        return "\(Int(seconds)) s: \(state.passed) seeds, \(Int(virtual)) virtual seconds, \(rate) a second and core"
    }

    /// Every job takes the next seed, until there are none or an earlier one has found something.
    private func search(_ shared: Shared, last: UInt64, until end: Date?) {
        DispatchQueue.concurrentPerform(iterations: jobs) { _ in
            let worker = Worker<Run>(isWorld: isWorld)
            while true {
                if let end, Date() >= end { return }
                let seed = shared.with { state -> UInt64? in
                    guard state.next <= last, state.failure == nil, state.first == nil else { return nil }
                    defer { state.next += 1 }
                    return state.next
                }
                guard let seed, let options = options(seed) else { return }
                do {
                    let outcome = try worker.run(options)
                    shared.with { note(outcome, options, seed, &$0) }
                } catch {
                    shared.with { $0.failure = "\(error)" }
                }
            }
        }
    }

    private func note(_ outcome: Worker<Run>.Outcome, _ options: Run.Options, _ seed: UInt64, _ state: inout State) {
        let finding: Finding
        switch outcome {
        case .report(let report):
            guard let sentence = report.violation else {
                if state.total?.add(report) == nil { state.total = report }
                state.passed += 1
                return
            }
            if wantsOwnReason, options.plant?.description.isReason(for: sentence) == false {
                state.passedOver += 1
                return
            }
            finding = Finding(options: options, report: report, sentence: sentence)
        case .trap(let sentence):
            if wantsOwnReason, options.plant?.description.isReason(for: sentence) != true {
                state.passedOver += 1
                return
            }
            finding = Finding(options: options, report: nil, sentence: sentence)
        }
        // Seeds are begun in order: whatever is before this one has been begun, and will be noted.
        if state.first.map({ seed < $0.seed }) ?? true { state.first = (seed, finding) }
    }

    private func conclude(_ shared: Shared, seconds: Double?) throws -> Bool {
        let state = shared.with { $0 }
        if let failure = state.failure { throw Worker<Run>.Failure(description: failure) }
        guard let (seed, finding) = state.first else {
            let summary = state.total.map { ": " + $0.summary } ?? ""
            print(
                "\(state.passed) seeds passed\(summary)"
                    + (wantsOwnReason ? "; \(state.passedOver) found something else" : ""))
            if let seconds { print(progress(state, seconds)) }
            return true
        }
        print("seed \(seed): \(finding.sentence)")
        let small = shrinks ? try shrink(finding) : finding
        if small.sentence != finding.sentence { print("made small: \(small.sentence)") }
        if small.report == nil { try printTail(small.options) }
        print("repeat with: \(repetition(small.options)) --trace")
        return false
    }

    private func repetition(_ options: Run.Options) -> String {
        var words = "\(command) --seed \(options.seed)"
        if let plant = options.plant { words += " --plant \(plant.rawValue)" }
        if !options.reductions.isEmpty { words += " --reduce " + options.reductions.map(\.text).joined(separator: ",") }
        return words
    }

    // MARK: - One seed

    /// Prints every event as it happens: what a trap leaves is all before it.
    func trace(_ seed: UInt64) throws -> Bool {
        guard let options = options(seed) else { return true }
        switch try Worker<Run>(isWorld: isWorld).run(options, trace: { print($0) }) {
        case .report(let report):
            guard let sentence = report.violation else {
                print("1 seeds passed: \(report.summary)")
                return true
            }
            print("seed \(seed): \(sentence)")
        case .trap(let sentence): print("seed \(seed): \(sentence)")
        }
        return false
    }

    /// The last events before a trap.
    private func printTail(_ options: Run.Options) throws {
        var tail: [String] = []
        _ = try Worker<Run>(isWorld: isWorld).run(options) { line in
            tail.append(line)
            if tail.count > 2 * Self.tailMax { tail.removeFirst(Self.tailMax) }
        }
        for line in tail.suffix(Self.tailMax) { print(line) }
    }

    /// Fewer faults, fewer requests, shorter: as long as the same is found.
    private func shrink(_ finding: Finding) throws -> Finding {
        let worker = Worker<Run>(isWorld: isWorld)
        let kind = Self.kind(finding.sentence)
        var small = finding
        var runs = 0
        search: while runs < Self.shrinkingRunsMax {
            for options in candidates(small) {
                runs += 1
                guard runs < Self.shrinkingRunsMax else { break search }
                let found: Finding?
                switch try worker.run(options) {
                case .report(let report):
                    found = report.violation.map { Finding(options: options, report: report, sentence: $0) }
                case .trap(let sentence): found = Finding(options: options, report: nil, sentence: sentence)
                }
                if let found, Self.kind(found.sentence) == kind {
                    small = found
                    continue search
                }
            }
            break
        }
        return small
    }

    /// After a trap nothing is known of the run but that it ended.
    private func candidates(_ finding: Finding) -> [Run.Options] {
        guard let report = finding.report else { return [] }
        return finding.options.smaller(after: report)
    }

    /// A sentence without its numbers: the same defect is found at other places.
    private static func kind(_ sentence: String) -> String { sentence.filter { !$0.isNumber } }
}
