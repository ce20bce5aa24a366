import DashboardModel
import Keyspace
import Telemetry
import Testing

/// What happens in a second is what was counted between two reports of one life of a node.
@Suite struct RateTests {
    private func operation(_ kind: String, _ metrics: Answer.Metrics) throws -> Answer.Operation {
        try #require(metrics.operations.first { $0.operation == kind })
    }

    @Test func theRateIsTheDifferenceOverTheTime() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) { $0.operations = [.init(name: "get", errors: 2, latency: latency(1000))] }
        cluster.observe()
        #expect(try operation("get", cluster.model.metrics()).perSecond == 0, "nothing to compare with yet")
        cluster.change(100, 0) { $0.operations = [.init(name: "get", errors: 7, latency: latency(1250))] }
        cluster.observe(after: 5000)
        let get = try operation("get", cluster.model.metrics())
        #expect(get.perSecond == 50)
        #expect(get.errorsPerSecond == 1)
        #expect(cluster.model.metrics().operationsPerSecond == 50)
        #expect(try cluster.node(100, 0).operationsPerSecond == 50)
        #expect(try cluster.node(100, 1).operationsPerSecond == 0)
    }

    @Test func percentilesAreOfTheTimeSinceTheLastUpdate() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) {
            $0.operations = [.init(name: "put", errors: 0, latency: latency(10_000, microseconds: 100_000))]
        }
        cluster.observe()
        cluster.change(100, 0) { $0.operations[0].latency += latency(100, microseconds: 400) }
        cluster.observe()
        let put = try operation("put", cluster.model.metrics())
        let (p50, p99) = (try #require(put.p50Ms), try #require(put.p99Ms))
        #expect((0.32...0.48).contains(p50), "\(p50)")
        #expect((0.32...0.48).contains(p99), "\(p99)")
        cluster.observe()
        #expect(try operation("put", cluster.model.metrics()).p50Ms == nil, "nothing happened")
    }

    @Test func nodesAreAddedUpAndTheirPercentilesMerged() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        for gid: GroupID in [100, 101] {
            let milliseconds: UInt64 = gid == 100 ? 1 : 100
            cluster.change(gid, 0) {
                $0.operations = [.init(name: "get", errors: 0, latency: latency(50, microseconds: milliseconds * 1000))]
            }
        }
        cluster.observe()
        let get = try operation("get", cluster.model.metrics())
        #expect(get.perSecond == 20)
        #expect((0.8...1.3).contains(try #require(get.p50Ms)))
        #expect((80...120).contains(try #require(get.p99Ms)))
    }

    /// Another node that hangs holds up the observation.
    @Test func theRateIsOverTheTimeBetweenTheAnswers() throws {
        var cluster = ClusterFixture()
        func get(_ count: UInt64, takenAt: UInt64, after: UInt64) throws -> Double {
            cluster.change(100, 0) {
                $0.takenAt = takenAt
                $0.operations = [.init(name: "get", errors: 0, latency: latency(Int(count)))]
            }
            cluster.observe(after: after)
            return try operation("get", cluster.model.metrics()).perSecond
        }
        _ = try get(1_000, takenAt: 10_000, after: 5_000)
        #expect(try get(1_500, takenAt: 15_000, after: 7_000) == 100)
        #expect(try get(2_000, takenAt: 20_000, after: 3_000) == 100)
        #expect(try get(2_500, takenAt: 20_000, after: 5_000) == 0, "no time between them")
    }

    /// The counts of its earlier stay come back with it, and were not made in this second.
    @Test func aShardThatComesBackHasNoRateAtFirst() throws {
        var cluster = ClusterFixture()
        func writes(_ count: UInt64?) throws -> Double {
            cluster.change(100, 0) { node in
                node.shards = count.map { [ShardStatus(shard: 0, state: .serving, writes: $0)] } ?? []
            }
            cluster.observe(after: 1000)
            return try #require(cluster.model.shards().first { $0.shardId == 0 }).writesPerSecond
        }
        _ = try writes(1_000)
        #expect(try writes(1_010) == 10)
        #expect(try writes(nil) == 0)
        #expect(try writes(1_000_000) == 0)
        #expect(try writes(1_000_005) == 5)
    }

    @Test func theOperationsAreTheContractsInItsOrder() {
        var cluster = ClusterFixture()
        cluster.change(100, 0) { $0.operations = [.init(name: "dance", errors: 0, latency: latency(3))] }
        cluster.observe()
        cluster.change(100, 0) { $0.operations[0].latency += latency(5) }
        cluster.observe()
        let metrics = cluster.model.metrics()
        #expect(metrics.operations.map(\.operation) == ["get", "scan", "put", "append", "delete", "compareAndSet"])
        #expect(metrics.operationsPerSecond == 0)
    }

    @Test func afterARestartEverythingIsNew() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) { $0.operations = [.init(name: "get", errors: 5, latency: latency(1000))] }
        cluster.observe()
        // It has counted beyond the earlier state already, but it is another life.
        cluster.change(100, 0) {
            $0.startedAt += 1
            $0.operations = [.init(name: "get", errors: 10, latency: latency(2000))]
        }
        cluster.observe(after: 10_000)
        let get = try operation("get", cluster.model.metrics())
        #expect(get.perSecond == 200)
        #expect(get.errorsPerSecond == 1)
    }

    @Test func countersThatGoBackwardHaveBegunAnew() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) {
            $0.startedAt = 0
            $0.operations = [.init(name: "get", errors: 5, latency: latency(1000))]
            $0.shards[0].reads = 900
        }
        cluster.observe()
        cluster.change(100, 0) {
            $0.operations = [.init(name: "get", errors: 0, latency: latency(10))]
            $0.shards[0].reads = 20
        }
        cluster.observe(after: 10_000)
        #expect(try operation("get", cluster.model.metrics()).perSecond == 1)
        #expect(cluster.model.shards()[0].readsPerSecond == 2)
    }

    @Test func fsyncsAreOfTheNodeAndOfAll() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        #expect(try cluster.node(100, 0).fsync == nil)
        for place in 0..<3 { cluster.change(100, place) { $0.fsync = latency(10, microseconds: 2000) } }
        cluster.observe()
        let fsync = try #require(try cluster.node(100, 0).fsync)
        #expect(fsync.perSecond == 2)
        #expect((1.6...2.4).contains(fsync.p50Ms))
        #expect(cluster.model.metrics().fsync.perSecond == 6)
        cluster.observe()
        #expect(try cluster.node(100, 0).fsync == nil, "nothing was synced since")
        #expect(cluster.model.metrics().fsync.p50Ms == nil)
    }

    @Test func requestsOfAShardAreAddedUpOverItsGroup() {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.change(100, 0) {
            $0.shards[0].reads = 50
            $0.shards[0].writes = 10
        }
        cluster.change(100, 1) { $0.shards[0].reads = 25 }
        // Of another group: it doesn't serve shard 0.
        cluster.change(101, 0) { $0.shards.append(ShardStatus(shard: 0, state: .pulling, reads: 99)) }
        cluster.observe()
        let shard = cluster.model.shards()[0]
        #expect(shard.readsPerSecond == 15)
        #expect(shard.writesPerSecond == 2)
    }

    @Test func aNodeThatIsDownDoesNothing() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.change(100, 0) { $0.operations = [.init(name: "get", errors: 0, latency: latency(100))] }
        cluster.observe()
        #expect(cluster.model.metrics().operationsPerSecond == 20)
        cluster.fail(100, 0)
        cluster.observe()
        #expect(cluster.model.metrics().operationsPerSecond == 0)
        #expect(try cluster.node(100, 0).operationsPerSecond == 0)
        // Back again, the same life: the rate is over the whole time.
        cluster.fail(100, 0, nil)
        cluster.change(100, 0) { $0.operations[0].latency += latency(100) }
        cluster.observe()
        #expect(cluster.model.metrics().operationsPerSecond == 10)
    }
}
