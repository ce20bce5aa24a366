import Keyspace
import Sharding
import Testing

/// A plan is what the controller then does.
@Suite struct ShardMapPlanTests {
    typealias Bench = MachineBench<ControllerMachine>

    private func addresses(_ gid: GroupID) -> [String] { (1...3).map { "host\(gid):\($0)" } }

    private func join(_ gids: GroupID...) -> [GroupID: [String]] {
        Dictionary(uniqueKeysWithValues: gids.map { ($0, addresses($0)) })
    }

    private func bench(_ gids: GroupID...) throws -> Bench {
        let bench = try Bench.controller(shards: 60)
        for gid in gids {
            try bench.run(.join([gid: addresses(gid)]))
            try bench.finishMoves()
        }
        try bench.hear()
        return bench
    }

    /// Where each shard is in the end, by the plan.
    private func planned(_ map: ShardMap, _ moves: [PlannedMove]) -> [GroupID] {
        var gids = map.shardIDs.map(map.destination)
        for move in moves {
            #expect(gids[move.shard.index] == move.from)
            gids[move.shard.index] = move.to
        }
        return gids
    }

    @Test func aJoinMovesWhatThePlanSays() throws {
        let bench = try bench(1, 2)
        let before = bench.map
        let moves = try before.plan(joining: join(3), leaving: [])
        #expect(bench.map == before, "a plan changes nothing")
        #expect(moves.count == 20)
        #expect(moves.allSatisfy { $0.to == 3 })
        #expect(moves.map(\.shard) == moves.map(\.shard).sorted())
        try bench.run(.join(join(3)))
        try bench.finishMoves()
        #expect(bench.map.shards.map(\.gid) == planned(before, moves))
    }

    @Test func aLeaveMovesWhatThePlanSays() throws {
        let bench = try bench(1, 2, 3)
        let before = bench.map
        let moves = try before.plan(joining: [:], leaving: [2])
        #expect(moves.allSatisfy { $0.from == 2 && $0.to != 2 })
        #expect(moves.count == 20)
        try bench.run(.leave([2]))
        try bench.finishMoves()
        #expect(bench.map.shards.map(\.gid) == planned(before, moves))
    }

    @Test func shardsThatNobodyHasComeFromNowhere() throws {
        let moves = try bench().map.plan(joining: join(1), leaving: [])
        #expect(moves == (0..<60).map { PlannedMove(shard: ShardID(clamping: $0), from: 0, to: 1) })
    }

    /// They can't be sent elsewhere yet, but when they arrive the balance is made up.
    @Test func shardsOnTheMoveArriveFirst() throws {
        let bench = try bench(1)
        try bench.run(.join(join(2)))
        #expect(bench.map.shards.contains { $0.move != nil })
        let before = bench.map
        let moves = try before.plan(joining: join(3, 4), leaving: [])
        var load: [GroupID: Int] = [:]
        for gid in planned(before, moves) { load[gid, default: 0] += 1 }
        #expect(load == [1: 15, 2: 15, 3: 15, 4: 15])
        try bench.run(.join(join(3, 4)))
        try bench.finishMoves()
        #expect(bench.map.shards.map(\.gid) == planned(before, moves))
    }

    @Test func aShardOnItsWayToWhoLeavesGoesOn() throws {
        let bench = try bench(1, 2, 3)
        let shard = try #require(bench.map.shardIDs.first { bench.map[$0].gid == 1 })
        try bench.run(.move(shard: shard, to: 2))
        let moves = try bench.map.plan(joining: [:], leaving: [2])
        let move = try #require(moves.first { $0.shard == shard })
        #expect(move.from == 2 && move.to != 2)
    }

    @Test func aRejectedMoveCountsAtItsSource() throws {
        let bench = try bench(1, 2)
        let shard = try #require(bench.map.shardIDs.first { bench.map[$0].gid == 1 })
        try bench.run(.move(shard: shard, to: 2))
        let epoch = try #require(bench.map[shard].move).epoch
        try bench.run(.report(shard: shard, epoch: epoch, event: .rejected))
        let moves = try bench.map.plan(joining: [:], leaving: [2])
        #expect(!moves.contains { $0.shard == shard })
        #expect(moves.allSatisfy { $0.from == 2 && $0.to == 1 })
    }

    @Test func aGroupInPlaceOfAnotherIsAJoinAndThenALeave() throws {
        let bench = try bench(1, 2)
        let before = bench.map
        let moves = try before.plan(joining: join(3), leaving: [2])
        var load: [GroupID: Int] = [:]
        for gid in planned(before, moves) { load[gid, default: 0] += 1 }
        #expect(load == [1: 30, 3: 30])
        try bench.run(.join(join(3)))
        try bench.run(.leave([2]))
        try bench.finishMoves()
        #expect(bench.map.shards.map(\.gid) == planned(before, moves))
    }

    @Test func whatIsSoAlreadyMovesNothing() throws {
        #expect(try bench(1, 2).map.plan(joining: join(2), leaving: []).isEmpty)
    }

    @Test func nonsenseIsRefusedAsTheControllerWould() throws {
        let map = try bench(1).map
        func kind(_ joining: [GroupID: [String]], _ leaving: [GroupID]) -> ControllerRefusal.Kind? {
            do throws(ControllerRefusal) {
                _ = try map.plan(joining: joining, leaving: leaving)
                return nil
            } catch { return error.kind }
        }
        #expect(kind([:], []) == .invalid)
        #expect(kind([0: ["a:1"]], []) == .invalid)
        #expect(kind([2: addresses(1)], []) == .precondition)
        #expect(kind([:], [9]) == .notFound)
        #expect(kind([:], [1]) == .precondition)
    }
}
