import DashboardModel
import Keyspace
import Testing

/// Events are what differs between two observations.
@Suite struct EventTests {
    private func observed() -> ClusterFixture {
        var cluster = ClusterFixture()
        cluster.observe()
        return cluster
    }

    @Test func whereNothingChangesNothingHappens() {
        var cluster = observed()
        cluster.observe()
        cluster.observe()
        #expect(cluster.events() == [])
    }

    @Test func anotherLeader() {
        var cluster = observed()
        cluster.fail(100, 0)
        for place in 1..<3 {
            cluster.change(100, place) {
                $0.role = .candidate
                $0.leaderID = nil
            }
        }
        cluster.observe()
        for place in 1..<3 {
            cluster.change(100, place) {
                $0.role = place == 1 ? .leader : .follower
                $0.term = 4
                $0.leaderID = 1
            }
        }
        cluster.observe()
        let events = cluster.events(.leader)
        #expect(events.map(\.text) == ["group 100 has no leader", "node 1 of group 100 leads in term 4"])
        #expect(events.map(\.severity) == [.error, .info])
        #expect(events.map(\.nodeId) == [nil, 1])
        #expect(events.map(\.groupId) == [100, 100])
        #expect(events[1].at == Timestamp.text(unixMilliseconds: cluster.now))
    }

    @Test func aNodeIsLostAndFound() {
        var cluster = observed()
        cluster.fail(101, 2, "connection refused")
        cluster.observe()
        cluster.observe()
        cluster.fail(101, 2, nil)
        cluster.observe()
        let events = cluster.events()
        #expect(events.map(\.kind) == [.nodeLost, .nodeFound])
        #expect(events[0].text == "node 2 of group 101 doesn't answer: connection refused")
        #expect(events[0].groupId == 101 && events[0].nodeId == 2)
    }

    @Test func aNodeThatIsDownFromTheStartIsLost() {
        var cluster = ClusterFixture()
        cluster.fail(0, 1)
        cluster.observe()
        #expect(cluster.events().map(\.text) == ["node 1 of the controller doesn't answer: no node answers"])
    }

    @Test func aNodeWasStartedAnew() {
        var cluster = observed()
        cluster.change(100, 1) { $0.startedAt += 5000 }
        cluster.observe()
        cluster.observe()
        #expect(cluster.events().map(\.kind) == [.nodeRestarted])
        #expect(cluster.events().first?.nodeId == 1)
    }

    @Test func aNodeComplainsAndStops() {
        var cluster = observed()
        cluster.change(100, 1) { $0.condition = "its disk was wiped" }
        cluster.observe()
        cluster.change(100, 1) { $0.condition = "" }
        cluster.observe()
        #expect(
            cluster.events(.condition).map(\.text)
                == ["node 1 of group 100: its disk was wiped", "node 1 of group 100 takes part again"])
    }

    @Test func aNodeIsShortOfSpace() {
        var cluster = observed()
        cluster.change(100, 1) { $0.isShortOfSpace = true }
        cluster.observe()
        cluster.change(100, 1) { $0.isShortOfSpace = false }
        cluster.observe()
        #expect(cluster.events(.space).map(\.severity) == [.error, .info])
    }

    @Test func theControllerIsLostAndFound() {
        var cluster = observed()
        cluster.configFailure = "no leader"
        cluster.observe()
        cluster.observe()
        cluster.configFailure = nil
        cluster.observe()
        #expect(cluster.events().map(\.kind) == [.controllerLost, .controllerFound])
    }

    @Test func groupsJoinChangeAndLeave() {
        var cluster = observed()
        cluster.config.number = 13
        cluster.config.groups.append(.init(gid: 102, addresses: ["host102:0"]))
        cluster.addGroup(102)
        cluster.config.groups[0].isLeaving = true
        cluster.config.groups[1].addresses.append("host101:3")
        cluster.observe()
        cluster.config.number = 14
        cluster.config.groups.removeFirst()
        cluster.observe()
        let texts = cluster.events(.config).map(\.text)
        #expect(
            texts == [
                "config 13: group 100 is leaving",
                "config 13: group 101 is now at host101:0, host101:1, host101:2, host101:3",
                "config 13: group 102 joined", "config 14: group 100 left",
            ])
    }

    @Test func movesAreHeld() {
        var cluster = observed()
        cluster.config.hold = .init(holder: "flotilla backup create", until: cluster.now + 60_000)
        cluster.observe()
        cluster.config.hold?.until += 5000
        cluster.observe()
        cluster.config.hold = nil
        cluster.observe()
        #expect(
            cluster.events(.config).map(\.text)
                == ["moves are held by flotilla backup create", "moves are no longer held"])
    }

    @Test func aMoveStartsIsActivatedAndDone() {
        var cluster = observed()
        cluster.config.number = 13
        cluster.config.moves = [.init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving)]
        cluster.observe()
        cluster.config.number = 14
        cluster.config.shards[0] = 101
        cluster.config.epochs[0] = 2
        cluster.config.moves[0].phase = .collecting
        cluster.observe()
        cluster.config.number = 15
        cluster.config.moves = []
        cluster.observe()
        let events = cluster.events(.move)
        #expect(
            events.map(\.text) == [
                "shard 0 starts to move from group 100 to group 101",
                "group 101 serves shard 0; group 100 still has its copy",
                "shard 0 has moved from group 100 to group 101",
            ])
        #expect(events.allSatisfy { $0.shardId == 0 && $0.severity == .info })
    }

    /// A join of a large cluster would push everything else out of the log.
    @Test func manyMovesAtOnceAreOneEvent() {
        var cluster = ClusterFixture(shards: 64)
        cluster.observe()
        cluster.config.number = 13
        cluster.config.moves = (0..<20).map {
            .init(shard: ShardID(clamping: $0), from: cluster.config.shards[$0], to: 102, epoch: 2, phase: .moving)
        }
        cluster.observe()
        #expect(cluster.events(.move).map(\.text) == ["20 shards start to move"])
    }

    @Test func aThousandAreKeptNewestFirst() {
        var cluster = observed()
        for _ in 0..<1300 {
            cluster.fail(100, 1)
            cluster.observe()
            cluster.fail(100, 1, nil)
            cluster.observe()
        }
        let events = cluster.model.events(limit: 5000)
        #expect(events.count == 1000)
        #expect(events.first?.id == 2600)
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.id == $1.id + 1 })
        #expect(cluster.model.events(limit: 3).map(\.id) == [2600, 2599, 2598])
        #expect(cluster.model.dashboard().events.count == 100)
        #expect(cluster.model.events(limit: -1).count == 1)
    }
}
