import Engines
import Keyspace
import Testing

@testable import RaftLog
@testable import Sharding

/// A shard's way from one group to another: every step idempotent, decided once, and of no concern to other shards.
@Suite struct ShardMoveTests {
    typealias Bench = MachineBench<GroupMachine>

    private static let shard = 2
    private let epoch = ShardEpoch(shard: shard, epoch: 2)

    /// Keys of the shard that moves, and of one that stays.
    private static let keys = (0..<400).map { "key \($0)" }.filter { Slot.shard(of: bytes($0), shardCount: 4) == shard }
    private static let others = (0..<400).map { "key \($0)" }.filter { Slot.shard(of: bytes($0), shardCount: 4) == 1 }

    private func source() throws -> Bench {
        let bench = try Bench.group(1)
        for key in Self.keys + Self.others { _ = try bench.write(key, .put(value: bytes("value of \(key)"))) }
        return bench
    }

    private func target() throws -> Bench { try Bench.group(2, adopting: []) }

    /// Everything between freeze and activation; returns what Activate has to say.
    @discardableResult
    private func copy(from source: Bench, to target: Bench, _ epoch: ShardEpoch, pieceBytes: Int = 500) throws
        -> ShardHashes
    {
        while true {
            let staged = try target.reader.staged(epoch)
            if staged?.isComplete == true { break }
            let after = staged?.lastKey ?? []
            let piece = try #require(try source.reader.piece(epoch, after: after, bytesMax: pieceBytes))
            let stage = GroupCommand.stage(
                epoch, shardCount: 4, from: 1, after: after, chunk: piece.chunk, last: piece.last)
            // Every piece comes twice, as after a lost answer.
            #expect(try target.run([stage, stage]) == [.stepped, .stepped])
        }
        return try source.reader.hashes(epoch.shard)
    }

    private func move(_ source: Bench, _ target: Bench, _ epoch: ShardEpoch) throws {
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        let hashes = try copy(from: source, to: target, epoch)
        #expect(try target.run(.activate(epoch, hashes, logTime: source.now)) == .stepped)
        #expect(try source.run(.collect(epoch)) == .stepped)
    }

    // MARK: - The whole way

