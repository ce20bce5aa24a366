import DashboardModel
import Keyspace
import Sharding
import Testing

@Suite struct PlanTests {
    @Test func aJoinTakesItsShareFromAll() throws {
        let config = ClusterFixture(shards: 60).config
        let plan = try config.map.plan(joining: [102: ["new:1"]], leaving: [])
        #expect(plan.before == ["100": 30, "101": 30, "102": 0])
        #expect(plan.after == ["100": 20, "101": 20, "102": 20])
        #expect(plan.moves.count == 20)
        #expect(plan.moves.allSatisfy { $0.to == 102 && $0.from == config.gid($0.shardId) })
    }

    @Test func aLeaveEmptiesTheGroup() throws {
        let plan = try ClusterFixture(shards: 60).config.map.plan(joining: [:], leaving: [100])
        #expect(plan.before == ["100": 30, "101": 30])
        #expect(plan.after == ["100": 0, "101": 60])
    }

    @Test func whatIsOnTheMoveCountsAtItsDestination() throws {
        var config = ClusterFixture(shards: 60).config
        config.moves = [
            .init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving),
            .init(shard: 2, from: 100, to: 101, epoch: 2, phase: .rejected),
        ]
        let plan = try config.map.plan(joining: [:], leaving: [101])
        #expect(plan.before == ["100": 29, "101": 31])
        #expect(plan.after == ["100": 60, "101": 0])
        #expect(plan.moves.contains { $0.shardId == 0 && $0.from == 101 && $0.to == 100 })
        #expect(!plan.moves.contains { $0.shardId == 2 })
    }

    @Test func theFirstGroupGetsAllFromNobody() throws {
        let plan = try ClusterFixture(groups: []).config.map.plan(joining: [100: ["a:1"]], leaving: [])
        #expect(plan.before == ["100": 0])
        #expect(plan.after == ["100": 8])
        #expect(plan.moves.allSatisfy { $0.from == 0 })
    }

    @Test func refusalsAreTheControllers() throws {
        let config = ClusterFixture().config
        func refusal(_ joining: [GroupID: [String]], _ leaving: [GroupID]) -> ControllerRefusal? {
            do throws(ControllerRefusal) {
                _ = try config.map.plan(joining: joining, leaving: leaving)
                return nil
            } catch { return error }
        }
        #expect(refusal([:], [9])?.kind == .notFound)
        #expect(refusal([102: ["host100:0"]], [])?.kind == .precondition)
        #expect(refusal([0: ["a:1"]], [])?.description.contains("gid 0") == true)
    }

    @Test func aConfigOfNonsenseGivesAPlanOfNonsense() throws {
        var config = ClusterFixture().config
        config.epochs = Array(repeating: .max, count: 3)
        config.shards = [100, 77, 101]
        config.groups.append(.init(gid: 100, addresses: []))
        config.groups.append(.init(gid: 0, addresses: ["x:1"]))
        config.moves = [
            .init(shard: 5_000, from: 1, to: 2, epoch: 3, phase: .moving),
            .init(shard: 0, from: 55, to: 66, epoch: .max, phase: .moving),
            .init(shard: 0, from: 55, to: 66, epoch: .max, phase: .moving),
            .init(shard: 2, from: 0, to: 0, epoch: 0, phase: .collecting),
            .init(shard: .max, from: 1, to: 2, epoch: 3, phase: .moving),
        ]
        for count in [-5, 0, 1, 8, 2000, .max] {
            config.shardCount = count
            _ = try config.map.plan(joining: [102: ["new:1"]], leaving: [])
            _ = try config.map.plan(joining: [:], leaving: [100])
        }
    }
}
