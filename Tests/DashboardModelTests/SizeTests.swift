import DashboardModel
import Keyspace
import Testing

/// Nothing is quadratic: in a release build, a cluster of 100 groups takes some 60 ms of one core, more than half of it
/// for JSON. The limit here is for debug builds on busy machines.
@Suite struct SizeTests {
    @Test func aLargeClusterIsObservedAndEncodedInNoTime() throws {
        var cluster = ClusterFixture(shards: 1024, groups: (100..<200).map { GroupID($0) }, nodes: 5)
        let time = try ContinuousClock().measure {
            for _ in 0..<2 {
                for gid in (100..<200).map({ GroupID($0) }) {
                    for place in 0..<5 {
                        cluster.change(gid, place) {
                            $0.operations = ["get", "scan", "put", "append", "delete", "compareAndSet"].map {
                                .init(name: $0, errors: 0, latency: latency(3))
                            }
                            $0.peers = (0..<4).map {
                                .init(id: $0, address: "host:\($0)", roundTripNanoseconds: 300_000, heardAgoMs: 9)
                            }
                            for shard in $0.shards.indices { $0.shards[shard].reads += 10 }
                        }
                    }
                }
                cluster.observe()
            }
            _ = try encoded(cluster.model.dashboard())
        }
        #expect(cluster.model.metrics().totalNodes == 505)
        #expect(cluster.model.metrics().healthyNodes == 505)
        #expect(time < .seconds(20), "\(time)")
    }
}
