import Bytes
import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

@Suite struct ControllerMachineTests {
    typealias Bench = MachineBench<ControllerMachine>

    private func addresses(_ gid: GroupID) -> [String] { (1...3).map { "host\(gid):\($0)" } }

    private func join(_ gids: GroupID...) -> ControllerCommand {
        .join(Dictionary(uniqueKeysWithValues: gids.map { ($0, addresses($0)) }))
    }

    // MARK: - Balance

    @Test func theFirstGroupGetsEveryShardAtOnce() throws {
        let bench = try Bench.controller()
        try bench.run(join(1))
        #expect(bench.map.shards.allSatisfy { $0.gid == 1 && $0.move == nil && $0.epoch == 1 })
        #expect(bench.map.number == 1)
    }

    @Test(arguments: [1, 2, 10, 64, 257], 1...6) func shardsAreBalanced(shards: Int, groups: Int) throws {
        let bench = try Bench.controller(shards: shards)
        for gid in 1...UInt64(groups) {
            try bench.run(join(GroupID(gid)))
            try bench.finishMoves()
            let load = (1...gid).map { bench.load[GroupID($0), default: 0] }
            #expect(load.reduce(0, +) == shards)
            #expect((load.max() ?? 0) - (load.min() ?? 0) <= 1, "\(load)")
        }
    }

    @Test func aJoinMovesNoMoreThanItMust() throws {
        let bench = try Bench.controller(shards: 60)
        try bench.run(join(1, 2))
        let before = bench.map
        try bench.run(join(3))
        let moved = bench.map.shardIDs.filter { bench.map.destination($0) != before[$0].gid }
        #expect(moved.count == 20)
        #expect(moved.allSatisfy { bench.map.destination($0) == 3 })
    }

    @Test func aLeaveMovesOnlyTheShardsOfWhoLeaves() throws {
        let bench = try Bench.controller(shards: 60)
        try bench.run(join(1, 2, 3))
        let before = bench.map
        try bench.run(.leave([2]))
        for shard in bench.map.shardIDs {
            let moved = bench.map.destination(shard) != before[shard].gid
            #expect(moved == (before[shard].gid == 2))
        }
        try bench.finishMoves()
        #expect(bench.load == [1: 30, 3: 30])
        #expect(bench.map.groups.keys.sorted() == [1, 3], "the group goes with its last shard")
    }

    /// Shards that are already under way can't be sent elsewhere; the balance is made up when they arrive.
    @Test func groupsThatJoinWhileShardsAreMovingGetTheirShare() throws {
        let bench = try Bench.controller(shards: 60)
        try bench.run(join(1))
        try bench.run(join(2))
        try bench.run(join(3))
        try bench.run(join(4))
        try bench.finishMoves()
        #expect(bench.load == [1: 15, 2: 15, 3: 15, 4: 15])
    }

    /// An operator's move is not undone by the arrival of another shard.
    @Test func aMoveByHandStays() throws {
        let bench = try Bench.controller(shards: 10)
        try bench.run(join(1, 2))
        for shard in bench.map.shardIDs where bench.map[shard].gid == 1 {
            try bench.run(.move(shard: shard, to: 2))
        }
        try bench.finishMoves()
        #expect(bench.load == [2: 10])
    }

    @Test func everyReplicaComesToTheSameMap() throws {
        let commands: [ControllerCommand] = [
            join(5, 3, 9), join(1), .move(shard: 4, to: 9), .leave([3]), join(2, 8), .leave([5, 9]),
        ]
        let first = try Bench.controller(shards: 37)
        let second = try Bench.controller(shards: 37)
        for command in commands {
            try first.run(command)
            try second.run(command)
            // The second one dies after every command.
            try second.restart()
            #expect(first.map == second.map)
        }
        #expect(first.map.encoded == second.map.encoded)
    }

    // MARK: - Moves

