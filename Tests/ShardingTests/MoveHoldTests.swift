import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// While moves are held none starts, and nothing that was asked for is forgotten.
@Suite struct MoveHoldTests {
    typealias Bench = MachineBench<ControllerMachine>

    private static let id = [UInt8](repeating: 1, count: 16)
    private static let other = [UInt8](repeating: 2, count: 16)

    private func addresses(_ gid: GroupID) -> [String] { ["host\(gid):1"] }

    private func join(_ gids: GroupID...) -> ControllerCommand {
        .join(Dictionary(uniqueKeysWithValues: gids.map { ($0, addresses($0)) }))
    }

    private func hold(_ id: [UInt8] = id, lasts: Milliseconds = 60_000) -> ControllerCommand {
        .hold(id: id, holder: "a backup", lasts: lasts)
    }

    /// Two groups with four shards, and moves held.
    private func held() throws -> Bench {
        let bench = try Bench.controller(shards: 4)
        try bench.run(join(1, 2))
        try bench.hear()
        try bench.run(hold())
        return bench
    }

    private func isMoving(_ bench: Bench) -> Bool { bench.map.shards.contains { $0.move != nil } }

    private func refusal(_ bench: Bench, _ command: ControllerCommand) throws -> ControllerRefusal.Kind? {
        guard case .refused(let refusal) = try bench.run(command) else { return nil }
        return refusal.kind
    }

    /// The leader's wall clock is an hour behind: no question of it. Log time is a quorum's.
    @Test func aHoldEndsByTheTimeThatPassesAndNotByTheLeadersClock() {
        var watch = HoldWatch()
        func dueAt(_ until: Milliseconds?, _ logTime: Milliseconds, _ now: Milliseconds) -> Milliseconds? {
            let hold = until.map { MoveHold(id: Self.id, holder: "a backup", until: 1_700_000_000_000 + $0) }
            return watch.dueAt(hold, logTime: 1_700_000_000_000 + logTime, now: now)
        }
        #expect(dueAt(500, 0, 10) == 510)
        #expect(dueAt(500, 0, 509) == 510)
        #expect(dueAt(500, 0, 510) == 510)
        // It is prolonged.
        #expect(dueAt(1_000, 500, 520) == 1_020)
        #expect(dueAt(1_000, 500, 1_020) == 1_020)
        // Another leads for a while.
        #expect(dueAt(nil, 0, 2_000) == nil)
        #expect(dueAt(1_000, 500, 2_000) == 2_500)
    }

    @Test func aMoveThatIsAskedForMeanwhileStartsAtTheRelease() throws {
        let bench = try held()
        let before = bench.map
        try bench.run(.move(shard: 0, to: 2))
        #expect(bench.map == before)
        #expect(bench.machine.hold?.waiting == [0: 2])
        try bench.run(.release(id: Self.id))
        #expect(bench.machine.hold == nil)
        #expect(bench.map.shards[0].move?.to == 2)
        #expect(bench.map.number == before.number + 1)
    }