    @Test func aMovedShardHasEveryKeyAtTheTargetAndNoneAtTheSource() throws {
        let (source, target) = (try source(), try target())
        let before = try source.reader.hashes(Self.shard)
        try move(source, target, epoch)
        #expect(try target.reader.hashes(Self.shard) == before)
        for key in Self.keys {
            #expect(try target.get(key) == "value of \(key)")
            #expect(throws: KeyRefusal.wrongGroup(shard: Self.shard)) { _ = try source.get(key) }
        }
        #expect(try source.reader.family(Self.shard) == nil)
        for key in Self.others { #expect(try source.get(key) == "value of \(key)") }
    }

    @Test func aShardGoesThereAndBackAndThereAgain() throws {
        let (source, target) = (try source(), try target())
        try move(source, target, ShardEpoch(shard: Self.shard, epoch: 2))
        try move(target, source, ShardEpoch(shard: Self.shard, epoch: 3))
        _ = try source.write(Self.keys[0], .put(value: bytes("changed")))
        try move(source, target, ShardEpoch(shard: Self.shard, epoch: 4))
        #expect(try target.get(Self.keys[0]) == "changed")
        #expect(try target.get(Self.keys[1]) == "value of \(Self.keys[1])")
    }

    @Test func anEmptyShardMovesToo() throws {
        let (source, target) = (try Bench.group(1), try target())
        try move(source, target, epoch)
        #expect(try target.write(Self.keys[0], .put(value: [])) == .key(.put))
    }

    @Test func aRetryAfterTheMoveGetsTheFirstAnswer() throws {
        let (source, target) = (try source(), try target())
        let session = TestSession(1, end: source.now + 60_000)
        let first = try source.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1))
        try move(source, target, epoch)
        try target.restart()
        #expect(try target.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1)) == first)
        #expect(try target.get(Self.keys[0]) == "value of \(Self.keys[0])+")
        #expect(target.machine.shards[Self.shard]?.sessions == 1)
    }

    /// The target's clock may be behind: a session that had ended at the source stays ended.
    @Test func logTimeDoesNotGoBackWithAMove() throws {
        let (source, target) = (try source(), try target())
        let session = TestSession(1, end: source.now + 1000)
        _ = try source.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1))
        source.now += 1000
        try source.run(.passTime)
        target.now -= 100_000
        try move(source, target, epoch)
        #expect(
            try target.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1)) == .refused(.sessionExpired))
        try target.restart()
        #expect(
            try target.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1)) == .refused(.sessionExpired))
    }

    // MARK: - Source

    @Test func aFrozenShardTakesNoWritesAndNoReadsAndTheOthersDo() throws {
        let source = try source()
        try source.run(.freeze(epoch, to: 2))
        #expect(try source.write(Self.keys[0], .put(value: [])) == .refused(.frozen(shard: Self.shard)))
        #expect(throws: KeyRefusal.frozen(shard: Self.shard)) { _ = try source.get(Self.keys[0]) }
        #expect(try source.write(Self.others[0], .put(value: bytes("new"))) == .key(.put))
        #expect(try source.get(Self.others[0]) == "new")
    }

    @Test func freezingTwiceIsFreezingOnce() throws {
        let source = try source()
        #expect(try source.run([.freeze(epoch, to: 2), .freeze(epoch, to: 2)]) == [.stepped, .stepped])
        guard case .outOfStep = try source.run(.freeze(ShardEpoch(shard: Self.shard, epoch: 3), to: 3)) else {
            Issue.record("frozen under two epochs")
            return
        }
        #expect(source.machine.shards[Self.shard]?.state == .frozen(to: 2, epoch: 2))
    }

    @Test func aFreezeThatCameTooLateIsRefused() throws {
        let source = try source()
        try source.run(.freeze(epoch, to: 2))
        try source.run(.unfreeze(epoch))
        guard case .outOfStep = try source.run(.freeze(epoch, to: 2)) else {
            Issue.record("frozen for a move that was rejected")
            return
        }
        #expect(try source.write(Self.keys[0], .put(value: [])) == .key(.put))
        #expect(try source.run(.freeze(ShardEpoch(shard: Self.shard, epoch: 3), to: 2)) == .stepped)
    }

    @Test func anUnfreezeMayComeBeforeItsFreeze() throws {
        let source = try source()
        #expect(try source.run(.unfreeze(epoch)) == .stepped)
        guard case .outOfStep = try source.run(.freeze(epoch, to: 2)) else {
            Issue.record("frozen after the reject was recorded")
            return
        }
    }

    @Test func collectingWhatIsNotFrozenChangesNothing() throws {
        let source = try source()
        guard case .outOfStep = try source.run(.collect(epoch)) else {
            Issue.record("a serving shard was collected")
            return
        }
        #expect(try source.get(Self.keys[0]) != nil)
        try source.run(.freeze(epoch, to: 2))
        guard case .outOfStep = try source.run(.collect(ShardEpoch(shard: Self.shard, epoch: 9))) else {
            Issue.record("collected under another epoch")
            return
        }
        #expect(try source.reader.family(Self.shard) != nil)
        #expect(try source.run([.collect(epoch), .collect(epoch)]) == [.stepped, .stepped])
    }

    @Test func aShardThatHasGoneIsNotAdoptedAgain() throws {
        let (source, target) = (try source(), try target())
        try move(source, target, epoch)
        try source.run(.adopt(ShardEpoch(shard: Self.shard, epoch: 1), shardCount: 4))
        #expect(source.machine.shards[Self.shard]?.state == .gone)
        #expect(try source.write(Self.keys[0], .put(value: [])) == .refused(.wrongGroup(shard: Self.shard)))
    }

    // MARK: - Target

    @Test func whatIsStagedIsNotServed() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        try copy(from: source, to: target, epoch)
        #expect(try target.write(Self.keys[0], .put(value: [])) == .refused(.wrongGroup(shard: Self.shard)))
        #expect(throws: KeyRefusal.wrongGroup(shard: Self.shard)) { _ = try target.get(Self.keys[0]) }
    }

    @Test func theFirstDecisionStands() throws {
        let (source, first) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let hashes = try copy(from: source, to: first, epoch)
        #expect(try first.run(.reject(epoch)) == .stepped)
        #expect(try first.run(.reject(epoch)) == .stepped)
        guard case .outOfStep = try first.run(.activate(epoch, hashes, logTime: 0)) else {
            Issue.record("activated after it was rejected")
            return
        }
        #expect(try first.reader.decision(epoch) == .rejected)

        let second = try target()
        try copy(from: source, to: second, epoch)
        #expect(try second.run(.activate(epoch, hashes, logTime: 0)) == .stepped)
        #expect(try second.run(.activate(epoch, hashes, logTime: 0)) == .stepped)
        guard case .outOfStep = try second.run(.reject(epoch)) else {
            Issue.record("rejected after it was activated")
            return
        }
        try second.restart()
        #expect(try second.reader.decision(epoch) == .activated(hashes))
        #expect(try second.get(Self.keys[0]) != nil)
    }

    @Test func aMoveThatWasNeverSeenCanBeRejected() throws {
        let target = try target()
        #expect(try target.run(.reject(epoch)) == .stepped)
        // Pieces that come afterwards leave nothing behind.
        var builder = ChunkBuilder()
        #expect(
            try target.run(.stage(epoch, shardCount: 4, from: 1, after: [], chunk: builder.finish(), last: true))
                == .stepped)
        #expect(try target.reader.staged(epoch) == nil)
        #expect(try target.reader.stagedShards().isEmpty)
    }

    @Test func anIncompleteShardIsNotActivated() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let piece = try #require(try source.reader.piece(epoch, after: [], bytesMax: 500))
        #expect(!piece.last)
        try target.run(.stage(epoch, shardCount: 4, from: 1, after: [], chunk: piece.chunk, last: false))
        let hashes = try source.reader.hashes(Self.shard)
        guard case .outOfStep = try target.run(.activate(epoch, hashes, logTime: 0)) else {
            Issue.record("activated half a shard")
            return
        }
        try copy(from: source, to: target, epoch)
        #expect(try target.run(.activate(epoch, hashes, logTime: 0)) == .stepped)
    }

    @Test func otherHashesStartTheCopyAnew() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let hashes = try copy(from: source, to: target, epoch)
        var wrong = hashes
        wrong.user = ContentHash(count: hashes.user.count, high: 1, low: 1)
        guard case .outOfStep = try target.run(.activate(epoch, wrong, logTime: 0)) else {
            Issue.record("activated with other hashes")
            return
        }
        #expect(try target.reader.staged(epoch) == nil)
        #expect(try target.reader.decision(epoch) == nil)
        try copy(from: source, to: target, epoch)
        #expect(try target.run(.activate(epoch, hashes, logTime: 0)) == .stepped)
        #expect(try target.get(Self.keys[3]) == "value of \(Self.keys[3])")
    }

    @Test func aPieceOutOfTurnChangesNothing() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let first = try #require(try source.reader.piece(epoch, after: [], bytesMax: 500))
        try target.run(.stage(epoch, shardCount: 4, from: 1, after: [], chunk: first.chunk, last: first.last))
        let before = try target.reader.staged(epoch)
        try target.run(.stage(epoch, shardCount: 4, from: 1, after: [0x10, 0xff], chunk: first.chunk, last: true))
        #expect(try target.reader.staged(epoch) == before)
    }

    @Test func aShardThatIsHereIsNotStagedOver() throws {
        let target = try Bench.group(2)
        var builder = ChunkBuilder()
        guard
            case .outOfStep = try target.run(
                .stage(epoch, shardCount: 4, from: 1, after: [], chunk: builder.finish(), last: true))
        else {
            Issue.record("staged over a serving shard")
            return
        }
    }

    @Test func anOldOrderDoesNotBringAShardBack() throws {
        let (source, target) = (try source(), try target())
        try move(source, target, epoch)
        try move(target, source, ShardEpoch(shard: Self.shard, epoch: 3))
        // Pieces and orders of the first move, delivered late.
        var builder = ChunkBuilder()
        try target.run(.stage(epoch, shardCount: 4, from: 1, after: [], chunk: builder.finish(), last: true))
        try target.run(.activate(epoch, ShardHashes(), logTime: 0))
        #expect(target.machine.shards[Self.shard]?.state == .gone)
        #expect(try target.reader.stagedShards().isEmpty)
        #expect(try target.write(Self.keys[0], .put(value: [])) == .refused(.wrongGroup(shard: Self.shard)))
    }

    /// Epochs only grow: a copy of an older move that is still staged doesn't replace what a newer one brought.
    @Test func anOlderEpochIsNotActivatedOverANewerOne() throws {
        let (source, target) = (try source(), try target())
        let newer = ShardEpoch(shard: Self.shard, epoch: 5)
        try source.run(.freeze(epoch, to: 2))
        let old = try copy(from: source, to: target, epoch)
        try source.run(.unfreeze(epoch))
        _ = try source.write(Self.keys[0], .put(value: bytes("newer")))
        try source.run(.freeze(newer, to: 2))
        let new = try copy(from: source, to: target, newer)
        #expect(try target.run(.activate(newer, new, logTime: 0)) == .stepped)
        guard case .outOfStep = try target.run(.activate(epoch, old, logTime: 0)) else {
            Issue.record("the shard went back to an older copy")
            return
        }
        #expect(target.machine.shards[Self.shard]?.epoch == 5)
        #expect(try target.get(Self.keys[0]) == "newer")
    }

    @Test func anotherNumberOfShardsIsRefused() throws {
        let target = try Bench.group(2, adopting: [0])
        var builder = ChunkBuilder()
        guard case .outOfStep = try target.run(.adopt(epoch, shardCount: 8)),
            case .outOfStep = try target.run(
                .stage(epoch, shardCount: 8, from: 1, after: [], chunk: builder.finish(), last: true))
        else {
            Issue.record("two numbers of shards in one group")
            return
        }
        #expect(try target.reader.shardCount() == 4)
    }

    // MARK: - Crashes

    @Test func everyStepSurvivesARestart() throws {
        let (source, target) = (try source(), try target())
        func restart() throws {
            try source.restart()
            try target.restart()
        }
        try source.run(.freeze(epoch, to: 2))
        try restart()
        #expect(source.machine.shards[Self.shard]?.state == .frozen(to: 2, epoch: 2))
        while try target.reader.staged(epoch)?.isComplete != true {
            let after = try target.reader.staged(epoch)?.lastKey ?? []
            let piece = try #require(try source.reader.piece(epoch, after: after, bytesMax: 500))
            try target.run(.stage(epoch, shardCount: 4, from: 1, after: after, chunk: piece.chunk, last: piece.last))
            try restart()
        }
        let hashes = try source.reader.hashes(Self.shard)
        try target.run(.activate(epoch, hashes, logTime: 0))
        try restart()
        #expect(try target.reader.hashes(Self.shard) == hashes)
        try source.run(.collect(epoch))
        try restart()
        #expect(source.machine.shards[Self.shard]?.state == .gone)
        for key in Self.keys { #expect(try target.get(key) == "value of \(key)") }
    }

    @Test func aScanSeesOnlyUserKeys() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 1000)
        for key in Self.keys {
            _ = try bench.write(
                key, .put(value: bytes(key)), session.stamp(UInt64(Self.keys.firstIndex(of: key) ?? 0) + 1))
        }
        var found: [String] = []
        var start: [UInt8] = []
        while true {
            let page = try bench.reader.scan(
                Self.shard, start: start, end: [], limit: 7, keysOnly: false, bytesMax: 1 << 20
            ).get()
            found += page.pairs.map { String(decoding: $0.key, as: UTF8.self) }
            guard page.more, let last = page.pairs.last else { break }
            start = last.key + [0]
        }
        #expect(found == Self.keys.sorted())
    }
}
