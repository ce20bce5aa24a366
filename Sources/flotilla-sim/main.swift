import ArgumentParser
import Simulator

struct SimulatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flotilla-sim",
        abstract: "Runs seeded groups of replicas under virtual time, with faults, and checks the invariants of Raft.",
        discussion: """
            With --world it runs a whole cluster: a controller, groups, and clients whose histories must be \
            linearizable.
            Exit codes: 0 nothing found, 1 a violation was found (its seed is printed), 64 usage.
            A trace has one line for each event: virtual milliseconds, node, event. n1->n2 is a message, t3 a \
            term, 5@3 the log position with index 5 and term 3. In a world c0 is a node of the controller, g1n0 \
            one of group 1, k0 a client and #7 one of the clients' operations.
            """,
        version: "flotilla-sim 0.1.0")

    @Option(help: "Run this one seed.") var seed: UInt64?
    @Option(help: "Run all seeds of a range, as A..B (both included).") var seeds: String?
    @Flag(help: "Print every event of the run.") var trace = false
    @Flag(help: "Run a whole cluster instead of one group.") var world = false
    @Option(
        help: """
            Put a known bug back: \(Simulation.Plant.allCases.map(\.rawValue).joined(separator: ", ")); with --world: \
            \(World.Plant.allCases.map(\.rawValue).joined(separator: ", ")).
            """)
    var plant: String?

    func validate() throws {
        if (seed == nil) == (seeds == nil) { throw ValidationError("Give either --seed N or --seeds A..B.") }
        if seeds != nil {
            guard let range else { throw ValidationError("--seeds wants A..B with A <= B, as in 1..200.") }
            if range.upperBound - range.lowerBound >= Self.seedsMax {
                throw ValidationError("--seeds takes at most \(Self.seedsMax) seeds.")
            }
        }
        if let plant, world ? World.Plant(rawValue: plant) == nil : Simulation.Plant(rawValue: plant) == nil {
            throw ValidationError("There is no planted bug \"\(plant)\".")
        }
    }

    /// Months of running; more than so many can't be counted up.
    private static let seedsMax: UInt64 = 1_000_000_000

    private var range: ClosedRange<UInt64>? {
        if let seed { return seed...seed }
        let parts = (seeds ?? "").components(separatedBy: "..")
        guard parts.count == 2, let first = UInt64(parts[0]), let last = UInt64(parts[1]), first <= last else {
            return nil
        }
        return first...last
    }

    func run() throws {
        guard let range else { return }
        if world { return try runWorlds(range) }
        var totals = (
            events: UInt64(0), elections: 0, acknowledged: 0, reads: 0, crashes: 0, snapshots: 0, wipes: 0, changes: 0,
            stages: 0, blocked: 0
        )
        for seed in range {
            let options = Simulation.Options(seed: seed, plant: plant.flatMap(Simulation.Plant.init(rawValue:)))
            let report = Simulation.run(options, trace: trace ? { print($0) } : nil)
            totals.events += report.events
            totals.elections += report.elections
            totals.acknowledged += report.acknowledged
            totals.reads += report.reads
            totals.crashes += report.crashes
            totals.snapshots += report.snapshots
            totals.stages += report.stages
            totals.blocked += report.blocked
            totals.wipes += report.wipes
            totals.changes += report.changes
            if let violation = report.violation { throw found(violation, seed) }
        }
        print(
            "\(range.count) seeds passed: \(totals.events) events, \(totals.elections) elections, "
                + "\(totals.acknowledged) writes acknowledged, \(totals.reads) reads, \(totals.crashes) crashes, "
                + "\(totals.wipes) disks lost, \(totals.changes) changes of members, \(totals.snapshots) snapshots, "
                + "\(totals.stages) families staged, \(totals.blocked) waits for one")
    }

    private func found(_ violation: String, _ seed: UInt64) -> ExitCode {
        print("seed \(seed): \(violation)")
        print(
            "repeat with: flotilla-sim" + (world ? " --world" : "") + " --seed \(seed) --trace"
                + (plant.map { " --plant \($0)" } ?? ""))
        return ExitCode(1)
    }

    private func runWorlds(_ range: ClosedRange<UInt64>) throws {
        var total: World.Report?
        for seed in range {
            let options = World.Options(seed: seed, plant: plant.flatMap(World.Plant.init(rawValue:)))
            let report = World.run(options, trace: trace ? { print($0) } : nil)
            if let violation = report.violation { throw found(violation, seed) }
            if total?.add(report) == nil { total = report }
        }
        if let total { print("\(range.count) seeds passed: \(total.summary)") }
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [String] {
        var parts: [String] = [""]
        var rest = self[...]
        while let first = rest.first {
            if rest.hasPrefix(separator) {
                parts.append("")
                rest = rest.dropFirst(separator.count)
            } else {
                parts[parts.count - 1].append(first)
                rest = rest.dropFirst()
            }
        }
        return parts
    }
}

SimulatorCommand.main()
