public import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation

/// `flotilla bench engines`.
public struct EnginesCommand: ParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "engines",
        abstract: "Measure the storage engines beside each other, and with --raw beside their C libraries.",
        discussion: """
            Each cell (workload, value size, batch, durability) runs in short rounds in which the engines take turns, \
            so that noise hits all alike. Every engine has a process of its own: memory, CPU time and written bytes \
            are its alone, background threads included. Written bytes are counted when a page of the page cache is \
            first made dirty. A buffered round ends with a sync, which counts.

            Workloads: \(Workload.allCases.map(\.rawValue).joined(separator: ", ")). All but memory and portable run \
            unless --work chooses.
            """)

    @Option(help: "Engines: rocksdb, lmdb, sqlite, memory.") var engines = "rocksdb,lmdb,sqlite"
    @Option(help: "Workloads (default: all but memory and portable).") var work: String?
    @Option(help: "Bytes of a value, 16 to 65536; several with a list.") var valueSizes = "256"
    @Option(help: "Keys in a batch of writes, 1 to 65536; several with a list.") var batch = "1,32,256"
    @Option(help: "Seconds of a round.") var seconds = 0.5
    @Option(help: "Rounds of a cell.") var rounds = 5
    @Option(help: "Keys that are loaded; fewer where they would take more than 512 MiB.") var keys = 100_000
    @Option(
        help: "Work in this directory, which must be empty (default: a temporary one).", transform: ArgumentText.plain)
    var directory: String?
    @Flag(help: "Run the same workloads on the C libraries, called directly.") var raw = false
    @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table, json or csv.")
    var format: BenchFormat = .table
    @Option(help: "Write a report with plots into this file.", transform: ArgumentText.plain) var html: String?
    @Option(help: "Families of the memory workload.") var families = 256
    @Option(help: "MiB of keys and values that the memory workload fills.") var fillMib = 1024
    @Option(help: "Seconds for which the memory workload overwrites.") var churnSeconds = 30.0
    @Option(help: .hidden) var worker: String?

    public init() {}

    public func validate() throws {
        _ = try makePlan()
        if worker != nil { return }
        if let directory, let names = try? FileManager.default.contentsOfDirectory(atPath: directory), !names.isEmpty {
            throw ValidationError("--directory \(directory) is not empty; give one that is, or that doesn't exist.")
        }
        if let html {
            let parent = URL(fileURLWithPath: html).deletingLastPathComponent().path
            guard access(parent, W_OK) == 0 else { throw ValidationError("--html: \(parent) can't be written to.") }
        }
    }

    /// The plan that the options ask for; what is wrong with one of them is said in a sentence.
    package func makePlan() throws -> BenchPlan {
        var plan = BenchPlan()
        plan.engines = try list("--engines", engines, "rocksdb, lmdb, sqlite, memory") { EngineKind(rawValue: $0) }
        if let work {
            let names = Workload.allCases.map(\.rawValue).joined(separator: ", ")
            plan.workloads = try list("--work", work, names) { Workload(rawValue: $0) }
        }
        plan.valueSizes = try list("--value-sizes", valueSizes, "numbers from 16 to 65536") {
            Int($0).flatMap { BenchPlan.Limits.valueBytes.contains($0) ? $0 : nil }
        }
        plan.batches = try list("--batch", batch, "numbers from 1 to 65536") {
            Int($0).flatMap { BenchPlan.Limits.batch.contains($0) ? $0 : nil }
        }
        plan.seconds = try within("--seconds", seconds, BenchPlan.Limits.seconds)
        plan.rounds = try within("--rounds", rounds, BenchPlan.Limits.rounds)
        plan.keys = try within("--keys", keys, BenchPlan.Limits.keys)
        plan.families = try within("--families", families, BenchPlan.Limits.families)
        plan.fillBytes = try within("--fill-mib", fillMib, BenchPlan.Limits.fillMiB) << 20
        plan.churnSeconds = try within("--churn-seconds", churnSeconds, BenchPlan.Limits.seconds)
        plan.raw = raw
        return plan
    }

    private func list<Item: Hashable>(
        _ option: String, _ text: String, _ choices: String, _ parse: (String) -> Item?
    ) throws -> [Item] {
        var items: [Item] = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let item = parse(word.trimmingCharacters(in: .whitespaces)) else {
                throw ValidationError("\(option) takes \(choices), separated by commas; not \"\(word)\".")
            }
            if items.contains(item) { throw ValidationError("\(option) names \"\(word)\" twice.") }
            items.append(item)
        }
        return items
    }

    private func within<Number: Comparable>(
        _ option: String, _ number: Number, _ range: ClosedRange<Number>
    ) throws -> Number {
        try require(option, number, in: range)
        return number
    }

    public func run() throws {
        let plan = try makePlan()
        if let worker {
            try serve(worker, plan)
            return
        }
        signal(SIGPIPE, SIG_IGN)
        let place = try WorkPlace(directory)
        defer { place.remove() }
        let line = ProgressLine()
        let report: BenchReport
        do {
            let conductor = Conductor(plan: plan, directory: place.path, progress: line.show)
            let results = try conductor.run(started: place.ended(by:))
            report = BenchReport(environment: RunEnvironment.describe(plan), results: results)
        } catch {
            place.waitIfEnding()
            line.clear()
            note("flotilla: \(error)")
            throw Exit.failed
        }
        line.clear()
        // First: it is there even if nobody takes the table.
        if let html {
            do { try HTMLReport(report).text.write(toFile: html, atomically: true, encoding: .utf8) } catch {
                try StandardOutput.write(try format.render(report))
                note("flotilla: \(html): \(error.localizedDescription)")
                throw Exit.failed
            }
        }
        try StandardOutput.write(try format.render(report))
    }

    private func serve(_ worker: String, _ plan: BenchPlan) throws {
        let parts = worker.split(separator: "=", maxSplits: 1)
        guard parts.count == 2, let name = SubjectName(String(parts[0])) else {
            throw ValidationError("--worker takes ENGINE=DIRECTORY.")
        }
        Worker(runner: RoundRunner(name, plan, directory: String(parts[1]))).serve()
    }
}

/// How results are printed.
enum BenchFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json, csv

    func render(_ report: BenchReport) throws -> String {
        switch self {
        case .table: TableOutput.render(report)
        case .csv: CSVOutput.render(report)
        case .json: try JSONOutput.render(report)
        }
    }
}
