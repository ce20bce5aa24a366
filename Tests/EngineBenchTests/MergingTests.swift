import EngineBench
import Engines
import Foundation
import Testing

@Suite struct MergingTests {
    private let cell = Cell(workload: .write, valueBytes: 100, batch: 32, isSynced: false)

    private func round(_ calls: Int, nanoseconds: UInt64, keys: Int) -> RoundResult {
        var round = RoundResult()
        for _ in 0..<calls { round.latencies.record(nanoseconds) }
        round.keys = keys
        round.busyNanoseconds = UInt64(calls) * nanoseconds
        return round
    }

    @Test func throughputIsKeysOverTheTimeInCalls() {
        let result = CellResult(
            cell, SubjectName(.lmdb),
            [round(10, nanoseconds: 1_000_000, keys: 320), round(10, nanoseconds: 3_000_000, keys: 320)])
        #expect(result.calls == 20 && result.keys == 640 && result.rounds == 2)
        #expect(result.keysPerSecond == 16_000)
        #expect(result.callsPerSecond == 500)
        #expect(result.keysPerSecondMin < 10_667 && result.keysPerSecondMax == 32_000)
        #expect(result.durability == "buffered" && result.engine == "lmdb" && result.access == "wrapped")
        #expect(abs(result.p50Microseconds - 1000) < 2 && abs(result.p99Microseconds - 3000) < 3)
    }

    @Test func theShareOfRawIsTheMedianOfPairsAndNotOfTheSums() {
        let ours = [1_000_000, 2_000_000, 9_000_000].map { round(1, nanoseconds: $0, keys: 1) }
        let raw = [900_000, 1_000_000, 8_100_000].map { round(1, nanoseconds: $0, keys: 1) }
        let share = CellResult(cell, SubjectName(.sqlite), ours, raw: raw).shareOfRaw ?? 0
        #expect(abs(share - 0.9) < 0.001)
    }

    @Test func resourcesAreSums() {
        var first = round(1, nanoseconds: 1, keys: 500)
        (first.cpuNanoseconds, first.writtenBytes, first.userBytes) = (4_000_000, 300, 100)
        (first.anonymousBytes, first.diskBytes, first.allocations) = (9, 1, 1000)
        var second = round(1, nanoseconds: 1, keys: 500)
        (second.cpuNanoseconds, second.writtenBytes, second.userBytes) = (2_000_000, 100, 100)
        (second.anonymousBytes, second.diskBytes, second.allocations) = (5, 2, 0)
        let result = CellResult(cell, SubjectName(.rocksdb), [first, second])
        #expect(result.cpuMillisecondsPerThousand == 6)
        #expect(result.writtenPerUserByte == 2)
        #expect(result.allocationsPerThousand == 1000)
        #expect(result.anonymousBytes == 9 && result.diskBytes == 2)
        second.allocations = nil
        #expect(CellResult(cell, SubjectName(.rocksdb), [first, second]).allocationsPerThousand == nil)
        #expect(CellResult(cell, SubjectName(.rocksdb), [round(1, nanoseconds: 1, keys: 1)]).writtenPerUserByte == nil)
    }

    @Test func figuresAreMediansAndNeighboursArePooled() {
        var rounds = [1.0, 50, 3].map { value in
            var round = round(1, nanoseconds: 1, keys: 1)
            round.figures = [Figure(name: "encode", value: value, unit: "MB/s")]
            return round
        }
        rounds[0].beside["put alone"] = round(99, nanoseconds: 1_000, keys: 0).latencies
        rounds[1].beside["put alone"] = round(1, nanoseconds: 500_000, keys: 0).latencies
        let figures = CellResult(cell, SubjectName(.memory), rounds).figures
        #expect(figures.first == Figure(name: "encode", value: 3, unit: "MB/s"))
        #expect(figures.map(\.name) == ["encode", "put alone p50", "put alone p99", "put alone p99.9"])
        #expect(figures[1].value < 1.01 && abs(figures[3].value - 500) < 1)
    }

    @Test func medianOfNothingIsNothing() {
        #expect(median([]) == nil)
        #expect(median([3, 1]) == 2)
        #expect(median([5, 1, 3]) == 3)
    }

    @Test func latenciesSurviveThePipe() throws {
        var latencies = Latencies()
        for value in [1, 1, 1_234, 60_000_000_001] as [UInt64] { latencies.record(value) }
        let copy = try JSONDecoder().decode(Latencies.self, from: JSONEncoder().encode(latencies))
        #expect(copy.count == 4 && copy.totalNanoseconds == latencies.totalNanoseconds)
        for percentile in [0.0, 50, 75, 100] {
            #expect(copy.microseconds(percentile: percentile) == latencies.microseconds(percentile: percentile))
        }
        #expect(Latencies().microseconds(percentile: 99) == 0)
    }

    @Test func numbersOfProcAreFoundByTheirLabel() {
        let text = "rchar: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 7\nRssAnon:\t  1234 kB\n"
        #expect(procNumber(in: text, "write_bytes:") == 4096)
        #expect(procNumber(in: text, "RssAnon:") == 1234)
        #expect(procNumber(in: text, "VmSwap:") == nil)
    }
}
