import EngineBench
import Engines
import Foundation
import Testing

@Suite struct OutputTests {
    private var report: BenchReport {
        func result(_ subject: SubjectName, _ nanoseconds: UInt64, raw: RoundResult? = nil) -> (CellResult, RoundResult)
        {
            var round = RoundResult()
            for _ in 0..<4 { round.latencies.record(nanoseconds) }
            round.keys = 128
            round.userBytes = 1_000
            round.writtenBytes = 2_500
            round.busyNanoseconds = 4 * nanoseconds
            round.cpuNanoseconds = 128_000
            round.anonymousBytes = 3 << 20
            round.diskBytes = 5 << 19
            let cell = Cell(workload: .write, valueBytes: 256, batch: 32, isSynced: true)
            return (CellResult(cell, subject, [round], raw: raw.map { [$0] }), round)
        }
        let (raw, rawRound) = result(SubjectName(.lmdb, isRaw: true), 8_000)
        var drop = RoundResult()
        drop.latencies.record(2_000)
        drop.figures = [Figure(name: "drop, \"all\"", value: 1.5, unit: "µs")]
        return BenchReport(
            environment: ["command": "flotilla bench engines <&>", "cores": "2"],
            results: [
                result(SubjectName(.lmdb), 10_000, raw: rawRound).0, raw,
                CellResult(Cell(workload: .drop, valueBytes: 256, isSynced: false), SubjectName(.sqlite), [drop]),
            ])
    }

    @Test func tableHasALineForEachResultAndOneTableForTheRest() {
        #expect(
            TableOutput.render(report) == """
                # command: flotilla bench engines <&>
                # cores: 2
                WORK   VALUE  BATCH  DURABILITY  ENGINE    KEYS/S     OF RAW  P50 µS  P99 µS  P99.9 µS  CPU MS/1000  WRITTEN/BYTE  ANON MIB  DISK MIB
                write  256 B  32     synced      lmdb      3,200,000  80.0 %  10.0    10.0    10.0      1.00         2.50          3.0       2.5
                write  256 B  32     synced      lmdb raw  4,000,000  -       8.0     8.0     8.0       1.00         2.50          3.0       2.5
                drop   256 B  -      buffered    sqlite    0.00       -       2.0     2.0     2.0       0.00         -             0.0       0.0

                drop
                VALUE  DURABILITY  ENGINE  DROP, "ALL" µS
                256 B  buffered    sqlite  1.50

                """)
    }

    @Test func csvQuotesAndLeavesBlankWhatIsNotKnown() {
        let lines = CSVOutput.render(report).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 5 && lines.last == "")
        #expect(lines[0].hasPrefix("workload,valueBytes,batch,durability,engine,access,rounds,"))
        #expect(lines[0].hasSuffix(",\"drop, \"\"all\"\" (µs)\""))
        #expect(lines[1].hasPrefix("write,256,32,synced,lmdb,wrapped,1,4,128,"))
        #expect(lines[2].hasPrefix("write,256,32,synced,lmdb,raw,1,4,128,"))
        #expect(lines[3].hasPrefix("drop,256,,buffered,sqlite,wrapped,1,1,0,"))
        #expect(lines[3].hasSuffix(",1.5"))
        #expect(CSVOutput.line(["a,b", "\"", "c"]) == "\"a,b\",\"\"\"\",c")
    }

    @Test func jsonHasTheSameNumbers() throws {
        let object = try JSONSerialization.jsonObject(with: Data(JSONOutput.render(report).utf8)) as? [String: Any]
        let results = object?["results"] as? [[String: Any]]
        #expect(results?.count == 3)
        #expect((results?[0]["keysPerSecond"] as? Double)?.rounded() == 3_200_000)
        #expect(abs((results?[0]["shareOfRaw"] as? Double ?? 0) - 0.8) < 0.001)
        #expect((object?["environment"] as? [String: String])?["cores"] == "2")
    }

    @Test func htmlStandsAloneAndEscapes() {
        let text = HTMLReport(report).text
        #expect(text.hasPrefix("<!doctype html>"))
        #expect(text.contains("prefers-color-scheme: dark"))
        for outside in ["<script", "http:", "https:", "src=", "@import", "url("] { #expect(!text.contains(outside)) }
        #expect(text.contains("flotilla bench engines &lt;&amp;&gt;"))
        #expect(text.contains("drop, &quot;all&quot;, µs"))
        #expect(text.components(separatedBy: "<svg").count == 5)
        #expect(text.components(separatedBy: "<svg").count == text.components(separatedBy: "</svg>").count)
        #expect(text.contains("class=\"lmdb raw\""))
        #expect(text.contains("<td>80.0 %</td>"))
    }

    @Test func theLongestBarFillsItsRoom() {
        let bars = BarPlot.throughput(report.results, caption: "").bars
        #expect(bars.map { ($0.share * 100).rounded() } == [80, 100, 0])
        for bar in BarPlot.latency(report.results, caption: "").bars { #expect(bar.share > 0 && bar.share <= 1) }
    }

    @Test func numbersAreReadable() {
        #expect(Numbers.count(1_234_567.4) == "1,234,567")
        #expect(Numbers.count(123) == "123")
        #expect(Numbers.count(12.34) == "12.3")
        #expect(Numbers.count(0) == "0.00")
        #expect(Numbers.microseconds(1_000) == "1,000")
        #expect(Numbers.percent(0.9567) == "95.7 %")
    }

    @Test func progressSaysWhereAndHowLong() {
        let progress = Conductor.Progress(
            cell: Cell(workload: .get, valueBytes: 16), subject: SubjectName(.lmdb, isRaw: true), round: 2, rounds: 5,
            cellNumber: 3, cells: 10)
        #expect(
            ProgressLine.text(progress, elapsed: 10, share: 0.25)
                == "3/10 get, 16 B: lmdb-raw, round 2 of 5, about 30 s left")
        #expect(ProgressLine.text(progress, elapsed: 1, share: 0.01) == "3/10 get, 16 B: lmdb-raw, round 2 of 5")
        #expect(ProgressLine.text(progress, elapsed: 100, share: 0.25).hasSuffix("about 6 min left"))
    }
}
