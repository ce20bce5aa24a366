import Simulator
import Synchronization
import Testing

/// The simulator proves itself: one seed is one history, and bugs that are put back are found.
@Suite struct SimulationTests {
    /// Short runs: CI runs many more seeds in a release build (`flotilla-sim --seeds`).
    private static func options(_ seed: UInt64, _ plant: Simulation.Plant? = nil) -> Simulation.Options {
        var options = Simulation.Options(seed: seed, plant: plant)
        options.faultyTime = 5_000
        options.healingTime = 10_000
        return options
    }

    private static func trace(_ options: Simulation.Options) -> [String] {
        let lines = Mutex<[String]>([])
        _ = Simulation.run(options) { line in lines.withLock { $0.append(line) } }
        return lines.withLock { $0 }
    }

    @Test func theSameSeedGivesTheSameTrace() {
        let first = Self.trace(Self.options(7))
        #expect(first.count > 1_000)
        #expect(first == Self.trace(Self.options(7)))
        #expect(first != Self.trace(Self.options(8)))
    }

    @Test(arguments: UInt64(1)...16) func theInvariantsHold(seed: UInt64) {
        let report = Simulation.run(Self.options(seed))
        #expect(report.violation == nil, "seed \(seed): \(report.violation ?? "")")
        #expect(report.elections > 0 && report.acknowledged > 0 && report.reads > 0)
    }

    @Test(arguments: Simulation.Plant.allCases) func aPlantedBugIsFound(plant: Simulation.Plant) {
        let seeds = UInt64(1)...120
        let found = seeds.first { seed in
            var options = Simulation.Options(seed: seed, plant: plant)
            options.healingTime = 5_000
            return Simulation.run(options).violation != nil
        }
        #expect(found != nil, "\(plant.rawValue) went unnoticed in seeds \(seeds)")
    }
}

@Suite struct EventQueueTests {
    @Test func eventsComeInTheOrderOfTheirTimeAndThenOfTheirScheduling() {
        var queue = EventQueue<Int>()
        let times: [UInt64] = [5, 1, 3, 1, 5, 2, 1]
        for (number, time) in times.enumerated() { queue.schedule(number, at: time) }
        var seen: [Int] = []
        while let next = queue.next() { seen.append(next.event) }
        #expect(seen == [1, 3, 6, 5, 2, 0, 4])
    }
}
