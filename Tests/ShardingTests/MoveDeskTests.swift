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

    private func sight(_ record: ShardRecord?, _ hashes: ShardHashes? = nil, time: Milliseconds = 7)
        -> SourceCall.Finding
    {
        .looked(SourceCall.Sight(record: record, time: time, applied: 40, hashes: hashes))
    }

    /// A shard that is being copied, in which so much has changed.
    private func copied(_ bytes: UInt64, _ changed: ShardHashes = ShardHashes(), isFrozen: Bool = false) -> ShardRecord
    {
        var record = ShardRecord(state: isFrozen ? .frozen(to: 2, epoch: 5) : .serving, epoch: 1)
        record.tracking = ShardTracking(epoch: 5, target: 2)
        record.tracking?.bytes = bytes
        record.tracking?.hashes = changed
        return record
    }

    private func code(_ step: SourceCall.Step) -> KvError.Code? {
        if case .refused(let error, _) = step { error.code } else { nil }
    }

    // MARK: - Source

    @Test func aShardIsScannedOnceHoweverOftenItsFreezeIsAsked() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        #expect(call.begin() == .propose(.freeze(shard, to: 2)))
        #expect(call.heard(.stepped, &desk, now: 0) == .scan(shard))
        #expect(
            call.heard(sight(frozen, hashes), &desk, now: 0) == .frozen(FrozenShard(hashes: hashes, logTime: 7)))
        var again = SourceCall(.freeze(shard, for: 2))
        #expect(again.heard(.stepped, &desk, now: 0) == .look(3))
        #expect(
            again.heard(sight(frozen, time: 8), &desk, now: 0) == .frozen(FrozenShard(hashes: hashes, logTime: 8)))
    }

    @Test func hashesOfAnotherEpochAreNotUsed() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        _ = call.heard(.stepped, &desk, now: 0)
        _ = call.heard(sight(frozen, hashes), &desk, now: 0)
        let later = ShardEpoch(shard: 3, epoch: 6)
        var next = SourceCall(.freeze(later, for: 2))
        #expect(next.heard(.stepped, &desk, now: 0) == .scan(later))
    }

    @Test func whatTheLogRefusesIsRefused() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        #expect(code(call.heard(.outOfStep("it has gone"), &desk, now: 0)) == .failedPrecondition)
    }

    @Test func aShardThatThawedMeanwhileIsNotGivenOut() {
        var desk = SourceDesk()
        var call = SourceCall(.freeze(shard, for: 2))
        _ = call.heard(.stepped, &desk, now: 0)
        #expect(code(call.heard(sight(ShardRecord(state: .serving, epoch: 1)), &desk, now: 0)) == .failedPrecondition)
    }

    @Test func aCopyGoesOnlyAfterAScanThatAgrees() {
        var desk = SourceDesk()
        var freeze = SourceCall(.freeze(shard, for: 2))
        _ = freeze.heard(.stepped, &desk, now: 0)
        _ = freeze.heard(sight(frozen, hashes), &desk, now: 0)
        var call = SourceCall(.collect(shard, .activated(hashes)))
        #expect(call.begin() == .look(3))
        #expect(call.heard(sight(frozen), &desk, now: 0) == .scan(shard), "though its hashes are known")
        #expect(call.heard(sight(frozen, hashes), &desk, now: 0) == .propose(.collect(shard)))
        #expect(call.heard(.stepped, &desk, now: 0) == .done)
    }

    @Test func aCopyThatDiffersFromWhatTheTargetHasIsKept() {
        var desk = SourceDesk()
        var call = SourceCall(.collect(shard, .activated(hashes)))
        _ = call.heard(sight(frozen), &desk, now: 0)
        guard case .refused(let error, let alarm?) = call.heard(sight(frozen, others), &desk, now: 0) else {
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
                    step = call.heard(.stepped, &desk, now: 0)
                case .look(let shard):
                    step = call.heard(.looked(try SourceCall.Sight(shard, in: bench.reader)), &desk, now: 0)
                case .scan(let shard):
                    let sight = try SourceCall.Sight(shard.shard, scannedUnder: shard.epoch, in: bench.reader)
                    step = call.heard(.looked(sight), &desk, now: 0)
                case .prepared, .frozen, .done, .refused: return step
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
            #expect(call.heard(sight(ShardRecord(state: .gone, epoch: epoch)), &desk, now: 0) == .done)
        }
        var call = SourceCall(.collect(shard, .activated(hashes)))
        #expect(call.heard(sight(ShardRecord(state: .gone, epoch: 4)), &desk, now: 0) == .scan(shard))
    }

    @Test func aRejectedShardThawsByTheLog() {
        var desk = SourceDesk()
        var call = SourceCall(.collect(shard, .rejected))
        #expect(call.begin() == .propose(.unfreeze(shard)))
        #expect(call.heard(.stepped, &desk, now: 0) == .done)
    }

    // MARK: - A source that serves while it is copied

    /// What is known of any moment tells what it is at the freeze.
    @Test func aShardThatIsCopiedIsScannedOnceThoughItChanges() {
        var desk = SourceDesk()
        var ask = SourceCall(.prepare(shard, for: 2, CopyPace(needsHashes: true)))
        #expect(ask.begin() == .propose(.prepare(shard, to: 2)))
        #expect(ask.heard(.stepped, &desk, now: 0) == .scan(shard))
        var now = hashes
        now.add(others)
        #expect(ask.heard(sight(copied(10, others), now), &desk, now: 0) == .look(3), "a scan takes its time")
        #expect(
            ask.heard(sight(copied(30, others)), &desk, now: 0) == .prepared(PreparedShard(through: 40, bytes: 30)))
        var freeze = SourceCall(.freeze(shard, for: 2))
        #expect(freeze.heard(.stepped, &desk, now: 0) == .look(3), "no scan falls into the freeze")
        var changed = others
        changed.add(others)
        var last = now
        last.add(others)
        #expect(
            freeze.heard(sight(copied(40, changed, isFrozen: true)), &desk, now: 0)
                == .frozen(FrozenShard(hashes: last, logTime: 7)))
    }

    @Test func theFirstQuestionScansNothing() {
        var desk = SourceDesk()
        var ask = SourceCall(.prepare(shard, for: 2, CopyPace()))
        #expect(ask.heard(.stepped, &desk, now: 0) == .look(3))
        #expect(ask.heard(sight(copied(0)), &desk, now: 0) == .prepared(PreparedShard(through: 40, bytes: 0)))
    }

    @Test func writersAreSlowedUntilTheNextQuestionAndByNobodyWhoIsSilent() {
        var desk = SourceDesk()
        func admits(_ bytes: Int, to shard: ShardID = 3, now: Milliseconds) -> Bool {
            desk.admits(bytes, to: shard, now: now)
        }
        func ask(_ bytesAllowed: UInt64?, now: Milliseconds) {
            var call = SourceCall(.prepare(shard, for: 2, CopyPace(needsHashes: true, bytesAllowed: bytesAllowed)))
            _ = call.heard(.stepped, &desk, now: now)
        }
        #expect(admits(1 << 30, now: 0) && !desk.slowsAny)
        ask(100, now: 1_000)
        #expect(admits(60, now: 1_000) && admits(60, now: 1_000), "the last may go beyond")
        #expect(!admits(1, now: 2_999) && admits(1, to: 4, now: 2_999))
        #expect(admits(1, now: 3_000), "the target has fallen silent")
        ask(100, now: 4_000)
        #expect(admits(200, now: 4_000) && !admits(1, now: 4_000))
        desk.renew(3, now: 5_900)
        #expect(!admits(1, now: 7_800), "members are still at it")
        desk.renew(3, now: 7_900)
        #expect(admits(1, now: 7_900), "what is over isn't renewed")
        ask(100, now: 8_000)
        ask(nil, now: 8_001)
        #expect(admits(1 << 30, now: 8_001))
    }

    // MARK: - Target

    private var order: StageOrder {
        StageOrder(
            shard: shard, goal: .all(hashes), source: Party(clusterID: [1], gid: 1, identity: []), addresses: ["a"])
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
        #expect(call.heard(.staged(StagedShard(hashes: hashes, sessions: 0)), &desk) == .staged)
    }

    @Test func whatIsDecidedIsNotStaged() {
        var desk = TargetDesk()
        var call = StageCall(order)
        #expect(call.heard(.activated, &desk) == .activated)
        #expect(code(call.heard(.rejected, &desk)) == .failedPrecondition)
    }

    @Test func onlyWhatTheSourceSentIsTaken() {
        let call = StageCall(order)
        var sum = hashes.user
        sum.add(hashes.session)
        #expect(call.refusal(ofLoaded: hashes, sent: sum.description) == nil)
        #expect(call.refusal(ofLoaded: others, sent: sum.description) != nil)
        #expect(call.refusal(ofLoaded: hashes, sent: nil) != nil, "nothing was sent")
        #expect(call.refusal(ofLoaded: ShardHashes(), sent: nil) == nil)
    }

    private func order(_ goal: StageOrder.Goal) -> StageOrder {
        StageOrder(shard: shard, goal: goal, source: Party(clusterID: [1], gid: 1, identity: []), addresses: ["a"])
    }

    private func copy(_ hashes: ShardHashes, through: LogIndex) -> StagedShard {
        StagedShard(hashes: hashes, sessions: 0, through: through)
    }

    private func page(through: LogIndex, isAll: Bool = true, isFrozen: Bool = false) -> ShardChanges {
        ShardChanges(
            rows: [ShardChanges.Row(key: [16, 1], value: [0, 2])], through: through, isAll: isAll, isFrozen: isFrozen)
    }

    @Test func aCopyFollowsUntilItHasWhatIsAskedFor() {
        var desk = TargetDesk()
        var call = StageCall(order(.through(30)))
        #expect(call.heard(.staged(copy(others, through: 10)), &desk) == .follow(after: 10))
        let first = page(through: 20, isAll: false)
        #expect(call.changed(first) == .take(first, into: copy(others, through: 10)))
        #expect(call.heard(.staged(copy(others, through: 20)), &desk) == .follow(after: 20))
        _ = call.changed(page(through: 35))
        #expect(call.heard(.staged(copy(others, through: 35)), &desk) == .staged)
        call.end(&desk)
        #expect(desk.fetching.isEmpty)
    }

    /// However far its log has come since.
    @Test func aFrozenSourceHasNothingMoreForACopyThatHasAll() {
        var desk = TargetDesk()
        var call = StageCall(order(.through(150)))
        _ = call.heard(.staged(copy(others, through: 110)), &desk)
        _ = call.changed(page(through: 120, isFrozen: true))
        #expect(call.heard(.staged(copy(others, through: 120)), &desk) == .staged)
    }

    @Test func aSourceThatIsBehindIsAsGoodAsSilent() {
        var desk = TargetDesk()
        var call = StageCall(order(.through(30)))
        _ = call.heard(.staged(copy(others, through: 10)), &desk)
        #expect(code(call.changed(page(through: 10))) == .unavailable)
    }

    @Test func whatIsCompleteAndIsNotWhatWasFrozenGoes() {
        var desk = TargetDesk()
        var call = StageCall(order(.all(hashes)))
        _ = call.heard(.staged(copy(others, through: 10)), &desk)
        let last = page(through: 12, isFrozen: true)
        #expect(call.changed(last) == .take(last, into: copy(others, through: 10)))
        guard case .discard = call.heard(.staged(copy(others, through: 12)), &desk) else {
            Issue.record("it stays")
            return
        }
        #expect(call.heard(.staged(copy(hashes, through: 12)), &desk) == .staged)
    }

    @Test func changesThatWereDamagedOnTheirWayAreNotTaken() {
        let call = StageCall(order(.through(30)))
        let sent = page(through: 20)
        #expect(call.refusal(of: sent, checksum: sent.checksum) == nil)
        var damaged = sent
        damaged.rows[0].value = [0, 3]
        #expect(call.refusal(of: damaged, checksum: sent.checksum) != nil)
        damaged.rows[0].value = nil
        #expect(call.refusal(of: damaged, checksum: sent.checksum) != nil)
    }

    @Test func whatIsBeingFetchedIsNotSwept() {
        var desk = TargetDesk()
        var call = StageCall(order)
        _ = call.heard(.absent, &desk)
        let stale = ShardEpoch(shard: 3, epoch: 4)
        #expect(desk.removable([stale, shard]) == [stale])
    }
}
