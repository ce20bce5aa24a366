import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// What the two ends of a move answer.
@Suite struct MoveDeskTests {
    private let shard = ShardEpoch(shard: 3, epoch: 5)
    private let hashes = ShardHashes(user: ContentHash(count: 2, high: 1, low: 4))
    private let others = ShardHashes(user: ContentHash(count: 2, high: 1, low: 5))
    private let frozen = ShardRecord(state: .frozen(to: 2, epoch: 5), epoch: 1)

    private func code(_ step: SourceCall.Step) -> KvError.Code? {
        if case .refused(let error, _) = step { error.code } else { nil }
    }

    // MARK: - Source

    @Test func aShardIsScannedOnceHoweverOftenItsFreezeIsAsked() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        #expect(call.begin() == .propose(.freeze(shard, to: 2)))
        #expect(call.heard(.stepped, &desk) == .scan(shard))
        #expect(
            call.heard(.scanned(hashes, time: 7), &desk) == .frozen(FrozenShard(hashes: hashes, logTime: 7)))
        var again = SourceCall(.freeze(shard, for: 2))
        #expect(again.heard(.stepped, &desk) == .look(3))
        #expect(
            again.heard(.looked(frozen, time: 8), &desk) == .frozen(FrozenShard(hashes: hashes, logTime: 8)))
    }

    @Test func hashesOfAnotherEpochAreNotUsed() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        _ = call.heard(.stepped, &desk)
        _ = call.heard(.scanned(hashes, time: 7), &desk)
        let later = ShardEpoch(shard: 3, epoch: 6)
        var next = SourceCall(.freeze(later, for: 2))
        #expect(next.heard(.stepped, &desk) == .scan(later))
    }

    @Test func whatTheLogRefusesIsRefused() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        #expect(code(call.heard(.outOfStep("it has gone"), &desk)) == .failedPrecondition)
    }

    @Test func aShardThatThawedMeanwhileIsNotGivenOut() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        _ = call.heard(.stepped, &desk)
        #expect(code(call.heard(.scanned(nil, time: 7), &desk)) == .failedPrecondition)
    }

    @Test func aCopyGoesOnlyAfterAScanThatAgrees() {
        var desk = SourceDesk()
        var freeze = SourceCall(.freeze(shard, for: 2))
        _ = freeze.heard(.stepped, &desk)
        _ = freeze.heard(.scanned(hashes, time: 7), &desk)
        var call = SourceCall(.collect(shard, .activated(hashes)))
        #expect(call.begin() == .look(3))
        #expect(call.heard(.looked(frozen, time: 7), &desk) == .scan(shard), "though its hashes are known")
        #expect(call.heard(.scanned(hashes, time: 7), &desk) == .propose(.collect(shard)))
        #expect(call.heard(.stepped, &desk) == .done)
    }

    @Test func aCopyThatDiffersFromWhatTheTargetHasIsKept() {
        var desk = SourceDesk()
        var call = SourceCall(.collect(shard, .activated(hashes)))
        _ = call.heard(.looked(frozen, time: 7), &desk)
        guard case .refused(let error, let alarm?) = call.heard(.scanned(others, time: 7), &desk) else {
            Issue.record("not refused, or nobody hears of it")
            return
        }
        #expect(error.message.contains("both copies are kept") && alarm.contains("keeping both"))
    }

    /// On a real machine, with a scan of what its disk holds: one byte that went bad after the freeze keeps both copies.
    @Test(arguments: [false, true]) func whatWentBadAfterTheFreezeIsNotTakenForTheCopy(isDamaged: Bool) throws {
        let bench = try MachineBench<GroupMachine>.group(7, shards: 1)
        for number in 0..<20 { _ = try bench.write("key\(number)", .put(value: bytes("value\(number)"))) }
        let shard = ShardEpoch(shard: 0, epoch: 2)
        var desk = SourceDesk()
        func run(_ question: SourceQuestion) throws -> SourceCall.Step {
            var call = SourceCall(question)
            var step = call.begin()
            for _ in 0..<10 {
                switch step {
                case .propose(let command):
                    let reply = try bench.run(command)
                    guard reply == .stepped else { return step }
                    step = call.heard(.stepped, &desk)
                case .look(let shard):
                    step = call.heard(.looked(try bench.reader.record(shard), time: bench.now), &desk)
                case .scan(let shard):
                    step = call.heard(.scanned(try bench.reader.hashes(shard.shard), time: bench.now), &desk)
                case .frozen, .done, .refused: return step
                }
            }
            return step
        }
        guard case .frozen(let frozen) = try run(.freeze(shard, for: 8)) else {
            Issue.record("not frozen")
            return
        }
        let family = try #require(try bench.layout.family(ShardRecord.family(0), in: bench.engine.snapshot()))
        if isDamaged {
            var batch = WriteBatch()
            batch.put(family, key: ShardRows.userKey(bytes("key7")), value: ShardRows.record(bytes("valuE7")))
            try bench.engine.write(batch, durability: .synced)
        }
        let end = try run(.collect(shard, .activated(frozen.hashes)))
        guard isDamaged else {
            #expect(end == .done)
            #expect(try bench.reader.record(0)?.state == .gone)
            return
        }
        #expect(code(end) == .failedPrecondition)
        #expect(try bench.reader.record(0)?.state == .frozen(to: 8, epoch: 2))
        #expect(try bench.reader.hashes(0).user.count == 20)
        // Nor by asking again.
        #expect(code(try run(.collect(shard, .activated(frozen.hashes)))) == .failedPrecondition)
    }

    @Test func whatHasGoneIsCollectedAlready() {
        var desk = SourceDesk()
        for epoch: UInt64 in [5, 6] {
            var call = SourceCall(.collect(shard, .activated(hashes)))
            #expect(call.heard(.looked(ShardRecord(state: .gone, epoch: epoch), time: 7), &desk) == .done)
        }
        var call = SourceCall(.collect(shard, .activated(hashes)))
        #expect(call.heard(.looked(ShardRecord(state: .gone, epoch: 4), time: 7), &desk) == .scan(shard))
    }

    @Test func aRejectedShardThawsByTheLog() {
        var desk = SourceDesk()
        var call = SourceCall(.collect(shard, .rejected))
        #expect(call.begin() == .propose(.unfreeze(shard)))
        #expect(call.heard(.stepped, &desk) == .done)
    }

    // MARK: - Target

    private var order: StageOrder {
        StageOrder(
            shard: shard, hashes: hashes, source: Party(clusterID: [1], gid: 1, identity: []), addresses: ["a"])
    }

    private func code(_ step: StageCall.Step) -> KvError.Code? {
        if case .refused(let error) = step { error.code } else { nil }
    }

    @Test func oneOfManyOrdersFetches() {
        var desk = TargetDesk()
        var (first, second) = (StageCall(order), StageCall(order))
        #expect(first.heard(.absent, &desk) == .look)
        #expect(code(second.heard(.absent, &desk)) == .busy)
        second.end(&desk)
        #expect(desk.fetching == [shard], "the turn is the first one's")
        #expect(first.heard(.absent, &desk) == .fetch)
        first.end(&desk)
        #expect(desk.fetching.isEmpty)
    }

    @Test func whatCameBetweenTheLookAndTheTurnIsNotFetchedAgain() {
        var desk = TargetDesk()
        var call = StageCall(order)
        #expect(call.heard(.absent, &desk) == .look)
        #expect(call.heard(.staged(hashes), &desk) == .staged)
    }

    @Test func whatIsDecidedIsNotStaged() {
        var desk = TargetDesk()
        var call = StageCall(order)
        #expect(call.heard(.activated, &desk) == .activated)
        #expect(code(call.heard(.rejected, &desk)) == .failedPrecondition)
        #expect(code(call.heard(.staged(others), &desk)) == .failedPrecondition, "one of the two is damaged")
    }

    @Test func onlyWhatTheSourceFrozeIsTaken() {
        let call = StageCall(order)
        var sum = hashes.user
        sum.add(hashes.session)
        #expect(call.refusal(ofSent: sum.description) == nil)
        #expect(call.refusal(ofSent: others.user.description) != nil)
        #expect(call.refusal(ofSent: nil) != nil, "nothing is not what was frozen")
        #expect(call.refusal(ofLoaded: hashes) == nil && call.refusal(ofLoaded: others) != nil)
        var empty = order
        empty.hashes = ShardHashes()
        #expect(StageCall(empty).refusal(ofSent: nil) == nil)
    }

    @Test func whatIsBeingFetchedIsNotSwept() {
        var desk = TargetDesk()
        var call = StageCall(order)
        _ = call.heard(.absent, &desk)
        let stale = ShardEpoch(shard: 3, epoch: 4)
        #expect(desk.removable([stale, shard]) == [stale])
    }
}
