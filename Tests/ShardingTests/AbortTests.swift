import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// Moves that are to end without arriving: what the map says of them, and what a group's log makes of it.
@Suite struct AbortTests {
    typealias Controller = MachineBench<ControllerMachine>
    typealias Group = MachineBench<GroupMachine>

    private let shard: ShardID = 0
    private let epoch = ShardEpoch(shard: 0, epoch: 2)

    /// Group 1 serves everything, and shard 0 is on its way to group 2.
    private func moving() throws -> Controller {
        let bench = try Controller.controller(shards: 4)
        try bench.run(.join([1: ["a:1"]]))
        try bench.hear()
        try bench.run(.join([2: ["b:1"]]))
        try bench.hear()
        try bench.finishMoves()
        for shard in bench.map.shardIDs where bench.map[shard].gid == 2 {
            try bench.run(.move(shard: shard, to: 1))
        }
        try bench.finishMoves()
        try bench.run(.move(shard: shard, to: 2))
        return bench
    }

    private func report(_ bench: Controller, _ event: ControllerCommand.MoveEvent) throws {
        try bench.run(.report(shard: shard, epoch: try #require(bench.map[shard].move?.epoch), event: event))
    }

    private func abort(_ bench: Controller, isForced: Bool = false) throws -> ControllerRefusal? {
        guard case .refused(let refusal) = try bench.run(.abort(shard: shard, isForced: isForced)) else { return nil }
        return refusal
    }

    // MARK: - The map

    @Test func anAbortedMoveIsStillTheSourcesUntilSomebodyHasDecided() throws {
        let bench = try moving()
        let before = bench.map[shard]
        #expect(try abort(bench) == nil)
        #expect(bench.map[shard].gid == 1 && bench.map[shard].epoch == before.epoch)
        #expect(bench.map[shard].move?.phase == .aborting && bench.map.destination(shard) == 1)
        let number = bench.map.number
        #expect(try abort(bench) == nil && bench.map.number == number, "again: it changes nothing")
        try report(bench, .rejected)
        #expect(bench.map[shard].move?.phase == .rejected)
        #expect(try abort(bench) == nil && bench.map.number == number + 1)
        try report(bench, .collected)
        let used = try #require(before.move?.epoch)
        #expect(bench.map[shard].gid == 1 && bench.map[shard].move == nil && bench.map[shard].epoch == used)
    }

    @Test func aTargetThatHasTakenTheShardOverBeforeItHeardKeepsIt() throws {
        let bench = try moving()
        #expect(try abort(bench) == nil)
        try report(bench, .activated)
        #expect(bench.map[shard].gid == 2 && bench.map[shard].move?.phase == .collecting)
        let refusal = try #require(try abort(bench))
        #expect(refusal.kind == .precondition && refusal.description.contains("controller move 0 1"))
        try report(bench, .collected)
        #expect(bench.map[shard].gid == 2 && bench.map[shard].move == nil)
    }

    @Test func anAbortOfNothingIsRefusedAndChangesNothing() throws {
        let bench = try moving()
        let refusal = try #require(try bench.refusal(.abort(shard: 1, isForced: false)))
        #expect(
            refusal.kind == .precondition && refusal.description == "shard 1 is not on the move; `query` shows what is")
        #expect(try bench.refusal(.abort(shard: 1, isForced: true))?.kind == .precondition)
        #expect(try bench.refusal(.abort(shard: 4, isForced: false))?.kind == .invalid)
    }

    @Test(arguments: [[], [.activated]] as [[ControllerCommand.MoveEvent]])
    func byForceTheSourceServesUnderAHigherEpochThanTheMove(heard: [ControllerCommand.MoveEvent]) throws {
        let bench = try moving()
        for event in heard { try report(bench, event) }
        let used = try #require(bench.map[shard].move?.epoch)
        #expect(try abort(bench, isForced: true) == nil)
        #expect(bench.map[shard] == .init(gid: 1, epoch: used + 1, isBlank: false))
        // What the target says of it afterwards is old news.
        let map = bench.map
        for event in [ControllerCommand.MoveEvent.activated, .rejected, .collected] {
            try bench.run(.report(shard: shard, epoch: used, event: event))
        }
        #expect(bench.map == map)
        try bench.run(.move(shard: shard, to: 2))
        #expect(bench.map[shard].move?.epoch == used + 2)
    }

    @Test func theLeaveOfATargetAbortsWhatIsOnItsWayThere() throws {
        let bench = try moving()
        try bench.run(.leave([2]))
        #expect(bench.map[shard].move?.phase == .aborting && bench.map.groups[2]?.isLeaving == true)
        try report(bench, .rejected)
        #expect(bench.map.groups[2] != nil, "its log may still be asked")
        try report(bench, .collected)
        #expect(bench.map.groups[2] == nil && bench.map[shard].gid == 1)
    }

    /// Where the shards of a source that leaves as well go is planned anew.
    @Test func aShardWhoseSourceLeavesTooGoesElsewhereAfterTheAbort() throws {
        let bench = try moving()
        try bench.run(.join([3: ["c:1"]]))
        try bench.hear()
        try bench.run(.leave([1]))
        try bench.run(.leave([2]))
        try report(bench, .rejected)
        try report(bench, .collected)
        #expect(bench.map[shard].move?.to == 3)
        try bench.finishMoves()
        #expect(bench.map.groups.keys.sorted() == [3] && bench.map.shards.allSatisfy { $0.gid == 3 })
    }

    @Test func whileMovesAreHeldWhatIsUnderWayEndsAndWhatWaitsIsForgotten() throws {
        let bench = try moving()
        try bench.run(.hold(id: [UInt8](repeating: 1, count: 16), holder: "a backup", lasts: 60_000))
        try bench.run(.move(shard: 1, to: 2))
        #expect(bench.machine.hold?.waiting == [1: 2])
        try bench.run(.abort(shard: 1, isForced: false))
        #expect(bench.machine.hold?.waiting == [:])
        #expect(try abort(bench) == nil)
        try report(bench, .rejected)
        try report(bench, .collected)
        #expect(bench.map.moves.isEmpty && bench.machine.hold != nil)
    }

    // MARK: - A source whose data is given up

    @Test func aShardOfALostSourceEndsWhereItsNewestCopyIs() throws {
        let arrived = try moving()
        try arrived.run(.giveUp(1))
        #expect(arrived.map[shard].move?.from == GroupID.none && arrived.map[shard].move?.phase == .aborting)
        try report(arrived, .activated)
        #expect(arrived.map[shard].gid == 2 && arrived.map[shard].move == nil, "nothing is left to collect")

        let rejected = try moving()
        let used = try #require(rejected.map[shard].move?.epoch)
        try rejected.run(.giveUp(1))
        try report(rejected, .rejected)
        #expect(rejected.map[shard] == .init(gid: 1, epoch: used + 1, isBlank: true))

        let collecting = try moving()
        try report(collecting, .activated)
        try collecting.run(.giveUp(1))
        #expect(collecting.map[shard].gid == 2 && collecting.map[shard].move == nil)
    }

    @Test func ofALostSourceAndALostTargetNothingIsLeft() throws {
        let bench = try moving()
        let used = try #require(bench.map[shard].move?.epoch)
        try bench.run(.giveUp(1))
        #expect(try abort(bench) == nil && bench.map[shard].move != nil)
        #expect(try abort(bench, isForced: true) == nil)
        #expect(bench.map[shard] == .init(gid: 1, epoch: used + 1, isBlank: true))
    }

    // MARK: - The log of a source

    private func value(_ bench: Group) throws -> String? { try bench.get(Self.key) }

    /// Of shard 0.
    private static let key = (0..<100).map { "key \($0)" }.first { Slot.shard(of: bytes($0), shardCount: 4) == 0 } ?? ""

    private func source() throws -> Group {
        let bench = try Group.group(1)
        _ = try bench.write(Self.key, .put(value: bytes("value")))
        return bench
    }

    @Test func aShardThatItsSourceHasAbandonedIsNeverFrozenForThatMove() throws {
        let source = try source()
        #expect(try source.run(.abandon(epoch)) == .stepped)
        #expect(try source.run(.abandon(epoch)) == .stepped, "again")
        try source.restart()
        guard case .outOfStep = try source.run(.freeze(epoch, to: 2)) else {
            Issue.record("it was frozen all the same")
            return
        }
        #expect(try value(source) == "value")
        #expect(try source.run(.freeze(ShardEpoch(shard: 0, epoch: 3), to: 2)) == .stepped, "a later move may come")
    }

    /// The target may serve it by then.
    @Test func aSourceAbandonsAloneOnlyWhatItHasNotFrozen() throws {
        let source = try source()
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        guard case .outOfStep(let why) = try source.run(.abandon(epoch)) else {
            Issue.record("it was abandoned")
            return
        }
        #expect(why.contains("group 2 decides"))
        #expect(try source.reader.record(0)?.state == .frozen(to: 2, epoch: 2))
        #expect(try source.run(.collect(epoch)) == .stepped)
        guard case .outOfStep = try source.run(.abandon(epoch)) else {
            Issue.record("what has gone was abandoned")
            return
        }
    }

    @Test func aFrozenShardThawsOnlyForALaterEpochThanItsMoves() throws {
        let source = try source()
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        guard case .outOfStep = try source.run(.thaw(epoch)) else {
            Issue.record("the target has the last word under the move's own epoch")
            return
        }
        let later = ShardEpoch(shard: 0, epoch: 3)
        #expect(try source.run(.thaw(later)) == .stepped)
        #expect(try source.run(.thaw(later)) == .stepped, "again")
        #expect(try value(source) == "value" && source.reader.record(0)?.epoch == 3)
        guard case .outOfStep = try source.run(.freeze(epoch, to: 2)) else {
            Issue.record("the overruled move froze it again")
            return
        }
        guard case .outOfStep = try source.run(.collect(epoch)) else {
            Issue.record("the overruled target had the copy removed")
            return
        }
        #expect(try source.run(.freeze(ShardEpoch(shard: 0, epoch: 4), to: 2)) == .stepped)
    }

    @Test func whatHasGoneDoesNotThawIntoAnEmptyShard() throws {
        let source = try source()
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        #expect(try source.run(.collect(epoch)) == .stepped)
        guard case .outOfStep = try source.run(.thaw(ShardEpoch(shard: 0, epoch: 3))) else {
            Issue.record("an empty shard is served")
            return
        }
        #expect(try source.reader.record(0)?.state == .gone)
    }
}