    @Test func theLastWordOnAShardCounts() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        try bench.run(.move(shard: 0, to: 1))
        try bench.run(.release(id: Self.id))
        #expect(!isMoving(bench))
    }

    @Test func whatCantBeDoneIsRefusedAsEver() throws {
        let bench = try held()
        #expect(try refusal(bench, .move(shard: 4, to: 1)) == .invalid)
        #expect(try refusal(bench, .move(shard: 0, to: 3)) == .notFound)
        #expect(bench.machine.hold?.waiting == [:])
    }

    @Test func movesUnderWayEndAndCallNoNewOnes() throws {
        let bench = try Bench.controller(shards: 6)
        try bench.run(join(1))
        try bench.run(join(2))
        // The third group's share waits for what is on its way to the second.
        try bench.run(join(3))
        #expect(bench.map.isBalancePending)
        try bench.run(hold())
        let first = try #require(bench.map.shardIDs.first { bench.map[$0].move != nil })
        let left = bench.map.shards.filter { $0.move != nil }.count
        let epoch = try #require(bench.map[first].move?.epoch)
        try bench.run(.report(shard: first, epoch: epoch, event: .activated))
        try bench.run(.report(shard: first, epoch: epoch, event: .collected))
        #expect(bench.map.shards.filter { $0.move != nil }.count == left - 1)
        try bench.finishMoves()
        #expect(!isMoving(bench))
        try bench.run(.release(id: Self.id))
        try bench.finishMoves()
        #expect(bench.load == [1: 2, 2: 2, 3: 2])
    }

    @Test func joinAndLeaveAreTakenAndBalancedAtTheEnd() throws {
        let bench = try held()
        try bench.run(join(3))
        try bench.run(.leave([1]))
        #expect(bench.map.groups.keys.sorted() == [1, 2, 3])
        #expect(!isMoving(bench))
        try bench.run(.release(id: Self.id))
        try bench.finishMoves()
        #expect(bench.load == [2: 2, 3: 2])
        #expect(bench.map.groups.keys.sorted() == [2, 3])
    }

    @Test func theFirstGroupGetsItsShardsAtTheEnd() throws {
        let bench = try Bench.controller(shards: 4)
        try bench.run(hold())
        try bench.run(join(1))
        #expect(bench.map.shards.allSatisfy { $0.gid == 0 })
        try bench.run(.release(id: Self.id))
        #expect(bench.map.shards.allSatisfy { $0.gid == 1 && $0.epoch == 1 })
    }

    @Test func aMoveToAGroupThatLeftMeanwhileIsDropped() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        try bench.run(.leave([2]))
        try bench.run(.release(id: Self.id))
        try bench.finishMoves()
        #expect(bench.load == [1: 4])
    }

    // MARK: - The lease

    @Test func aHoldThatIsNotProlongedEndsByLogTime() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        bench.now += 59_999
        try bench.run(.passTime)
        #expect(bench.machine.hold != nil)
        bench.now += 1
        try bench.run(.passTime)
        #expect(bench.machine.hold == nil)
        #expect(isMoving(bench))
    }

    @Test func anyCommandEndsAHoldThatIsOver() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        bench.now += 60_000
        #expect(try refusal(bench, .prolong(id: Self.id, lasts: 60_000)) == .precondition)
        #expect(isMoving(bench))
    }

    @Test func aHoldIsProlongedForAsLongAsItsHolderLives() throws {
        let bench = try held()
        for _ in 0..<10 {
            bench.now += 45_000
            try bench.run(.prolong(id: Self.id, lasts: 60_000))
        }
        #expect(bench.machine.hold?.until == bench.now + 60_000)
        // An earlier end was promised to nobody, and is not taken for one.
        try bench.run(.prolong(id: Self.id, lasts: 1))
        #expect(bench.machine.hold?.until == bench.now + 60_000)
    }

    /// The proof of a backup: who releases had the hold from the first moment to the last.
    @Test func aReleaseIsTakenOnlyOfAHoldThatWasNeverLost() throws {
        let bench = try held()
        bench.now += 60_000
        #expect(try refusal(bench, .release(id: Self.id)) == .precondition)
        try bench.run(hold(Self.other))
        #expect(try refusal(bench, .release(id: Self.id)) == .precondition)
        #expect(try refusal(bench, .prolong(id: Self.id, lasts: 1)) == .precondition)
        #expect(bench.machine.hold?.id == Self.other)
    }

    @Test func thereIsOneHoldAtATime() throws {
        let bench = try held()
        #expect(try refusal(bench, hold(Self.other)) == .busy)
        bench.now += 60_000
        try bench.run(hold(Self.other))
        #expect(bench.machine.hold?.id == Self.other)
    }

    @Test func aReleaseThatIsRepeatedGetsTheFirstAnswer() throws {
        let bench = try held()
        guard case .map = try bench.run(.release(id: Self.id), id: [7]) else {
            Issue.record("the release was refused")
            return
        }
        guard case .map = try bench.run(.release(id: Self.id), id: [7]) else {
            Issue.record("the retry was refused")
            return
        }
    }

    @Test func whatIsNoLeaseIsRefused() throws {
        let bench = try Bench.controller()
        #expect(try refusal(bench, hold(lasts: 0)) == .invalid)
        #expect(try refusal(bench, hold(lasts: MoveHold.lastsMaxMilliseconds + 1)) == .invalid)
        #expect(try refusal(bench, hold([1])) == .invalid)
        let long = String(repeating: "x", count: MoveHold.holderBytesMax + 1)
        #expect(try refusal(bench, .hold(id: Self.id, holder: long, lasts: 1)) == .invalid)
        #expect(bench.machine.hold == nil)
    }

    @Test func aHoldSurvivesARestart() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        let before = bench.machine.hold
        try bench.restart()
        #expect(bench.machine.hold == before && before != nil)
        #expect(try ControllerMachine.hold(layout: bench.layout, in: bench.engine.snapshot()) == before)
    }

    /// A backup is made under a hold whose holder the new cluster never hears of.
    @Test func inARestoredClusterWhatWaitedStarts() throws {
        let bench = try held()
        try bench.run(.move(shard: 0, to: 2))
        var (header, families) = try SnapshotHeader.read(bench.layout, in: bench.engine.snapshot())
        var batch = WriteBatch()
        #expect(ControllerMachine.record(bench.map, in: &header, families: families, &batch))
        let key = [GroupLayout.statePrefix] + ControllerMachine.holdKey
        let row = try #require(header.stateRows.first { $0.key == key })
        let hold = try MoveHold(encoded: row.value)
        #expect(hold.until == 0 && hold.waiting == [0: 2])
    }
}
