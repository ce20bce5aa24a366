import DashboardModel
import Foundation
import Keyspace
import Telemetry
import Testing

/// Whatever a controller or a node says: the dashboard goes on, and what it answers is JSON.
@Suite struct HostileTests {
    private func encodeAll(_ cluster: ClusterFixture) throws {
        _ = try encoded(cluster.model.dashboard())
        _ = try encoded(cluster.model.history(windowSeconds: 3600))
    }

    @Test func aConfigOfNonsense() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        for count in [-1, 0, 3, 1024, 5000, .max] {
            cluster.config = ConfigFixture(
                number: .max, shardCount: count,
                groups: [
                    .init(gid: 100, addresses: ["host100:0", "host100:0", ""]),
                    .init(gid: 100, addresses: ["other:1"]), .init(gid: 0, addresses: ["x:1"]),
                    .init(gid: .max, addresses: []),
                ],
                shards: [.max, 0, 100, 7], epochs: [.max],
                moves: [
                    .init(shard: 1_000_000, from: 1, to: 2, epoch: 0, phase: .moving),
                    .init(shard: 1, from: .max, to: .max, epoch: .max, phase: .moving),
                    .init(shard: 1, from: 100, to: 101, epoch: .max, phase: .collecting),
                    .init(shard: .max, from: 1, to: 2, epoch: 0, phase: .rejected),
                ],
                clusterID: [0xc1], hold: .init(holder: "", until: .max, waiting: [.init(shard: .max, to: 0)]))
            cluster.observe()
            try encodeAll(cluster)
            let topology = cluster.model.topology()
            #expect(topology.shardGroups.map(\.groupId) == [100, .max])
            #expect(topology.shardGroups[0].nodes.map(\.address) == ["host100:0"])
            #expect(topology.totalShards == min(max(count, 0), 1024))
            #expect(topology.shardMap.count == topology.totalShards)
            #expect(cluster.model.shards().count == topology.totalShards)
        }
    }

    @Test func aShardsArrayThatIsTooShortLeavesShardsUnowned() {
        var cluster = ClusterFixture()
        cluster.config.shards.removeLast(3)
        cluster.config.epochs = []
        cluster.observe()
        #expect(cluster.model.shards().map(\.state).suffix(3) == ["Unowned", "Unowned", "Unowned"])
        #expect(cluster.model.shards()[0].epoch == 0)
        #expect(cluster.model.topology().shardMap["7"] == 0)
    }

    @Test func aNodeOfAnotherGroupIsAFailure() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.change(100, 1) { $0.gid = 101 }
        cluster.observe()
        let node = try cluster.node(100, 1)
        #expect(node.error == "node 1 of group 101 answers at host100:1, not a node of group 100")
        #expect(!node.healthy)
        #expect(node.downSince != nil)
        #expect(cluster.events(.nodeLost).count == 1)
    }

    @Test func aNodeOfAnotherIdIsAFailure() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.change(100, 1) { $0.id = 7 }
        cluster.observe()
        #expect(try cluster.node(100, 1).error == "node 7 of group 100 answers at host100:1, not node 1")
    }

    @Test func aNodeAtTwoAddressesIsOne() throws {
        var cluster = ClusterFixture()
        for place in 0..<3 { cluster.change(100, place) { $0.members = [] } }
        cluster.change(100, 2) { $0.id = 0 }
        cluster.observe()
        let nodes = try cluster.group(100).nodes
        #expect(nodes.map(\.error) == [nil, nil, "node 0 of group 100 answers at host100:2, and at host100:0 too"])
    }

    @Test func aNodeOfAnotherClusterIsAFailure() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) { $0.clusterID = [0xc1] }
        cluster.change(100, 1) { $0.clusterID = [0xc9] }
        cluster.observe()
        #expect(try cluster.node(100, 0).error == nil)
        #expect(try cluster.node(100, 1).error?.contains("another cluster, c9") == true)
    }

    /// After `member remove 1` and `member add 3` the config lists nodes 0, 2 and 3 at the places 0, 1 and 2.
    @Test func anIdIsWhatTheMembersSayAndNotThePlace() throws {
        var cluster = ClusterFixture()
        for place in 0..<3 {
            cluster.change(100, place) {
                $0.members = [(0, 0), (2, 1), (3, 2)].map { id, place in
                    .init(id: id, address: ClusterFixture.address(100, place), isVoter: true)
                }
                $0.id = $0.members[place].id
            }
        }
        cluster.fail(100, 2)
        cluster.observe()
        let nodes = try cluster.group(100).nodes
        #expect(nodes.map(\.id) == [0, 2, 3], "also of one that has never answered")
        #expect(nodes.map { $0.error == nil } == [true, true, false])
        #expect(cluster.model.nodes(of: 100).map(\.id) == [0, 2, 3])
    }

    @Test func observationsOfStrangersAreIgnored() throws {
        var cluster = ClusterFixture()
        var observation = cluster.observation
        let stranger = ClusterFixture.report(999, 0)
        observation.nodes.append(.init(gid: 999, id: 0, address: "host999:0", result: .answered(stranger)))
        observation.nodes.append(.init(gid: 100, id: 9, address: "elsewhere:1", result: .answered(stranger)))
        // The first one counts.
        observation.nodes.append(.init(gid: 100, id: 0, address: "host100:0", result: .failed("twice")))
        cluster.model.observe(observation)
        #expect(cluster.model.metrics().totalNodes == 9)
        #expect(try cluster.node(100, 0).error == nil)
    }

    @Test func aNodeThatWasNotAskedDidNotAnswer() throws {
        var cluster = ClusterFixture()
        var observation = cluster.observation
        observation.nodes.removeAll { $0.address == "host100:1" }
        cluster.model.observe(observation)
        #expect(try cluster.node(100, 1).error == "it was not asked")
    }

    @Test func numbersAsLargeAsTheyCome() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        let size = DurationHistogram.bounds.count + 1
        let full = try #require(
            DurationHistogram(counts: Array(repeating: 1 << 56 - 1, count: size), sumNanoseconds: 1 << 62 - 1))
        for gid: GroupID in [0, 100, 101] {
            for place in 0..<3 {
                cluster.change(gid, place) {
                    $0.term = .max
                    $0.commitIndex = place == 0 ? .max : 0
                    $0.lastApplied = place == 0 ? 0 : .max
                    $0.storageBytes = .max
                    $0.storageCapacity = .max
                    $0.storageFree = .max
                    $0.startedAt = .max
                    $0.leaderChanges = .max
                    $0.operations = ["get", "get", "put", ""].map { .init(name: $0, errors: .max, latency: full) }
                    $0.fsync = full
                    $0.shards = [5_000, 0, 0, 1, .max].map {
                        .init(
                            shard: $0, state: .serving, epoch: .max, keys: .max, bytes: .max, reads: .max, writes: .max)
                    }
                    $0.transfers = [
                        .init(shard: 5_000, epoch: .max, copiedBytes: .max, totalBytes: .max),
                        .init(shard: 0, epoch: 2, copiedBytes: .max, totalBytes: 1),
                    ]
                    $0.peers = [.init(id: .max, address: "", roundTripNanoseconds: .max, heardAgoMs: .max)]
                }
            }
        }
        cluster.config.moves = [.init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving)]
        cluster.observe(after: 1)
        try encodeAll(cluster)
        #expect(cluster.model.metrics().totalStorage == .max)
        #expect(cluster.model.metrics().totalKeys == .max)
        cluster.observe(after: 1)
        try encodeAll(cluster)
    }

    @Test func timeThatStandsStillOrGoesBackGivesNoRates() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 0) { $0.operations = [.init(name: "get", errors: 0, latency: latency(10))] }
        cluster.observe()
        for step: UInt64 in [0, 5000] {
            cluster.change(100, 0) { $0.operations[0].latency += latency(10) }
            cluster.now -= step
            cluster.observe(after: 0)
            #expect(cluster.model.metrics().operationsPerSecond == 0)
            try encodeAll(cluster)
        }
        for now: UInt64 in [0, .max, 1, .max, .max] {
            cluster.now = now
            cluster.fail(100, 1, now == 1 ? nil : "down")
            cluster.model.observe(cluster.observation)
            try encodeAll(cluster)
        }
    }

    @Test func sentencesEnd() throws {
        var cluster = ClusterFixture()
        cluster.fail(100, 1, String(repeating: "é", count: 100_000))
        cluster.change(100, 2) { $0.condition = String(repeating: "x", count: 100_000) }
        cluster.configFailure = nil
        cluster.observe()
        #expect(try #require(try cluster.node(100, 1).error).utf8.count < 510)
        #expect(try cluster.node(100, 2).condition.utf8.count < 510)
        #expect(cluster.events().allSatisfy { $0.text.utf8.count < 600 })
    }

    @Test func emptyEverything() throws {
        var model = ClusterModel(
            settings: DashboardSettings(version: "", allowActions: true, updateIntervalMs: 0))
        model.observe(Observation(at: 0, config: .failed(""), nodes: []))
        _ = try encoded(model.dashboard())
        #expect(model.metrics().leaderless == [])
        #expect(model.status().controller.error == "no answer")
        let empty = ConfigFixture(number: 0, shardCount: 0, groups: [], shards: [], epochs: [])
        model.observe(Observation(at: 0, config: .answered(empty.map), nodes: []))
        _ = try encoded(model.dashboard())
        #expect(model.metrics().averageLoad == 0)
        #expect(model.status().clusterId == nil)
    }
}
