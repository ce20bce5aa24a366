import DashboardModel
import Keyspace
import Testing

@Suite struct MoveTests {
    private func moving(_ phase: ShardMap.Move.Phase = .moving) -> ClusterFixture {
        var cluster = ClusterFixture()
        cluster.observe()
        cluster.config.number = 13
        cluster.config.moves = [.init(shard: 0, from: 100, to: 101, epoch: 2, phase: phase)]
        cluster.observe()
        return cluster
    }

    private func end(_ cluster: inout ClusterFixture, at gid: GroupID) {
        cluster.config.number += 1
        cluster.config.moves = []
        cluster.config.shards[0] = gid
        cluster.config.epochs[0] = 2
        cluster.observe()
    }

    @Test func aMoveThatTheTargetServesIsDone() throws {
        var cluster = moving()
        let began = cluster.now
        #expect(cluster.model.moves().live.map(\.phase) == [.moving])
        #expect(cluster.model.moves().history == [])
        cluster.observe()
        end(&cluster, at: 101)
        #expect(cluster.model.moves().live == [])
        let move = try #require(cluster.model.moves().history.first)
        #expect(move.phase == .done)
        #expect(move.shardId == 0 && move.epoch == 2 && move.from == 100 && move.to == 101)
        #expect(move.startedAt == Timestamp.text(unixMilliseconds: began))
        #expect(move.endedAt == Timestamp.text(unixMilliseconds: cluster.now))
    }

    @Test func oneThatItDoesNotServeWasRejected() {
        var cluster = moving()
        end(&cluster, at: 100)
        #expect(cluster.model.moves().history.map(\.phase) == [.rejected])
        #expect(cluster.events(.move).last?.text == "shard 0 doesn't go to group 101; it stays with group 100")
        #expect(cluster.events(.move).last?.severity == .warning)
    }

    @Test func aRejectionIsToldOnce() {
        var cluster = moving()
        cluster.config.moves[0].phase = .rejected
        cluster.observe()
        #expect(cluster.model.moves().live.map(\.phase) == [.rejected])
        end(&cluster, at: 100)
        #expect(cluster.model.moves().history.map(\.phase) == [.rejected])
        #expect(cluster.events(.move).count == 2)
    }

    /// Whoever has activated a shard may have handed it on by the next look.
    @Test func aMoveThatWentOnIsDone() {
        var cluster = moving()
        cluster.config.number = 20
        cluster.config.shards[0] = 102
        cluster.config.moves = [.init(shard: 0, from: 101, to: 102, epoch: 3, phase: .collecting)]
        cluster.observe()
        #expect(cluster.model.moves().history.map(\.phase) == [.done])
        #expect(cluster.model.moves().live.map(\.epoch) == [3])
    }

    @Test func aMoveBetweenTwoLooksIsSeenByItsEnd() throws {
        var cluster = ClusterFixture()
        cluster.observe()
        let before = cluster.now
        end(&cluster, at: 101)
        let move = try #require(cluster.model.moves().history.first)
        #expect(move.phase == .done && move.from == 100 && move.to == 101 && move.epoch == 2)
        #expect(move.startedAt == Timestamp.text(unixMilliseconds: before))
        #expect(cluster.events(.move).map(\.text) == ["shard 0 has moved from group 100 to group 101"])
    }

    @Test func theBarIsThatOfTheMemberThatHasGotFarthest() throws {
        var cluster = moving()
        #expect(cluster.model.moves().live.first?.copiedBytes == nil)
        cluster.change(101, 0) {
            $0.transfers = [.init(shard: 0, epoch: 2, copiedBytes: 100, totalBytes: 0)]
        }
        cluster.change(101, 1) {
            $0.transfers = [
                .init(shard: 0, epoch: 2, copiedBytes: 300, totalBytes: 1000),
                .init(shard: 0, epoch: 1, copiedBytes: 999, totalBytes: 1000),
            ]
        }
        // Not the target.
        cluster.change(100, 0) { $0.transfers = [.init(shard: 0, epoch: 2, copiedBytes: 900, totalBytes: 2000)] }
        cluster.observe()
        let move = try #require(cluster.model.moves().live.first)
        #expect(move.copiedBytes == 300)
        #expect(move.totalBytes == 1000)
        // One that begins anew is not ahead any more.
        cluster.change(101, 1) { $0.transfers[0].copiedBytes = 50 }
        cluster.observe()
        #expect(cluster.model.moves().live.first?.copiedBytes == 100)
        cluster.change(101, 1) { $0.transfers[0].copiedBytes = 300 }
        cluster.observe()
        // What was copied stays when the copy is loaded, and is whole once it serves.
        for place in 0..<2 { cluster.change(101, place) { $0.transfers = [] } }
        cluster.observe()
        #expect(cluster.model.moves().live.first?.copiedBytes == 300)
        end(&cluster, at: 101)
        #expect(cluster.model.moves().history.first?.copiedBytes == 1000)
    }

    @Test func aTotalThatNobodyHasSaidIsUnknown() {
        var cluster = moving()
        cluster.change(101, 0) { $0.transfers = [.init(shard: 0, epoch: 2, copiedBytes: 100, totalBytes: 0)] }
        cluster.observe()
        #expect(cluster.model.moves().live.first?.copiedBytes == 100)
        #expect(cluster.model.moves().live.first?.totalBytes == nil)
    }

    @Test func movesStayWhileTheControllerIsGone() {
        var cluster = moving()
        cluster.configFailure = "gone"
        cluster.observe()
        #expect(cluster.model.moves().live.count == 1)
        #expect(cluster.model.moves().history == [])
    }

    @Test func historyIsNewestFirstAndFiveHundred() {
        var cluster = ClusterFixture(shards: 2)
        cluster.observe()
        for epoch: UInt64 in 2..<602 {
            cluster.config.number += 1
            cluster.config.shards[0] = cluster.config.shards[0] == 100 ? 101 : 100
            cluster.config.epochs[0] = epoch
            cluster.observe()
        }
        let history = cluster.model.moves().history
        #expect(history.count == 500)
        #expect(history.first?.epoch == 601)
        #expect(history.last?.epoch == 102)
    }

    @Test func ofAnotherClusterNothingIsUnderWay() {
        var cluster = moving()
        cluster.config.clusterID = [0xc2]
        cluster.config.moves = []
        cluster.config.shards[1] = 100
        cluster.observe()
        #expect(cluster.model.moves().live == [])
        #expect(cluster.model.moves().history == [])
        #expect(cluster.events(.config).count == 1)
    }

    @Test func whileMovesAreHeldThoseThatWillStartAreListed() {
        var cluster = ClusterFixture()
        cluster.config.hold = .init(
            holder: "flotilla backup create", until: 1_764_351_600_123,
            waiting: [.init(shard: 5, to: 100), .init(shard: 3, to: 100), .init(shard: 99, to: 100)])
        cluster.observe()
        let moves = cluster.model.moves()
        #expect(moves.hold?.holder == "flotilla backup create")
        #expect(moves.hold?.until == "2025-11-28T17:40:00.123Z")
        #expect(moves.waiting.map(\.shardId) == [3, 5])
    }
}
