internal import ArgumentParser
internal import Foundation
internal import Simulator

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

    @Option(help: "Run this one seed; with --for, begin with it.") var seed: UInt64?
    @Option(help: "Run all seeds of a range, as A..B (both included).") var seeds: String?
    @Option(name: .customLong("for"), help: "Run seeds until so much time is up: 90s, 30m, 8h.") var time: String?
    @Option(help: "Run so many seeds at once, each job in a process of its own.") var jobs: Int = 1
    @Flag(help: "Print every event of the run.") var trace = false
    @Flag(help: "Run a whole cluster instead of one group.") var world = false
    @Flag(help: "List the bugs that can be put back, with what is wrong and where it comes from.") var plants = false
    @Option(help: "Put a known bug back: a name from --plants, which also says what is run.") var plant: String?
    @Flag(help: "With --plant: pass over seeds that find the bug in another way than by its own reason.")
    var ownReason = false
    @Option(help: "Make the run smaller, as a finding says that was made small: faults=3,skip=1+2.")
    var reduce: String?
    @Flag(inversion: .prefixedNo, help: "Make a finding small before it is printed.") var shrink = true
    @Option(help: "With --world: put the nodes on rocksdb, lmdb or sqlite, in temporary directories.") var engine:
        String?
    @Option(help: "With --world: a run about one thing: hot-shard.") var scenario: String?
    @Flag(help: .hidden) var worker = false

    /// Months of running; more than so many can't be counted up.
    private static let seedsMax: UInt64 = 1_000_000_000
    private static let jobsMax = 256

    func validate() throws {
        if plants || worker { return }
        if let time {
            guard seeds == nil else {
                throw ValidationError("Give either --seeds or --for; --seed N says where to begin.")
            }
            guard Self.seconds(time) != nil else { throw ValidationError("--for wants a time such as 90s, 30m or 8h.") }
        } else if (seed == nil) == (seeds == nil) {
            throw ValidationError("Give either --seed N, --seeds A..B or --for TIME.")
        }
        if let seeds {
            guard let range = Self.range(seeds) else {
                throw ValidationError("--seeds wants A..B with A <= B, as in 1..200.")
            }
            if range.upperBound - range.lowerBound >= Self.seedsMax {
                throw ValidationError("--seeds takes at most \(Self.seedsMax) seeds.")
            }
        }
        guard (1...Self.jobsMax).contains(jobs) else {
            throw ValidationError("--jobs wants a number from 1 to \(Self.jobsMax).")
        }
        if trace, seed == nil || time != nil { throw ValidationError("--trace goes with --seed N.") }
        if ownReason, plant == nil { throw ValidationError("--own-reason goes with --plant.") }
        try checkPlant()
        if let engine {
            guard isWorld else { throw ValidationError("--engine goes with --world.") }
            guard RealDisks(engine: engine, path: "") != nil else {
                throw ValidationError("--engine wants rocksdb, lmdb or sqlite, not \"\(engine)\".")
            }
        }
        _ = isWorld ? try options(of: World.self, 0).seed : try options(of: Simulation.self, 0).seed
    }

    private func checkPlant() throws {
        guard let plant else { return }
        switch (Simulation.Plant(rawValue: plant), World.Plant(rawValue: plant)) {
        case (nil, nil): throw ValidationError("There is no planted bug \"\(plant)\"; --plants lists them.")
        case (_?, nil) where world:
            throw ValidationError("\"\(plant)\" is a bug of one group: leave out --world.")
        default: return
        }
    }

    private var isWorld: Bool { world || plant.map { World.Plant(rawValue: $0) != nil } ?? false }

    /// "90s", "30m", "8h".
    private static func seconds(_ text: String) -> UInt64? {
        let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3_600]
        guard let unit = text.last.flatMap({ units[$0] }), let count = UInt64(text.dropLast()), count > 0,
            count <= 1_000_000
        else { return nil }
        return count * unit
    }

    private static func range(_ text: String) -> ClosedRange<UInt64>? {
        guard let dots = text.firstIndex(of: "."), text[dots...].hasPrefix(".."),
            let first = UInt64(text[..<dots]), let last = UInt64(text[dots...].dropFirst(2)), first <= last
        else { return nil }
        return first...last
    }

    /// What is run of one seed.
    private func options<Run: SimulatedRun>(
        of run: Run.Type, _ seed: UInt64, in directory: String? = nil
    ) throws -> Run.Options {
        var options = Run.Options(seed: seed, plant: plant.flatMap(Run.Options.Plant.init(rawValue:)))
        if let scenario, !options.use(scenario: scenario) {
            throw ValidationError("There is no scenario \"\(scenario)\"; --world knows hot-shard.")
        }
        for text in (reduce ?? "").split(separator: ",") {
            guard let reduction = Reduction(text: String(text)), options.reduce(reduction) else {
                throw ValidationError("--reduce doesn't know \"\(text)\"; it takes what a finding was printed with.")
            }
        }
        if let engine, let directory, let disks = RealDisks(engine: engine, path: directory) {
            _ = options.use(disks)
        }
        return options
    }

    func run() throws {
        if plants { return printPlants() }
        if isWorld { try run(World.self) } else { try run(Simulation.self) }
    }

    private func run<Run: SimulatedRun>(_ run: Run.Type) throws {
        if worker { return Worker<Run>.serve() }
        let command =
            "flotilla-sim" + (isWorld ? " --world" : "") + (engine.map { " --engine \($0)" } ?? "")
            + (scenario.map { " --scenario \($0)" } ?? "")
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-sim-\(UUID())").path
        defer { if engine != nil { try? FileManager.default.removeItem(atPath: directory) } }
        let search = Search<Run>(
            jobs: jobs, isWorld: isWorld, command: command, shrinks: shrink, wantsOwnReason: ownReason
        ) { try? options(of: Run.self, $0, in: directory) }
        let isClean: Bool
        if let time, let seconds = Self.seconds(time) {
            isClean = try search.run(from: seed ?? 1, seconds: seconds)
        } else if let seed, trace {
            isClean = try search.trace(seed)
        } else if let range = seed.map({ $0...$0 }) ?? seeds.flatMap(Self.range) {
            isClean = try search.run(range)
        } else {
            return
        }
        if !isClean { throw ExitCode(1) }
    }

    private func printPlants() {
        func show<Plant: PlantedBug>(_ title: String, _ plants: [Plant]) {
            print(title)
            for plant in plants {
                let name = plant.rawValue
                let gap = String(repeating: " ", count: max(1, 30 - name.count))
                let defence = plant.description.defence.map { "; changes no history: " + $0 } ?? ""
                print("  \(name)\(gap)\(plant.description.wrong) (\(plant.description.source))\(defence)")
            }
        }
        if !world { show("One group:", Array(Simulation.Plant.allCases)) }
        show("A whole cluster:", Array(World.Plant.allCases))
    }
}
