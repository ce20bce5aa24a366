import EngineBench
import Engines
import Foundation
import Testing

/// Every workload on every engine and its C library, as short as can be: the workloads check what they read.
@Suite struct RoundTests {
    private static let subjects = [
        SubjectName(.rocksdb), SubjectName(.rocksdb, isRaw: true), SubjectName(.lmdb), SubjectName(.lmdb, isRaw: true),
        SubjectName(.sqlite), SubjectName(.sqlite, isRaw: true), SubjectName(.memory),
    ]

    @Test(arguments: subjects) func everyWorkloadRuns(_ subject: SubjectName) throws {
        var plan = BenchPlan()
        plan.workloads = Workload.allCases
        plan.batches = [3]
        plan.seconds = 0.01
        plan.keys = 1_000
        plan.families = 4
        plan.fillBytes = 1 << 18
        plan.churnSeconds = 0.02
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("rounds-\(UUID())").path
        let runner = RoundRunner(subject, plan, directory: directory)
        defer { try? runner.unload() }
        for cell in plan.cells(64) {
            try runner.prepare(cell)
            let result = try runner.round(cell, number: 0)
            try runner.finish(cell)
            if let result {
                #expect(result.latencies.count > 0 && result.keys > 0 && result.busyNanoseconds > 0, "\(cell)")
            } else {
                // Memory has nothing to copy; LMDB called in C keeps what is buffered in one thread's transaction.
                let lacks: [SubjectName: Workload] = [
                    SubjectName(.memory): .checkpoint, SubjectName(.lmdb, isRaw: true): .drop,
                ]
                #expect(lacks[subject] == cell.workload)
            }
        }
        try runner.unload()
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test func bothSidesGetTheSameWork() {
        var first = Randomness(7)
        var second = Randomness(7)
        #expect((0..<100).map { _ in first.below(1000) } == (0..<100).map { _ in second.below(1000) })
        var random = Randomness(1)
        #expect((0..<1000).allSatisfy { _ in (0..<10).contains(random.below(10)) })
    }

    @Test func keysAreInOrderAndMissingOnesLieBetweenThem() {
        var missing = Dataset.key(0)
        Dataset.set(&missing, 5, isMissing: true)
        #expect(Dataset.key(5).lexicographicallyPrecedes(missing))
        #expect(missing.lexicographicallyPrecedes(Dataset.key(6)))
        #expect(Dataset.key(255).lexicographicallyPrecedes(Dataset.key(256)))
        #expect(Dataset.key(0).count == Dataset.keyBytes)
    }
}