    @Test func clientsGoToTheSourceUntilTheTargetHasActivated() throws {
        let bench = try Bench.controller(shards: 2)
        try bench.run(join(1, 2))
        let epoch = bench.map.shards[0].epoch
        try bench.run(.move(shard: 0, to: 2))
        #expect(bench.map.shards[0].gid == 1)
        #expect(bench.map.shards[0].move == .init(from: 1, to: 2, epoch: epoch + 1, phase: .moving))
        try bench.run(.report(shard: 0, epoch: epoch + 1, event: .activated))
        #expect(
            bench.map.shards[0]
                == .init(gid: 2, epoch: epoch + 1, move: .init(from: 1, to: 2, epoch: epoch + 1, phase: .collecting)))
        try bench.run(.report(shard: 0, epoch: epoch + 1, event: .collected))
        #expect(bench.map.shards[0] == .init(gid: 2, epoch: epoch + 1))
    }

    @Test func aRejectedMoveUsesItsEpochUp() throws {
        let bench = try Bench.controller(shards: 2)
        try bench.run(join(1, 2))
        try bench.run(.move(shard: 0, to: 2))
        try bench.run(.report(shard: 0, epoch: 2, event: .rejected))
        #expect(bench.map.shards[0].gid == 1)
        try bench.run(.report(shard: 0, epoch: 2, event: .collected))
        #expect(bench.map.shards[0] == .init(gid: 1, epoch: 2))
        try bench.run(.move(shard: 0, to: 2))
        #expect(bench.map.shards[0].move?.epoch == 3)
    }

    @Test func reportsAboutAnythingButTheMoveInProgressChangeNothing() throws {
        let bench = try Bench.controller(shards: 2)
        try bench.run(join(1, 2))
        try bench.run(.move(shard: 0, to: 2))
        let before = bench.map
        for (shard, epoch) in [(0, 1), (0, 3), (1, 2), (99, 2), (0, 0)] as [(ShardID, UInt64)] {
            for event in [ControllerCommand.MoveEvent.activated, .rejected, .collected] {
                try bench.run(.report(shard: shard, epoch: epoch, event: event))
            }
        }
        try bench.run(.report(shard: 0, epoch: 2, event: .collected))
        #expect(bench.map == before, "collected before it was decided")
        try bench.run(.report(shard: 0, epoch: 2, event: .activated))
        let activated = bench.map
        try bench.run(.report(shard: 0, epoch: 2, event: .rejected))
        try bench.run(.report(shard: 0, epoch: 2, event: .activated))
        #expect(bench.map == activated, "the first decision stands")
    }

    @Test func aMoveToWhereTheShardIsChangesNothing() throws {
        let bench = try Bench.controller(shards: 2)
        try bench.run(join(1, 2))
        let before = bench.map
        #expect(try bench.run(.move(shard: 0, to: 1)) == .map(before))
        try bench.run(.move(shard: 0, to: 2))
        let moving = bench.map
        #expect(try bench.run(.move(shard: 0, to: 2)) == .map(moving))
    }

    @Test func aShardThatArrivesAtALeavingGroupGoesOn() throws {
        let bench = try Bench.controller(shards: 4)
        try bench.run(join(1))
        try bench.run(join(2))
        try bench.run(.leave([2]))
        try bench.finishMoves()
        #expect(bench.load == [1: 4])
        #expect(bench.map.groups.keys.sorted() == [1])
    }

    // MARK: - Any number

    @Test func everyVersionCanBeAskedFor() throws {
        let bench = try Bench.controller(shards: 8)
        var versions = [bench.map]
        for command in [join(1), join(2), .move(shard: 7, to: 2), .leave([1])] {
            try bench.run(command)
            versions.append(bench.map)
        }
        try bench.restart()
        #expect(versions.map(\.number) == [0, 1, 2, 3, 4])
        let view = try bench.engine.snapshot()
        for version in versions {
            #expect(try ControllerMachine.map(number: version.number, layout: bench.layout, in: view) == version)
        }
        #expect(try ControllerMachine.map(number: nil, layout: bench.layout, in: view) == versions.last)
        #expect(try ControllerMachine.map(number: 99, layout: bench.layout, in: view) == nil)
    }

    @Test func initialisingTwiceKeepsTheFirst() throws {
        let bench = try Bench.controller(shards: 8)
        let before = bench.map
        #expect(try bench.run(.initialize(shardCount: 9, clusterID: [9])) == .map(before))
        #expect(bench.map == before)
    }

    // MARK: - Retries

    @Test func aRetryChangesNothingAndGetsTheFirstAnswer() throws {
        let bench = try Bench.controller(shards: 8)
        try bench.run(join(1), id: [1])
        let joined = bench.map
        #expect(try bench.run(join(1), id: [1]) == .map(joined))
        try bench.run(.leave([7]), id: [2])
        try bench.run(join(7), id: [3])
        let before = bench.map
        try bench.restart()
        // Refused before, and still: the first answer stands although group 7 has joined since.
        guard case .refused(let refusal) = try bench.run(.leave([7]), id: [2]) else {
            Issue.record("the retry was executed")
            return
        }
        #expect(refusal.kind == .notFound)
        #expect(bench.map == before)
    }

    /// "Busy, try again" invites the same request to come again; it is not the answer to it.
    @Test func aBusyAnswerIsNotKept() throws {
        let bench = try MachineBench(gid: 0) { ControllerMachine() }
        guard case .refused(let refusal) = try bench.run(join(1), id: [1]) else {
            Issue.record("joined before there was a map")
            return
        }
        #expect(refusal.kind == .busy)
        try bench.run(.initialize(shardCount: 4, clusterID: [1]))
        try bench.run(join(1), id: [1])
        #expect(bench.map.groups.keys.sorted() == [1])
        try bench.run(join(2, 3))
        let shard = try #require(bench.map.shardIDs.first { bench.map[$0].move?.to == 2 })
        guard case .refused = try bench.run(.move(shard: shard, to: 3), id: [2]) else {
            Issue.record("two moves of one shard")
            return
        }
        try bench.finishMoves()
        try bench.run(.move(shard: shard, to: 3), id: [2])
        #expect(bench.map.destination(shard) == 3)
    }

    @Test func answersAreKeptForABoundedNumberOfRequests() throws {
        let bench = try Bench.controller(shards: 2)
        let kept = Int(ControllerMachine.requestsKept)
        let payloads = (0..<kept + 50).map {
            ControllerCommand.leave([1]).encoded(requestID: bigEndianBytes(UInt64($0)))
        }
        for start in stride(from: 0, to: payloads.count, by: 200) {
            _ = try bench.apply(Array(payloads[start..<min(start + 200, payloads.count)]))
        }
        var rows = 0
        let prefix = [GroupLayout.statePrefix] + ControllerMachine.requestPrefix
        try bench.engine.snapshot().scan(bench.layout.meta, lower: prefix, upper: successor(ofPrefix: prefix)) { _, _ in
            rows += 1
            return true
        }
        #expect(rows == kept)
    }
}
