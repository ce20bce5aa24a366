import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// A shard's way from one group to another: every step idempotent, decided once, and of no concern to other shards.
@Suite struct ShardMoveTests {
    typealias Bench = MachineBench<GroupMachine>

    private static let shard: ShardID = 2
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

    /// Everything between freeze and activation, as each member of the target does it for itself; returns what Activate
    /// has to say.
    @discardableResult
    private func copy(from source: Bench, to target: Bench, _ epoch: ShardEpoch) throws -> Activation {
        let hashes = try source.reader.hashes(epoch.shard)
        var staged = StagedFamily(family: nil, note: StagedShard(hashes: hashes, sessions: 0).encoded)
        var batch = WriteBatch()
        if let family = try source.reader.family(epoch.shard) {
            let copy = try target.families.take()
            let view = try source.engine.snapshot()
            try view.scan(family) { key, value in
                batch.put(copy, key: key, value: value)
                return true
            }
            let sessions = try ShardRows.sessions(of: family, in: view)
            staged = StagedFamily(family: copy, note: StagedShard(hashes: hashes, sessions: sessions).encoded)
        }
        target.layout.putStaged(StagedShard.name(epoch), staged, in: &batch)
        try target.engine.write(batch, durability: .synced)
        return activation(hashes, logTime: source.now)
    }

    private func activation(
        _ hashes: ShardHashes, logTime: Milliseconds = 0, shardCount: Int = 4,
        stagedBy: [Incarnation] = [Incarnation(high: 1, low: 1)]
    ) -> Activation {
        Activation(hashes: hashes, logTime: logTime, shardCount: shardCount, stagedBy: stagedBy)
    }

