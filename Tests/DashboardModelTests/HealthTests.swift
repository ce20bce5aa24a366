import DashboardModel
import Keyspace
import Testing

/// Who is well, who leads, and what is missing.
@Suite struct HealthTests {
    @Test func whenAllIsWellNothingIsListed() {
        var cluster = ClusterFixture()
        cluster.observe()
        let metrics = cluster.model.metrics()
        #expect(metrics.totalNodes == 9)
        #expect(metrics.healthyNodes == 9)
        #expect(metrics.groups == 2)
        #expect(metrics.totalShards == 8)
        #expect(metrics.averageLoad == 4)
        #expect(metrics.totalKeys == 24)
        #expect(metrics.totalStorage == 9 * 4096)
        #expect(metrics.leaderless + metrics.withoutQuorum + metrics.underReplicated == [])
        #expect(cluster.model.status().missing == [])
        #expect(cluster.model.status().controller.reachable)
    }

    @Test func aNodeIsHealthyIfItAnswersTakesPartAndFollowsTheLeader() throws {
        var cluster = ClusterFixture()
        cluster.fail(100, 1)
        cluster.change(100, 2) { $0.leaderID = nil }
        cluster.change(101, 1) { $0.condition = "waiting for node 2" }
        cluster.change(101, 2) { $0.leaderID = 1 }
        cluster.observe()
        #expect(try cluster.node(100, 0).healthy)
        #expect(try !cluster.node(100, 1).healthy)
        #expect(try !cluster.node(100, 2).healthy)
        #expect(try !cluster.node(101, 1).healthy)
        #expect(try cluster.node(101, 1).condition == "waiting for node 2")
        #expect(try !cluster.node(101, 2).healthy, "it follows somebody else")
        #expect(cluster.model.metrics().healthyNodes == 5)
    }

    @Test func theLeaderOfTheHighestTermLeads() throws {
        var cluster = ClusterFixture()
        // Node 0 is cut off from the others and still thinks that it leads.
        cluster.change(100, 1) {
            $0.role = .leader
            $0.term = 4
            $0.leaderID = 1
        }
        cluster.change(100, 2) {
            $0.term = 4
            $0.leaderID = 1
        }
        cluster.observe()
        #expect(try cluster.group(100).leaderId == 1)
        #expect(try !cluster.node(100, 0).healthy)
        #expect(try cluster.node(100, 1).healthy && cluster.node(100, 2).healthy)
    }

    @Test func aGroupWhoseNodesKnowNoLeaderIsLeaderless() throws {
        var cluster = ClusterFixture()
        for place in 0..<3 {
            cluster.change(101, place) {
                $0.role = .candidate
                $0.leaderID = nil
            }
            cluster.change(0, place) {
                $0.role = .follower
                $0.leaderID = nil
            }
        }
        cluster.observe()
        #expect(cluster.model.metrics().leaderless == [0, 101])
        #expect(try cluster.group(101).leaderId == nil)
        #expect(try cluster.group(101).hasQuorum, "they could elect one")
        #expect(cluster.model.metrics().withoutQuorum == [])
        #expect(cluster.model.metrics().healthyNodes == 3)
    }

    @Test func aGroupWithoutAMajorityOfItsVotersHasNoQuorum() throws {
        var cluster = ClusterFixture()
        cluster.fail(100, 1)
        cluster.observe()
        #expect(cluster.model.metrics().underReplicated == [100])
        #expect(cluster.model.metrics().withoutQuorum == [])
        cluster.change(100, 2) { $0.condition = "its disk was wiped" }
        cluster.observe()
        #expect(cluster.model.metrics().withoutQuorum == [100])
        #expect(try !cluster.group(100).hasQuorum)
    }

    @Test func learnersDoNotVote() throws {
        var cluster = ClusterFixture()
        for place in 0..<3 { cluster.change(100, place) { $0.members[2].isVoter = false } }
        cluster.change(100, 2) { $0.role = .learner }
        cluster.fail(100, 1)
        cluster.observe()
        #expect(try !cluster.node(100, 2).voter)
        #expect(try cluster.node(100, 0).voter)
        #expect(cluster.model.metrics().withoutQuorum == [100], "one of two voters is no majority")
        #expect(cluster.model.voterCount(of: 100) == 2)
    }

