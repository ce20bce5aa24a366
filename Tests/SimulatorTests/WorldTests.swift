import Simulator
import Synchronization
import Testing

/// A whole cluster: one seed is one history, the checks hold, and bugs above Raft that are put back are found.
@Suite struct WorldTests {
    private static func trace(_ seed: UInt64) -> [String] {
        let lines = Mutex<[String]>([])
        _ = World.run(World.Options(seed: seed)) { line in lines.withLock { $0.append(line) } }
        return lines.withLock { $0 }
    }

    @Test func theSameSeedGivesTheSameTrace() {
        let first = Self.trace(3)
        #expect(first.count > 1_000)
        #expect(first == Self.trace(3))
        #expect(first != Self.trace(4))
    }

    @Test(arguments: UInt64(1)...30) func theChecksHold(seed: UInt64) {
        let report = World.run(World.Options(seed: seed))
        #expect(report.violation == nil, "seed \(seed): \(report.violation ?? "")")
        #expect(report.elections > 0 && report.answered > 0 && report.executed > 0)
    }

    /// What is walked through at all: a world in which nothing happens finds nothing.
    @Test func fifteenSeedsMeetEverythingThatCanHappen() {
        var total = World.run(World.Options(seed: 31))
        for seed in UInt64(32)...45 { total.add(World.run(World.Options(seed: seed))) }
        #expect(total.crashes > 0 && total.snapshots > 0 && total.changes > 0 && total.maps > 0)
        #expect(total.unknown > 0 && total.failed > 0 && total.repeats > 0 && total.clientCrashes > 0)
    }

    /// One of the first seeds finds each, for the right reason: which of them it is shifts with every change of what
    /// the cluster does, so a single seed would be a test of the dice.
    @Test(arguments: World.Plant.allCases) func aPlantedBugIsFound(plant: World.Plant) {
        let reasons =
            switch plant {
            case .answersForgottenEarly, .deletesNotRecorded, .closedSessionsForgotten, .liveSessionsEvicted:
                ["to a write that was answered", " answers appended("]
            case .answersInMemoryOnly: ["which another replica has answered"]
            case .unconfirmedReads, .followerReads: ["is not linearizable"]
            case .retriesInNewSession: ["is executed twice"]
            case .lostTakenForNotSent, .unknownCalledFailed: ["nothing was done"]
            }
        var others: [String] = []
        for seed in UInt64(1)...20 {
            guard let violation = World.run(World.Options(seed: seed, plant: plant)).violation else { continue }
            if reasons.contains(where: violation.contains) { return }
            others.append("seed \(seed): \(violation)")
        }
        Issue.record("\(plant.rawValue): not found for its reason within 20 seeds, found otherwise: \(others)")
    }
}
