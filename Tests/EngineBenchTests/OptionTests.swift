import ArgumentParser
import EngineBench
import Engines
import Testing

@Suite struct OptionTests {
    private func plan(_ arguments: String...) throws -> BenchPlan { try EnginesCommand.parse(arguments).makePlan() }

    private func refusal(_ arguments: String...) -> String {
        do {
            _ = try EnginesCommand.parse(arguments)
            return ""
        } catch {
            #expect(EnginesCommand.exitCode(for: error) == ExitCode(64))
            return EnginesCommand.message(for: error)
        }
    }

    @Test func withoutOptionsTheDurableEnginesRunAllButMemoryAndPortable() throws {
        let plan = try plan()
        #expect(plan.engines == [.rocksdb, .lmdb, .sqlite])
        #expect(!plan.workloads.contains(.memory) && !plan.workloads.contains(.portable))
        #expect(plan.workloads.contains(.logApply))
        #expect(plan.valueSizes == [256] && plan.batches == [1, 32, 256])
        #expect(plan.subjects.map(\.description) == ["rocksdb", "lmdb", "sqlite"])
    }

    @Test func listsAreTakenInTheirOrder() throws {
        let plan = try plan("--engines", "sqlite,memory", "--value-sizes", "65536, 16", "--work", "scan,get", "--raw")
        #expect(plan.valueSizes == [65_536, 16])
        #expect(plan.workloads == [.scan, .get])
        // The memory engine has no C library.
        #expect(plan.subjects.map(\.description) == ["sqlite", "sqlite-raw", "memory"])
    }

    @Test func whatIsWrongIsSaidInASentence() {
        #expect(
            refusal("--engines", "rocks")
                == "--engines takes rocksdb, lmdb, sqlite, memory, separated by commas; not \"rocks\".")
        #expect(
            refusal("--value-sizes", "16,15")
                == "--value-sizes takes numbers from 16 to 65536, separated by commas; not \"15\".")
        #expect(refusal("--value-sizes", "65537").contains("65536"))
        #expect(refusal("--batch", "1,,2") == "--batch takes numbers from 1 to 65536, separated by commas; not \"\".")
        #expect(refusal("--work", "get,get") == "--work names \"get\" twice.")
        #expect(refusal("--work", "fly").hasSuffix("not \"fly\"."))
        #expect(refusal("--seconds", "0") == "--seconds takes 0.01 to 600, not 0.0.")
        #expect(refusal("--rounds", "0") == "--rounds takes 1 to 1000, not 0.")
        #expect(refusal("--keys", "10") == "--keys takes 1000 to 10000000, not 10.")
        #expect(refusal("--directory", "/").contains("is not empty"))
        #expect(refusal("--html", "/nowhere/at/all.html") == "--html: /nowhere/at can't be written to.")
    }

    @Test func aSubjectIsAnEngineAndMayBeRaw() {
        #expect(SubjectName("lmdb") == SubjectName(.lmdb))
        #expect(SubjectName("rocksdb-raw") == SubjectName(.rocksdb, isRaw: true))
        for text in ["", "-raw", "rocksdb-", "rocksdb-raw-raw", "leveldb"] { #expect(SubjectName(text) == nil) }
    }
}

@Suite struct PlanTests {
    @Test func readsComeBeforeWrites() {
        var plan = BenchPlan()
        plan.batches = [1, 32]
        let cells = plan.cells(256).map(\.description)
        #expect(cells.first == "get, 256 B")
        #expect(cells.contains("write, 256 B, batch 32, buffered"))
        #expect(cells.contains("log-apply, 256 B, batch 1, synced"))
        #expect(cells.last == "drop, 256 B, synced")
        #expect(Set(cells).count == cells.count)
    }

    @Test func enginesTakeTurnsAtBeingFirst() {
        var plan = BenchPlan()
        plan.raw = true
        let firsts = (0..<6).map { plan.order(round: $0).first?.description ?? "" }
        #expect(firsts == ["rocksdb", "lmdb", "sqlite", "rocksdb-raw", "lmdb-raw", "sqlite-raw"])
        for round in 0..<6 { #expect(Set(plan.order(round: round)) == Set(plan.subjects)) }
    }

    @Test func largeValuesMeanFewerKeys() {
        var plan = BenchPlan()
        plan.keys = 100_000
        #expect(plan.loadedKeys(256) == 100_000)
        #expect(plan.loadedKeys(65_536) == (512 << 20) / (65_536 + 16))
    }
}
