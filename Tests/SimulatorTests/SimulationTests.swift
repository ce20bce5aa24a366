import RaftLog
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

    /// Those that take more than a few seeds, or change no history: `scripts/sim-plants` searches for all.
    private static let rare: Set<Simulation.Plant> = [
        .timeoutsNotRandom, .countsOldTerms, .takesStaleHeartbeatReplies, .forgetsCommittedChanges,
        .keepsProgressOfLostDisk, .ignoresLives, .snapshotKeepsTerm, .keepsOldLogRows, .snapshotDropsAcknowledged,
        .compactsDuringSnapshots, .openWithoutSync, .campaignsBeforeApplying, .vouchesWhileBlocked,
        .commitsToLogEnd, .acknowledgesWholeLog,
    ]

    /// One of the first seeds finds each, for the right reason: which of them it is shifts with every change of what
    /// replicas do, so a single seed would be a test of the dice.
    @Test(arguments: Simulation.Plant.allCases.filter { !rare.contains($0) && $0.description.defence == nil })
    func aPlantedBugIsFound(plant: Simulation.Plant) {
        var others: [String] = []
        for seed in UInt64(1)...30 {
            let options = Simulation.Options(seed: seed, plant: plant)
            guard let violation = Simulation.run(options).violation else { continue }
            if plant.description.isReason(for: violation) { return }
            others.append("seed \(seed): \(violation)")
        }
        Issue.record("\(plant.rawValue): not found for its reason within 30 seeds, found otherwise: \(others)")
    }

    @Test func everyPlantOfRaftCanBePutBackByItsName() {
        for plant in RaftCore.Plant.allCases {
            let isKnown =
                Simulation.Plant(rawValue: plant.rawValue) != nil || World.Plant(rawValue: plant.rawValue) != nil
            #expect(isKnown, "\(plant)")
        }
    }

    @Test func everyPlantSaysWhatIsWrongAndWhereItComesFrom() {
        func check(_ plants: [some PlantedBug]) {
            for plant in plants {
                let description = plant.description
                #expect(!description.wrong.isEmpty && !description.source.isEmpty && !description.reasons.isEmpty)
            }
        }
        check(Simulation.Plant.allCases)
        check(World.Plant.allCases)
        let names = Simulation.Plant.allCases.map(\.rawValue) + World.Plant.allCases.map(\.rawValue)
        #expect(Set(names).count == names.count, "a name says which simulation is meant")
    }

    // MARK: - Smaller runs

    @Test func aRunIsRepeatedFromTheWordsThatMadeItSmall() {
        var options = Simulation.Options(seed: 3)
        for text in ["faulty-time=4000", "nodes=3", "faults=7", "skip=1+3", "requests=20", "changes=0"] {
            let isKnown = Reduction(text: text).map { options.reduce($0) }
            #expect(isKnown == true, "\(text)")
        }
        var again = Simulation.Options(seed: 3)
        for reduction in options.reductions {
            #expect(Reduction(text: reduction.text) == reduction)
            let isKnown = again.reduce(reduction)
            #expect(isKnown)
        }
        #expect(again == options)
    }

    @Test(arguments: ["", "faults", "faults=", "faults=x", "faults=1=2", "skip=1++2", "nodes=0", "nodes=10", "harm=1"])
    func whatMakesNoRunSmallerIsRefused(text: String) {
        var options = Simulation.Options(seed: 3)
        let isKnown = Reduction(text: text).map { options.reduce($0) } ?? false
        #expect(!isKnown && options == Simulation.Options(seed: 3))
    }

    @Test func aFaultThatIsLeftOutShiftsNoneOfTheOthers() {
        func faults(_ options: Simulation.Options) -> [String] {
            Self.trace(options).compactMap { line in
                line.firstRange(of: "fault ").map { String(line[$0.lowerBound...]) }
            }
        }
        let all = faults(Self.options(5))
        var options = Self.options(5)
        options.skippedFaults = [0, 1]
        let without = faults(options)
        #expect(without.allSatisfy { fault in !fault.hasPrefix("fault 0:") && !fault.hasPrefix("fault 1:") })
        for fault in without where fault.contains("network loses") || fault.contains("disks take") {
            #expect(all.contains(fault))
        }
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