    @Test func ofANodeThatIsDownTheLastAnswerIsShown() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        let seen = cluster.now
        cluster.fail(100, 2, "connection refused")
        cluster.observe()
        let lost = cluster.now
        cluster.observe()
        let node = try cluster.node(100, 2)
        #expect(node.role == "Follower")
        #expect(node.storageBytes == 4096)
        #expect(!node.healthy)
        #expect(node.error == "connection refused")
        #expect(node.lastSeen == Timestamp.text(unixMilliseconds: seen))
        #expect(node.downSince == Timestamp.text(unixMilliseconds: lost))
        let missing = cluster.model.status().missing
        #expect(missing.map(\.address) == ["host100:2"])
        #expect(missing.first?.since == Timestamp.text(unixMilliseconds: lost))
        cluster.fail(100, 2, nil)
        cluster.observe()
        #expect(try cluster.node(100, 2).downSince == nil)
        #expect(cluster.model.status().missing == [])
    }

    @Test func lagIsBehindTheLeadersCommit() throws {
        var cluster = ClusterFixture()
        cluster.change(100, 1) { $0.lastApplied = 33 }
        cluster.change(101, 2) { $0.lastApplied = 10 }
        cluster.observe()
        #expect(try cluster.node(100, 1).lagEntries == 7)
        #expect(try cluster.node(100, 0).lagEntries == 0)
        let lag = cluster.model.metrics().replicationLag
        #expect(lag.entries == 30 && lag.groupId == 101 && lag.nodeId == 2)
        // It says nothing of how the others are.
        cluster.fail(101, 2)
        cluster.observe()
        #expect(cluster.model.metrics().replicationLag.entries == 7)
    }

    @Test func aFileSystemCountsOnce() {
        var cluster = ClusterFixture()
        cluster.observe()
        #expect(cluster.model.metrics().storageCapacity == 9_000_000)
        for place in 0..<3 { cluster.change(100, place) { $0.filesystem = "one" } }
        // Whoever doesn't name it counts alone.
        for place in 0..<3 { cluster.change(101, place) { $0.filesystem = "" } }
        cluster.fail(0, 2)
        cluster.observe()
        #expect(cluster.model.metrics().storageCapacity == (3 + 1 + 3) * 1_000_000)
        #expect(cluster.model.metrics().storageFree == (3 + 1 + 3) * 900_000)
    }

    @Test func theMapStaysWhenTheControllerIsGone() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.configFailure = "no controller answers"
        cluster.observe()
        let lost = cluster.now
        cluster.config.number = 99
        cluster.observe()
        let topology = cluster.model.topology()
        #expect(topology.configCluster.configNum == 12)
        #expect(topology.shardGroups.map(\.groupId) == [100, 101])
        #expect(topology.shardMap["0"] == 100)
        let controller = cluster.model.status().controller
        #expect(!controller.reachable)
        #expect(controller.error == "no controller answers")
        #expect(controller.since == Timestamp.text(unixMilliseconds: lost))
        #expect(try cluster.group(100).nodes.allSatisfy(\.healthy), "the groups work without it")
        cluster.configFailure = nil
        cluster.observe()
        #expect(cluster.model.topology().configCluster.configNum == 99)
        #expect(cluster.model.status().controller.reachable)
        #expect(cluster.model.status().controller.since == nil)
    }

    @Test func aControllerThatIsBehindDoesNotBringBackAnOldMap() {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.config.number = 11
        cluster.config.groups.removeLast()
        cluster.observe()
        #expect(cluster.model.topology().configCluster.configNum == 12)
        #expect(cluster.model.topology().shardGroups.count == 2)
        cluster.config.clusterID = [0xc2]
        cluster.observe()
        #expect(cluster.model.topology().configCluster.configNum == 11, "another cluster counts for itself")
        #expect(cluster.model.status().clusterId == "c2")
    }

    @Test func aNodeThatLeftIsForgotten() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.config.number = 13
        cluster.config.groups[0].addresses.removeLast()
        cluster.observe()
        #expect(try cluster.group(100).nodes.count == 2)
        #expect(cluster.model.metrics().totalNodes == 8)
    }

    // MARK: - Shards

    @Test func theStateOfAShardIsThatAtWhoServesIt() {
        var cluster = ClusterFixture()
        cluster.config.shards[6] = 0
        cluster.config.moves = [
            .init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving),
            .init(shard: 1, from: 100, to: 101, epoch: 1, phase: .collecting),
            .init(shard: 2, from: 100, to: 101, epoch: 2, phase: .moving),
        ]
        // The target froze shard 2; it has not come to shard 0 yet.
        cluster.change(100, 0) { $0.shards[1].state = .bePulling }
        cluster.change(101, 0) { $0.shards.removeLast() }
        cluster.observe()
        let states = cluster.model.shards().map(\.state)
        #expect(
            states == [
                "Serving", "GCing", "BePulling", "Serving", "Serving", "Serving", "Unowned", "Unknown",
            ])
        #expect(cluster.model.shards()[2].move?.phase == .moving)
        for id: UInt64 in 0..<3 { cluster.fail(100, id) }
        cluster.observe()
        let shard = cluster.model.shards()[4]
        #expect(shard.state == "Unknown")
        #expect(shard.keys == 3, "the last that was seen")
    }

    /// Followers apply later, and count for themselves.
    @Test func whatAShardHoldsIsWhatItsLeaderSays() {
        var cluster = ClusterFixture()
        cluster.change(100, 1) { $0.shards[0].keys = 999 }
        cluster.observe()
        #expect(cluster.model.shards()[0].keys == 3)
        cluster.fail(100, 0)
        cluster.change(100, 1) { $0.lastApplied = 41 }
        cluster.observe()
        #expect(cluster.model.shards()[0].keys == 999, "else of who has got farthest")
    }
}