    private func move(_ source: Bench, _ target: Bench, _ epoch: ShardEpoch) throws {
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        let activation = try copy(from: source, to: target, epoch)
        #expect(try target.run(.activate(epoch, activation)) == .stepped)
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

    /// Only a group that was recovered by force can be in that place.
    @Test func aShardThatAnotherGroupServesUnderALaterEpochIsOverruled() {
        let serving = ShardRecord(state: .serving, epoch: 2)
        #expect(serving.isOverruled(by: 2, epoch: 3, own: 1))
        #expect(!serving.isOverruled(by: 1, epoch: 3, own: 1), "a rejected move uses up an epoch")
        #expect(!serving.isOverruled(by: 2, epoch: 2, own: 1) && !serving.isOverruled(by: 2, epoch: 1, own: 1))
        #expect(!serving.isOverruled(by: 0, epoch: 3, own: 1))
        #expect(!ShardRecord(state: .frozen(to: 2, epoch: 3), epoch: 2).isOverruled(by: 2, epoch: 3, own: 1))
        #expect(!ShardRecord(state: .gone, epoch: 2).isOverruled(by: 2, epoch: 3, own: 1))
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
            try target.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1))
                == .refused(.sessionExpired(logTime: source.now)))
        try target.restart()
        #expect(
            try target.write(Self.keys[0], .append(value: bytes("+")), session.stamp(1))
                == .refused(.sessionExpired(logTime: source.now)))
    }

    /// A source whose clock was wrong carries that into nothing but the shard that moves.
    @Test func aTimeThatIsAheadComesWithTheShardAlone() throws {
        let (source, target) = (try source(), try target())
        source.now += 365 * 86_400_000
        try source.run(.passTime)
        try move(source, target, epoch)
        let ahead = TestSession(1, end: source.now + 60_000)
        #expect(try target.write(Self.keys[0], .append(value: bytes("+")), ahead.stamp(1)) != .key(.put))
        #expect(try target.reader.time(of: Self.shard) == source.now)
        #expect(try target.reader.logTime() == target.now)
        try target.restart()
        target.now += 1_000
        #expect(try target.write(Self.keys[0], .put(value: []), ahead.stamp(2)) == .key(.put))
        #expect(try target.reader.time(of: Self.shard) == source.now + 1_000)
    }

    // MARK: - What is noted of a shard that is copied

    /// A copy as of any moment, and what has changed since.
    @Test func aCopyAndWhatHasChangedSinceIsTheShard() throws {
        let source = try source()
        #expect(try source.run(.prepare(epoch, to: 2)) == .stepped)
        var copy: [[UInt8]: [UInt8]] = [:]
        let family = try #require(try source.reader.family(Self.shard))
        try source.engine.snapshot().scan(family) { key, value in
            copy[Array(key)] = Array(value)
            return true
        }
        var through = try source.reader.applied().position.index
        let session = TestSession(1, end: source.now + 60_000)
        for (number, key) in Self.keys.enumerated() {
            switch number % 3 {
            case 0: _ = try source.write(key, .put(value: bytes("changed")))
            case 1: _ = try source.write(key, .delete)
            default: _ = try source.write(key, .append(value: bytes("+")), session.stamp(UInt64(number)))
            }
            if number % 5 == 0 { _ = try source.write(Self.keys[0], .put(value: bytes("hot \(number)"))) }
        }
        #expect(try source.run(.freeze(epoch, to: 2)) == .stepped)
        var pages = 0
        while true {
            let page = try #require(try source.reader.changes(of: epoch, after: through, bytesMax: 100))
            for row in page.rows { copy[row.key] = row.value }
            (through, pages) = (page.through, pages + 1)
            if page.isAll {
                #expect(page.isFrozen)
                break
            }
            #expect(!page.rows.isEmpty)
        }
        #expect(pages > 3)
        var hashes = ShardHashes()
        for (key, value) in copy {
            key.withUnsafeBytes { key in value.withUnsafeBytes { ShardRows.add(key: key, value: $0, to: &hashes) } }
        }
        #expect(try hashes == source.reader.hashes(Self.shard))
    }

    /// Whichever replica is asked says the same, also in the middle: a refused write changes nothing of its session.
    @Test func aRefusedWriteDoesNotDateItsSessionAnew() throws {
        let (one, other) = (try source(), try source())
        let session = TestSession(1, end: one.now + 60_000)
        func write(_ key: Int, _ value: [UInt8], _ stamp: SessionStamp?) -> GroupCommand {
            .write(key: bytes(Self.keys[key]), .put(value: value), stamp)
        }
        let commands: [GroupCommand] = [
            .prepare(epoch, to: 2), write(0, [1], session.stamp(1)), write(1, [2], nil),
            write(0, [UInt8](repeating: 0, count: Limits.valueBytesMax + 1), session.stamp(2)),
        ]
        let replies = try one.run(commands)
        #expect(try commands.map { try other.run($0) } == replies)
        guard case .refused? = replies.last else {
            Issue.record("taken: \(replies)")
            return
        }
        func pages(_ bench: Bench) throws -> [ShardChanges] {
            var pages: [ShardChanges] = []
            repeat {
                let page = try bench.reader.changes(of: epoch, after: pages.last?.through ?? 0, bytesMax: 1)
                pages.append(try #require(page))
            } while pages.last?.isAll == false && pages.count < 10
            return pages
        }
        #expect(try pages(one).count > 1)
        #expect(try pages(one) == pages(other))
    }

    @Test func whatIsNotedGoesWithTheMove() throws {
        let source = try source()
        for end in [GroupCommand.abandon(epoch), .unfreeze(epoch)] {
            let bench = try self.source()
            try bench.run(.prepare(epoch, to: 2))
            _ = try bench.write(Self.keys[0], .put(value: []))
            #expect(bench.storage.families.keys.contains("moving/\(Self.shard)"))
            #expect(try bench.run(end) == .stepped)
            #expect(bench.machine.shards[Self.shard]?.tracking == nil)
            #expect(!bench.storage.families.keys.contains("moving/\(Self.shard)"))
            #expect(try bench.run(.prepare(epoch, to: 2)) != .stepped, "the epoch is used up")
        }
        #expect(source.machine.shards[Self.shard]?.tracking == nil)
    }

    /// What has changed tells what is frozen, until that move is over.
    @Test func aLaterMoveDoesNotEndWhatIsNotedOfTheOneThatTheShardIsFrozenFor() throws {
        let source = try source()
        let later = ShardEpoch(shard: Self.shard, epoch: 3)
        try source.run(.prepare(epoch, to: 2))
        _ = try source.write(Self.keys[0], .put(value: []))
        try source.run(.freeze(epoch, to: 2))
        try source.run(.unfreeze(later))
        try source.run(.abandon(later))
        #expect(source.machine.shards[Self.shard]?.tracking?.epoch == 2)
        try source.run(.thaw(later))
        #expect(source.machine.shards[Self.shard]?.tracking == nil)
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
        let (source, target) = (try source(), try Bench.group(2, adopting: [0]))
        try source.run(.freeze(epoch, to: 2))
        try copy(from: source, to: target, epoch)
        #expect(try target.write(Self.keys[0], .put(value: [])) == .refused(.wrongGroup(shard: Self.shard)))
        #expect(throws: KeyRefusal.wrongGroup(shard: Self.shard)) { _ = try target.get(Self.keys[0]) }
    }

    @Test func theFirstDecisionStands() throws {
        let (source, first) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let activation = try copy(from: source, to: first, epoch)
        #expect(try first.run(.reject(epoch)) == .stepped)
        #expect(try first.run(.reject(epoch)) == .stepped)
        guard case .outOfStep = try first.run(.activate(epoch, activation)) else {
            Issue.record("activated after it was rejected")
            return
        }
        #expect(try first.reader.decision(epoch) == .rejected)
        #expect(try first.reader.stagedShards().isEmpty)

        let second = try target()
        try copy(from: source, to: second, epoch)
        #expect(try second.run(.activate(epoch, activation)) == .stepped)
        #expect(try second.run(.activate(epoch, activation)) == .stepped)
        guard case .outOfStep = try second.run(.reject(epoch)) else {
            Issue.record("rejected after it was activated")
            return
        }
        try second.restart()
        #expect(try second.reader.decision(epoch) == .activated(activation.hashes))
        #expect(try second.get(Self.keys[0]) != nil)
    }

    @Test func aMoveThatWasNeverSeenCanBeRejected() throws {
        let target = try target()
        #expect(try target.run(.reject(epoch)) == .stepped)
        // What is staged afterwards is not of use to anybody, and known to be so.
        try copy(from: try source(), to: target, epoch)
        #expect(try target.reader.staleStagedShards() == [epoch])
    }

    /// A majority of the members as of the entry must have it on disk: otherwise the loss of one could lose the shard.
    @Test func aShardThatTooFewHaveStagedIsNotActivated() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        var activation = try copy(from: source, to: target, epoch)
        // A life that is over doesn't count.
        activation.stagedBy = [Incarnation(high: 1, low: 2)]
        guard case .outOfStep = try target.run(.activate(epoch, activation)) else {
            Issue.record("activated although nobody has it")
            return
        }
        #expect(try target.reader.decision(epoch) == nil)
    }

    /// Other members have staged the shard: the entry holds, and so does everything after it. Here it must wait.
    @Test func aReplicaThatLacksTheShardAppliesNothingMore() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        let activation = activation(try source.reader.hashes(Self.shard))
        let commands: [GroupCommand] = [
            .passTime, .activate(epoch, activation), .write(key: bytes(Self.keys[0]), .put(value: bytes("new")), nil),
        ]
        #expect(try target.run(commands) == [.stepped])
        let before = target.storage.applied
        #expect(try target.run(Array(commands.dropFirst())) == [])
        #expect(target.storage.applied == before)
        try target.restart()
        #expect(target.storage.applied == before)
        try copy(from: source, to: target, epoch)
        #expect(try target.run(Array(commands.dropFirst())) == [.stepped, .key(.put)])
        #expect(try target.get(Self.keys[0]) == "new")
    }

    @Test func aCopyWithOtherHashesIsNotServed() throws {
        let (source, target) = (try source(), try target())
        try source.run(.freeze(epoch, to: 2))
        var activation = try copy(from: source, to: target, epoch)
        activation.hashes.user = ContentHash(count: activation.hashes.user.count, high: 1, low: 1)
        #expect(try target.run([.activate(epoch, activation)]) == [])
        #expect(try target.reader.decision(epoch) == nil)
        #expect(throws: KeyRefusal.self) { _ = try target.get(Self.keys[0]) }
    }

    @Test func aShardThatIsHereIsNotReplaced() throws {
        let target = try Bench.group(2)
        let activation = try copy(from: try source(), to: target, epoch)
        guard case .outOfStep = try target.run(.activate(epoch, activation)) else {
            Issue.record("activated over a serving shard")
            return
        }
    }

    @Test func anOldOrderDoesNotBringAShardBack() throws {
        let (source, target) = (try source(), try target())
        try move(source, target, epoch)
        try move(target, source, ShardEpoch(shard: Self.shard, epoch: 3))
        // Orders of the first move, delivered late.
        try target.run(.activate(epoch, activation(ShardHashes())))
        #expect(target.machine.shards[Self.shard]?.state == .gone)
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
        #expect(try target.run(.activate(newer, new)) == .stepped)
        guard case .outOfStep = try target.run(.activate(epoch, old)) else {
            Issue.record("the shard went back to an older copy")
            return
        }
        #expect(target.machine.shards[Self.shard]?.epoch == 5)
        #expect(try target.get(Self.keys[0]) == "newer")
    }

    @Test func anotherNumberOfShardsIsRefused() throws {
        let target = try Bench.group(2, adopting: [0])
        guard case .outOfStep = try target.run(.adopt(epoch, shardCount: 8)),
            case .outOfStep = try target.run(.activate(epoch, activation(ShardHashes(), shardCount: 8)))
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
        let activation = try copy(from: source, to: target, epoch)
        try restart()
        #expect(try target.reader.staged(epoch)?.hashes == activation.hashes)
        try target.run(.activate(epoch, activation))
        try restart()
        #expect(try target.reader.hashes(Self.shard) == activation.hashes)
        #expect(try target.reader.stagedShards().isEmpty)
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

    /// A view whose engine reads a mebibyte with each key.
    private final class HeavyView: ReadView {
        private final class HeavyCursor: Cursor {
            private let cursor: any Cursor
            private(set) var valueBytesRead = 0

            init(_ cursor: any Cursor) { self.cursor = cursor }

            func next<Result>(
                _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
            ) throws(EngineError) -> Result? {
                let shown = try cursor.next(body)
                if shown != nil { valueBytesRead += 1 << 20 }
                return shown
            }
        }

        private let view: any ReadView

        init(_ view: any ReadView) { self.view = view }

        func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? { try view.get(family, key: key) }

        func cursor(
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
        ) throws(EngineError) -> any Cursor {
            HeavyCursor(try view.cursor(family, lower: lower, upper: upper, reverse: reverse, reading: contents))
        }
    }

    @Test func aPageOfKeysIsBoundedByWhatItsEngineReadsWithThem() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 1000)
        for key in Self.keys {
            _ = try bench.write(
                key, .put(value: bytes(key)), session.stamp(UInt64(Self.keys.firstIndex(of: key) ?? 0) + 1))
        }
        let snapshot = try bench.engine.snapshot()
        defer { snapshot.close() }
        let reader = GroupReader(bench.layout, in: HeavyView(snapshot))
        var found: [String] = []
        var pages = 0
        var start: [UInt8] = []
        while pages <= Self.keys.count {
            let page = try reader.scan(
                Self.shard, start: start, end: [], limit: 100, keysOnly: true, bytesMax: 2 << 20
            ).get()
            pages += 1
            found += page.pairs.map { String(decoding: $0.key, as: UTF8.self) }
            guard page.more, let last = page.pairs.last else { break }
            #expect(page.pairs.count == 2)
            start = last.key + [0]
        }
        #expect(found == Self.keys.sorted())
    }

    @Test func aPageOfKeysIsBoundedByItsBytes() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 1000)
        for key in Self.keys {
            _ = try bench.write(
                key, .put(value: bytes(key)), session.stamp(UInt64(Self.keys.firstIndex(of: key) ?? 0) + 1))
        }
        let sorted = Self.keys.sorted()
        // A row's key is the user's, and a byte before it.
        let bytesMax = sorted[0].utf8.count + 1 + sorted[1].utf8.count + 1
        let page = try bench.reader.scan(
            Self.shard, start: [], end: [], limit: 100, keysOnly: true, bytesMax: bytesMax
        ).get()
        #expect(page.pairs.map { String(decoding: $0.key, as: UTF8.self) } == Array(sorted.prefix(2)))
        #expect(page.pairs.allSatisfy { $0.value.isEmpty })
        #expect(page.more)
    }
}
