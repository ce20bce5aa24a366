import DashboardModel
import Keyspace
import Testing

@Suite struct HistoryTests {
    @Test func eachObservationIsASample() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.change(100, 0) {
            $0.operations = [.init(name: "get", errors: 0, latency: latency(100, microseconds: 400))]
            $0.fsync = latency(10, microseconds: 2000)
        }
        cluster.change(100, 1) { $0.lastApplied = 38 }
        cluster.observe()
        let history = cluster.model.history(windowSeconds: 300)
        #expect(history.intervalMs == 5000)
        #expect(history.times == [cluster.now - 5000, cluster.now])
        #expect(history.series["operations.get"] == [nil, 20])
        #expect(history.series["operations.put"] == [nil, 0])
        #expect(history.series["lagEntries"] == [0, 2])
        #expect(history.series["keys"] == [24, 24])
        #expect(history.series["storage"] == [9 * 4096, 9 * 4096])
        #expect(history.series["healthyNodes"] == [9, 9])
        let p50 = try #require(history.series["p50Ms.get"]?.last ?? nil)
        #expect((0.32...0.48).contains(p50))
        #expect(history.series["p50Ms.put"] == [nil, nil])
        #expect(try #require(history.series["fsync.p99Ms"]?.last ?? nil) > 1)
        #expect(history.series.values.allSatisfy { $0.count == 2 })
    }

    @Test func whatIsUnknownIsAGap() {
        var cluster = ClusterFixture()
        cluster.configFailure = "gone"
        for id: UInt64 in 0..<3 { cluster.fail(0, id) }
        cluster.observe()
        cluster.configFailure = nil
        for id: UInt64 in 0..<3 { cluster.fail(0, id, nil) }
        cluster.observe()
        for gid: GroupID in [0, 100, 101] { for id: UInt64 in 0..<3 { cluster.fail(gid, id) } }
        cluster.observe()
        let series = cluster.model.history(windowSeconds: 300).series
        #expect(series["keys"] == [nil, 24, 24])
        #expect(series["storage"] == [nil, 36_864, 36_864])
        #expect(series["lagEntries"] == [nil, 0, nil])
        #expect(series["healthyNodes"] == [0, 9, 0])
        #expect(series["operations.get"] == [nil, nil, nil])
    }

    @Test func theWindowEndsWithTheNewest() {
        var cluster = ClusterFixture(shards: 1, groups: [100], nodes: 1)
        for _ in 0..<20 { cluster.observe(after: 1000) }
        #expect(cluster.model.history(windowSeconds: 5).times.count == 5)
        #expect(cluster.model.history(windowSeconds: 5).times.last == cluster.now)
        #expect(cluster.model.history(windowSeconds: 0).times.count == 1)
        #expect(cluster.model.history(windowSeconds: -7).times.count == 1)
        #expect(cluster.model.history(windowSeconds: .max).times.count == 20)
    }

    @Test func anHourIsKept() {
        var cluster = ClusterFixture(shards: 1, groups: [100], nodes: 1)
        for _ in 0..<100 { cluster.observe(after: 60_000) }
        let times = cluster.model.history(windowSeconds: 3600).times
        #expect(times.count == 60)
        #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 == 60_000 })
    }

    @Test func atMost3600SamplesAreKept() {
        var cluster = ClusterFixture(shards: 1, groups: [100], nodes: 1)
        for _ in 0..<3700 { cluster.observe(after: 100) }
        #expect(cluster.model.history(windowSeconds: 3600).times.count == 3600)
    }

    /// Curves don't run backwards when a clock is set back.
    @Test func timesGrow() {
        var cluster = ClusterFixture(shards: 1, groups: [100], nodes: 1)
        for _ in 0..<5 { cluster.observe(after: 1000) }
        cluster.observe(after: 0)
        #expect(cluster.model.history(windowSeconds: 100).times.count == 5)
        cluster.now -= 3500
        cluster.observe(after: 0)
        let times = cluster.model.history(windowSeconds: 100).times
        #expect(times.last == cluster.now)
        #expect(zip(times, times.dropFirst()).allSatisfy { $0 < $1 })
    }
}
