import Telemetry
import Testing

@Suite struct TelemetryTests {
    @Test func boundsGrowFromTenMicrosecondsToTwoMinutes() {
        let bounds = DurationHistogram.bounds
        #expect(bounds.first == 10_000)
        #expect(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 })
        #expect((90_000_000_000...130_000_000_000).contains(bounds[bounds.count - 1]))
    }

    @Test func aQuantileIsOffByAFifthAtMost() {
        var histogram = DurationHistogram()
        for microseconds in 1...10_000 { histogram.record(UInt64(microseconds) * 1000) }
        for q in [0.1, 0.5, 0.9, 0.99, 0.999] {
            let exact = q * 10_000_000
            let found = histogram.quantile(q) ?? 0
            #expect(abs(found - exact) <= exact / 5, "q \(q): \(found), exactly \(exact)")
        }
        #expect(histogram.count == 10_000)
        #expect(DurationHistogram().quantile(0.5) == nil)
    }

    @Test func aBoundBelongsToItsBucketAndNothingIsLostAboveTheLast() {
        var histogram = DurationHistogram()
        histogram.record(0)
        histogram.record(10_000)
        histogram.record(10_001)
        histogram.record(1 << 60)
        #expect(histogram.counts[0] == 2)
        #expect(histogram.counts[1] == 1)
        #expect(histogram.counts.last == 1)
        #expect(histogram.quantile(1) == Double(DurationHistogram.bounds.last ?? 0))
    }

    @Test func aDifferenceIsWhatCameSinceAndAfterARestartEverything() {
        var histogram = DurationHistogram()
        histogram.record(1_000_000)
        let earlier = histogram
        histogram.record(2_000_000)
        #expect(histogram.since(earlier).count == 1)
        #expect(histogram.since(earlier).sumNanoseconds == 2_000_000)
        var fresh = DurationHistogram()
        fresh.record(5_000)
        #expect(fresh.since(histogram) == fresh)
    }

    @Test func sumsOfAnybodysHistogramsDontOverflow() {
        let size = DurationHistogram.bounds.count + 1
        let largest = DurationHistogram(counts: Array(repeating: 1 << 56, count: size), sumNanoseconds: 1 << 62)
        var sum = DurationHistogram()
        for _ in 0..<300 { if let largest { sum += largest } }
        #expect(sum == largest)
        #expect(sum.count == UInt64(size) << 56)
        var endless = DurationHistogram()
        for _ in 0..<10 { endless.record(.max) }
        #expect(endless.count == 10)
        #expect(DurationHistogram(counts: endless.counts, sumNanoseconds: .max) == endless)
    }

    @Test func whatIsNoHistogramIsRefused() {
        #expect(DurationHistogram(counts: [1, 2], sumNanoseconds: 3) == nil)
        let size = DurationHistogram.bounds.count + 1
        #expect(DurationHistogram(counts: Array(repeating: .max, count: size), sumNanoseconds: 3) == nil)
        #expect(DurationHistogram(counts: Array(repeating: 1, count: size), sumNanoseconds: 3)?.count == UInt64(size))
    }

    @Test func textHasOneHeadForEachNameAndEscapes() {
        var text = MetricsText()
        text.counter("requests_total", "Back\\slash.", UInt64(3), [("op", "a\"b\n")])
        text.counter("requests_total", "Back\\slash.", UInt64(4), [("op", "c")])
        text.gauge("load", "Load.", 0.5)
        #expect(
            text.text == """
                # HELP requests_total Back\\\\slash.
                # TYPE requests_total counter
                requests_total{op="a\\"b\\n"} 3
                requests_total{op="c"} 4
                # HELP load Load.
                # TYPE load gauge
                load 0.5

                """)
    }

    @Test func bucketsOfATextAreCumulative() {
        var histogram = DurationHistogram()
        histogram.record(9_000)
        histogram.record(15_000)
        var text = MetricsText()
        text.histogram("wait_seconds", "Wait.", histogram)
        #expect(text.text.contains("wait_seconds_bucket{le=\"1e-05\"} 1\nwait_seconds_bucket{le=\"2e-05\"} 2\n"))
        #expect(
            text.text.contains("wait_seconds_bucket{le=\"+Inf\"} 2\nwait_seconds_sum 2.4e-05\nwait_seconds_count 2\n"))
    }

    @Test func metersAndCountersTakeManyThreads() async {
        let meter = Meter()
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 {
                        meter.record(1_000)
                        counter.add()
                    }
                }
            }
        }
        #expect(meter.value.count == 8_000)
        #expect(counter.value == 8_000)
    }
}
