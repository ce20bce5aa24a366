import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// What a replica does about the shard map, question by question.
@Suite struct MoveDriverTests {
    private static let cluster: [UInt8] = [1, 2]
    private static let own: GroupID = 2
    private let shard = ShardEpoch(shard: 0, epoch: 2)
    private let hashes = ShardHashes(user: ContentHash(count: 1, high: 2, low: 3))

    private static func membership(_ count: UInt64, index: LogIndex = 0) -> Membership {
        Membership(
            members: (1...count).map {
                Member(
                    id: ReplicaID($0), address: "b\($0)", incarnation: Incarnation(high: 2, low: $0), standing: .voter)
            }, index: index)
    }

    private static func leader(_ members: UInt64 = 3, term: Term = 5) -> MoveDriver.Standing {
        MoveDriver.Standing(
            id: ReplicaID(1), leads: true, term: term, leader: ReplicaID(1), membership: membership(members),
            identity: [2])
    }

    private static func map(_ number: UInt64 = 7, moves: Int = 1, cluster: [UInt8] = cluster) -> ShardMap {
        let shards = (0..<8).map { shard in
            let move = shard < moves ? ShardMap.Move(from: 1, to: own, epoch: 2, phase: .moving) : nil
            return ShardMap.Row(gid: 1, epoch: 1, move: move)
        }
        return ShardMap(
            number: number, clusterID: cluster,
            groups: [
                1: .init(addresses: ["a1", "a2"], identity: [1]),
                own: .init(addresses: ["b1", "b2", "b3"], identity: [2]),
            ], shards: shards)
    }

    /// A driver and what it has asked for.
    private struct Bench {
        var driver: MoveDriver
        var now: Milliseconds = 1_000
        var asks: [MoveDriver.Ask] = []
        var notes: [String] = []
        var last: MoveDriver.Effects?

        init(_ standing: MoveDriver.Standing) {
            driver = MoveDriver(group: own, clusterID: cluster, standing, now: 1_000)
            pump()
        }

        mutating func pump() {
            let last = driver.effects(now: now)
            self.last = last
            asks += last.asks
            notes += last.notes.map(\.description)
        }

        mutating func pass(_ time: Milliseconds) {
            now += time
            pump()
        }

        /// Answers the first open question that fits.
        mutating func answer(_ answer: MoveAnswer, where fits: (MoveQuestion) -> Bool) throws {
            let at = try #require(asks.firstIndex { fits($0.question) }, "nothing like it is asked: \(asks)")
            driver.heard(answer, to: asks.remove(at: at).id, now: now)
            pump()
        }

        mutating func give(_ map: ShardMap) throws {
            try answer(.map(map)) { if case .map = $0 { true } else { false } }
        }

        func count(where fits: (MoveQuestion) -> Bool) -> Int { asks.count { fits($0.question) } }
    }

    private func isStage(_ question: MoveQuestion) -> Bool { if case .stage = question { true } else { false } }
    private func isStage(_ question: MoveQuestion, of member: UInt64) -> Bool {
        if case .stage(_, let other) = question { other.id.rawValue == member } else { false }
    }
    private func isActivate(_ question: MoveQuestion) -> Bool {
        if case .command(.activate) = question { true } else { false }
    }
    private func isLeader(_ question: MoveQuestion) -> Bool { if case .leader = question { true } else { false } }
    private func isFreeze(_ question: MoveQuestion) -> Bool { if case .freeze = question { true } else { false } }
    private func isCollect(_ question: MoveQuestion) -> Bool { if case .collect = question { true } else { false } }

    /// With its members asked to stage the shard.
    private func staging() throws -> Bench {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        try bench.answer(.leader("a2"), where: isLeader)
        try bench.answer(.decision(nil)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .command(.expect(shard)) }
        try copy(&bench)
        try bench.answer(.frozen(FrozenShard(hashes: hashes, logTime: 9), by: "a2"), where: isFreeze)
        return bench
    }

    private func isPrepare(_ question: MoveQuestion) -> Bool { if case .prepare = question { true } else { false } }

    /// One round of copying, after which nothing is left.
    private func copy(_ bench: inout Bench) throws {
        try bench.answer(.prepared(PreparedShard(through: 5, bytes: 0), by: "a2"), where: isPrepare)
        while bench.count(where: isStage) > 0 { try bench.answer(.staged(isActivated: false), where: isStage) }
        try bench.answer(.prepared(PreparedShard(through: 6, bytes: 0), by: "a2"), where: isPrepare)
    }

    // MARK: - The map

    @Test func aMapOfAnotherClusterIsNotFollowed() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map(cluster: [9]))
        #expect(bench.driver.map == nil && bench.last?.map == nil)
        #expect(bench.notes.contains { $0.contains("the controllers answer for cluster 09") })
        bench.pass(9_999)
        #expect(bench.count { $0 == .map(newerThan: nil) } == 0, "not again at once")
        bench.pass(1)
        #expect(bench.count { $0 == .map(newerThan: nil) } == 1)
    }

    /// Controllers that were recovered by force count on from an older number.
    @Test func aMapOfAnyOtherNumberIsTakenOver() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map(7, moves: 0))
        try bench.give(Self.map(6, moves: 1))
        #expect(bench.driver.map?.number == 6 && bench.driver.map?.moves.count == 1)
    }

    @Test func whoDoesNotLeadOnlyFollowsTheMap() throws {
        var standing = Self.leader()
        standing.leads = false
        var bench = Bench(standing)
        try bench.give(Self.map())
        #expect(bench.asks.map(\.question) == [.map(newerThan: 7)])
    }

    @Test func aGroupThatWasFoundedAnewBringsNothing() throws {
        var standing = Self.leader()
        standing.identity = [3]
        var bench = Bench(standing)
        try bench.give(Self.map())
        #expect(bench.last?.isKnown == false)
        #expect(bench.driver.running.isEmpty && bench.asks.map(\.question) == [.map(newerThan: 7)])
    }

    @Test func aBlankShardIsAdoptedOnceItIsKnownToBeAbsent() throws {
        var bench = Bench(Self.leader())
        var map = Self.map(moves: 0)
        map[3] = ShardMap.Row(gid: Self.own, epoch: 1)
        map[4] = ShardMap.Row(gid: Self.own, epoch: 5, isBlank: false)
        try bench.give(map)
        try bench.answer(.records([:])) { $0 == .records }
        let adopt = MoveQuestion.command(.adopt(ShardEpoch(shard: 3, epoch: 1), shardCount: 8))
        #expect(bench.asks.map(\.question) == [.map(newerThan: 7), adopt])
        try bench.answer(.done) { $0 == adopt }
        try bench.answer(.records([3: ShardRecord(state: .serving, epoch: 1)])) { $0 == .records }
        #expect(bench.asks.map(\.question) == [.map(newerThan: 7)])
    }

    @Test func anAdoptionThatIsRefusedIsNotTriedAgainAtOnce() throws {
        var bench = Bench(Self.leader())
        var map = Self.map(moves: 0)
        map[3] = ShardMap.Row(gid: Self.own, epoch: 1)
        try bench.give(map)
        try bench.answer(.records([:])) { $0 == .records }
        try bench.answer(.failed(.init("no"))) { if case .command = $0 { true } else { false } }
        #expect(bench.count { $0 == .records } == 0)
        bench.pass(500)
        #expect(bench.count { $0 == .records } == 1)
    }

    @Test func anOverruledShardIsFrozen() throws {
        var bench = Bench(Self.leader())
        var map = Self.map(moves: 0)
        map[3] = ShardMap.Row(gid: 1, epoch: 4)
        try bench.give(map)
        try bench.answer(.records([3: ShardRecord(state: .serving, epoch: 2)])) { $0 == .records }
        #expect(bench.count { $0 == .command(.freeze(ShardEpoch(shard: 3, epoch: 4), to: 1)) } == 1)
        #expect(bench.notes.contains { $0.contains("it was recovered by force; the shard is frozen here") })
    }

    @Test func aChangeOfMembersIsReportedOnce() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map(moves: 0))
        var standing = Self.leader()
        standing.membership = Self.membership(2, index: 40)
        bench.driver.observe(standing)
        bench.pump()
        let report = MoveQuestion.reportGroup(addresses: ["b1", "b2"], membershipIndex: 40, identity: [2])
        try bench.answer(.failed(.init("no leader"))) { $0 == report }
        bench.pass(999)
        #expect(bench.count { $0 == report } == 0)
        bench.pass(1)
        try bench.answer(.done) { $0 == report }
        bench.pass(10_000)
        #expect(bench.count { $0 == report } == 0)
    }

    // MARK: - A move

    @Test func aMoveGoesThroughItsSteps() throws {
        var bench = try staging()
        #expect(bench.count(where: isStage) == 3)
        for member: UInt64 in [1, 2, 3] {
            #expect(bench.count(where: isActivate) == 0)
            try bench.answer(.staged(isActivated: false)) { isStage($0, of: member) }
        }
        let lives = Self.membership(3).members.map(\.incarnation)
        let activation = Activation(hashes: hashes, logTime: 9, shardCount: 8, stagedBy: lives)
        try bench.answer(.done) { $0 == .command(.activate(shard, activation)) }
        try bench.answer(.decision(.activated(hashes))) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .report(shard, .activated) }
        try bench.answer(.staged(isActivated: true)) { isStage($0, of: 1) }
        #expect(bench.count(where: isCollect) == 0, "the source's copy is what a member falls back on")
        try bench.answer(.staged(isActivated: true)) { isStage($0, of: 2) }
        try bench.answer(.done, where: isCollect)
        try bench.answer(.done) { $0 == .report(shard, .collected) }
        #expect(bench.driver.running.isEmpty)
        #expect(
            bench.notes == [
                "bringing shard 0 from group 1",
                "shard 0 is copied, and is to be frozen in group 1 with 0 bytes to follow",
                "shard 0 is here: \(hashes.user)",
            ])
    }

    @Test func whileWritersWaitTheLastMembersAreNotWaitedFor() throws {
        var bench = try staging()
        bench.pass(300)
        try bench.answer(.staged(isActivated: false)) { isStage($0, of: 1) }
        try bench.answer(.staged(isActivated: false)) { isStage($0, of: 3) }
        #expect(bench.driver.wakeAt == bench.now + 20)
        bench.pass(19)
        #expect(bench.count(where: isActivate) == 0)
        bench.pass(1)
        #expect(bench.count(where: isActivate) == 1)
    }

    @Test func withoutAQuorumNothingIsActivatedAndTheSourceServesOn() throws {
        var bench = try staging()
        try bench.answer(.failed(.init("full"))) { isStage($0, of: 1) }
        #expect(bench.driver.running == [shard])
        try bench.answer(.failed(.init("full"))) { isStage($0, of: 2) }
        #expect(bench.count(where: isActivate) == 0)
        try bench.answer(.done) { $0 == .command(.reject(shard)) }
        try bench.answer(.decision(.rejected)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .report(shard, .rejected) }
        #expect(bench.count(where: isCollect) == 1)
    }

    // MARK: - Rounds of copying

    /// With the first copy under way.
    private func copying() throws -> Bench {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        try bench.answer(.leader("a2"), where: isLeader)
        try bench.answer(.decision(nil)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .command(.expect(shard)) }
        try bench.answer(.prepared(PreparedShard(through: 5, bytes: 0), by: "a2"), where: isPrepare)
        return bench
    }

    private func pace(_ bench: Bench) -> CopyPace? {
        bench.asks.compactMap { if case .prepare(_, _, let pace) = $0.question { pace } else { nil } }.first
    }

    private func stageAll(_ bench: inout Bench) throws {
        while bench.count(where: isStage) > 0 { try bench.answer(.staged(isActivated: false), where: isStage) }
    }

    @Test func writersAreSlowedByHalfFromRoundToRoundUntilTheShardIsFrozen() throws {
        var bench = try copying()
        var (bytes, allowed): (UInt64, [UInt64?]) = (0, [])
        for round in 1...40 {
            try stageAll(&bench)
            let asked = pace(bench)
            let pace = try #require(asked)
            #expect(pace.needsHashes)
            allowed.append(pace.bytesAllowed)
            // As much as is allowed, and 64 MiB before anybody is slowed.
            bytes += pace.bytesAllowed ?? 64 << 20
            try bench.answer(
                .prepared(PreparedShard(through: 5 + LogIndex(round), bytes: bytes), by: "a2"), where: isPrepare)
            if bench.count(where: isFreeze) == 1 { break }
        }
        #expect(bench.count(where: isFreeze) == 1)
        let halves: [UInt64?] = [nil] + (18...25).reversed().map { UInt64(1) << $0 }
        #expect(allowed == halves)
    }

    /// Nobody is served: a leader that begins at the top doesn't wait for whole copies.
    @Test func whatAnEarlierTryHasFrozenIsNotCopiedInRounds() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        try bench.answer(.leader("a2"), where: isLeader)
        try bench.answer(.decision(nil)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .command(.expect(shard)) }
        try bench.answer(.prepared(PreparedShard(through: 5, bytes: 0, isFrozen: true), by: "a2"), where: isPrepare)
        #expect(bench.count(where: isFreeze) == 1 && bench.count(where: isStage) == 0)
    }

    /// It can't be prepared for that before.
    @Test func whatIsFrozenForAMoveThatWasEndedByForceThawsThoughTheNextOneHasBegun() throws {
        var map = Self.map(8, moves: 0)
        map[0] = .init(
            gid: Self.own, epoch: 3, move: .init(from: Self.own, to: 1, epoch: 4, phase: .moving))
        var bench = Bench(Self.leader())
        try bench.give(map)
        try bench.answer(.records([0: ShardRecord(state: .frozen(to: 1, epoch: 2), epoch: 1)])) { $0 == .records }
        #expect(bench.count(where: isCommand(.thaw(ShardEpoch(shard: 0, epoch: 3)))) == 1)
    }

    @Test func aValueThatIsLargerThanWhatIsAllowedHoldsUpNoMove() throws {
        var bench = try copying()
        var bytes: UInt64 = 0
        for round in 1...40 {
            if bench.count(where: isFreeze) == 1 { break }
            try stageAll(&bench)
            bytes += 8 << 20
            try bench.answer(
                .prepared(PreparedShard(through: 5 + LogIndex(round), bytes: bytes), by: "a2"), where: isPrepare)
        }
        #expect(bench.count(where: isFreeze) == 1)
    }

    /// A member that hangs has an answer for the first round when the last one is being counted.
    @Test func whatWasEnoughForAnEarlierRoundIsNotForThisOne() throws {
        var bench = try copying()
        try bench.answer(.staged(isActivated: false)) { isStage($0, of: 1) }
        try bench.answer(.staged(isActivated: false)) { isStage($0, of: 2) }
        let late = try #require(bench.asks.first { isStage($0.question, of: 3) })
        bench.asks.removeAll { $0 == late }
        bench.pass(1_000)
        try bench.answer(.prepared(PreparedShard(through: 6, bytes: 0), by: "a2"), where: isPrepare)
        try bench.answer(.frozen(FrozenShard(hashes: hashes, logTime: 9), by: "a2"), where: isFreeze)
        bench.driver.heard(.staged(isActivated: false), to: late.id, now: bench.now)
        bench.pump()
        try bench.answer(.staged(isActivated: false)) { isStage($0, of: 1) }
        #expect(bench.driver.wakeAt > bench.now + 20, "one member has it")
    }

    @Test func aNewTermBeginsAtTheTopAndFindsWhatIsDecided() throws {
        var bench = try staging()
        let late = bench.asks
        bench.driver.observe(Self.leader(term: 6))
        bench.pump()
        for ask in late where isStage(ask.question) {
            bench.driver.heard(.staged(isActivated: false), to: ask.id, now: bench.now)
        }
        bench.pump()
        #expect(bench.count(where: isActivate) == 0, "an answer to another term's question")
        bench.asks.removeAll { ask in late.contains(ask) }
        try bench.answer(.leader(nil), where: isLeader)
        try bench.answer(.decision(.activated(hashes))) { $0 == .decision(shard) }
        #expect(bench.count { $0 == .report(shard, .activated) } == 1 && bench.count(where: isFreeze) == 0)
    }

    @Test func aRejectedMoveIsGivenBack() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        try bench.answer(.leader(nil), where: isLeader)
        try bench.answer(.decision(.rejected)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .report(shard, .rejected) }
        try bench.answer(.done) {
            if case .collect(shard, .rejected, _) = $0 { true } else { false }
        }
        try bench.answer(.done) { $0 == .report(shard, .collected) }
        #expect(bench.driver.running.isEmpty)
    }

    @Test func onlySoManyShardsComeFromOneSourceAtOnceAndAFailureGivesItsPlaceAway() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map(moves: 6))
        #expect(bench.driver.running.map(\.shard).sorted() == [0, 1, 2, 3])
        try bench.answer(.leader(nil), where: isLeader)
        try bench.answer(.failed(.init("no"))) { $0 == .decision(shard) }
        #expect(bench.driver.running.map(\.shard).sorted() == [1, 2, 3, 4])
    }

    @Test func anActivationThatNobodyElseAppliesIsGivenUpAndBegunAgain() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        try bench.answer(.leader(nil), where: isLeader)
        try bench.answer(.decision(.activated(hashes))) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .report(shard, .activated) }
        try bench.answer(.staged(isActivated: true)) { isStage($0, of: 1) }
        var asked = 0
        for _ in 0..<1_000 where !bench.driver.running.isEmpty {
            while bench.count(where: isStage) > 0 {
                asked += 1
                try bench.answer(.failed(.init("down")), where: isStage)
            }
            bench.pass(bench.driver.wakeAt - bench.now)
        }
        #expect(
            bench.notes.last
                == "move of shard 0 from group 1 waits: too few members have applied the activation of shard 0")
        #expect(asked <= 2 * 21, "two members, every half second, for ten: \(asked)")
    }

    @Test func aLostAnswerEndsAMoveWithinItsPatience() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        for _ in 0..<100 where !bench.driver.running.isEmpty { bench.pass(bench.driver.wakeAt - bench.now) }
        #expect(bench.notes.last == "move of shard 0 from group 1 waits: no answer in time")
        #expect(bench.now == 61_000)
    }

    // MARK: - What a replica lacks

    private func lacking() -> MoveDriver.Standing {
        var standing = Self.leader()
        standing.leads = false
        standing.leader = ReplicaID(3)
        standing.waitsFor = StagedShard.name(shard)
        return standing
    }

    @Test func whatAReplicaLacksComesFromTheSourceAsLongAsTheMapNamesIt() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        bench.driver.observe(lacking())
        bench.asks = []
        bench.pump()
        try bench.answer(.leader("a1"), where: isLeader)
        try bench.answer(.frozen(FrozenShard(hashes: hashes, logTime: 9), by: "a2"), where: isFreeze)
        try bench.answer(.staged(isActivated: false)) {
            if case .fetch(let order) = $0 { order.addresses == ["a2", "a1"] } else { false }
        }
        bench.driver.observe(Self.leader(term: 6))
        bench.pass(10_000)
        #expect(!bench.asks.contains { if case .snapshot = $0.question { true } else { false } })
    }

    private func snapshot(_ id: UInt64, at address: String? = nil) -> MoveQuestion {
        .snapshot(from: ReplicaID(id), at: address ?? "b\(id)", term: 5)
    }

    /// All that it knows as members may have been replaced by changes that it can't apply.
    @Test func aSnapshotIsSoughtFromALeaderThatIsNoMemberYet() throws {
        var standing = lacking()
        standing.leader = ReplicaID(7)
        standing.leaderAddress = "b7"
        var bench = Bench(standing)
        for place in [snapshot(7), snapshot(2), snapshot(3)] {
            #expect(bench.asks.last?.question == place)
            try bench.answer(.failed(.init("down"))) { $0 == place }
        }
        bench.pass(500)
        #expect(bench.count { $0 == snapshot(7) } == 1, "again, after a rest")
    }

    @Test func aLeaderThatHasMovedIsSoughtWhereItWasHeardAndThenWhereItWas() throws {
        var standing = lacking()
        standing.leaderAddress = "c3"
        var bench = Bench(standing)
        for place in [snapshot(3, at: "c3"), snapshot(3), snapshot(2)] {
            #expect(bench.asks.last?.question == place)
            try bench.answer(.failed(.init("down"))) { $0 == place }
        }
    }

    @Test func afterTheSourceASnapshotIsSoughtFromTheLeaderFirst() throws {
        var bench = Bench(lacking())
        try bench.answer(.failed(.init("busy"))) { $0 == snapshot(3) }
        try bench.answer(.failed(.init("busy"))) { $0 == snapshot(2) }
        #expect(bench.notes == ["no snapshot from node 3: busy", "no snapshot from node 2: busy"])
        bench.pass(500)
        #expect(bench.count { $0 == snapshot(3) } == 1, "again, after a rest")
    }

    @Test func whatIsBeingFetchedForTheLeaderNeedsNoSnapshot() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.map())
        bench.driver.observe(lacking())
        bench.asks = []
        bench.pump()
        try bench.answer(.leader("a1"), where: isLeader)
        try bench.answer(.frozen(FrozenShard(hashes: hashes, logTime: 9), by: "a2"), where: isFreeze)
        try bench.answer(.failed(.init("being fetched", isBusy: true))) {
            if case .fetch = $0 { true } else { false }
        }
        #expect(!bench.asks.contains { if case .snapshot = $0.question { true } else { false } })
        bench.pass(500)
        #expect(bench.count(where: isLeader) == 1)
    }

    @Test func logTimePassesWhileASessionIsDueAndOnlyInALeader() throws {
        var bench = Bench(Self.leader())
        bench.pass(10_000)
        try bench.answer(.sessionIsDue(true)) { $0 == .sessions }
        #expect(bench.count { $0 == .command(.passTime) } == 1)
        var follower = Bench(lacking())
        follower.pass(10_000)
        #expect(follower.count { $0 == .sessions } == 0)
    }

    // MARK: - Moves that are to end

    private static func ending(
        _ phase: ShardMap.Move.Phase, number: UInt64 = 8, from: GroupID = 1, to: GroupID = own
    ) -> ShardMap {
        var map = map(number, moves: 0)
        map[0].gid = from == .none ? 1 : from
        map[0].move = .init(from: from, to: to, epoch: 2, phase: phase)
        return map
    }

    private func isCommand(_ command: GroupCommand) -> (MoveQuestion) -> Bool { { $0 == .command(command) } }

    @Test func aTargetRejectsAMoveThatIsToEndWhateverItWasAbout() throws {
        var bench = try staging()
        try bench.give(Self.ending(.aborting))
        try bench.answer(.leader("a2"), where: isLeader)
        try bench.answer(.decision(nil)) { $0 == .decision(shard) }
        try bench.answer(.done, where: isCommand(.reject(shard)))
        try bench.answer(.decision(.rejected)) { $0 == .decision(shard) }
        try bench.answer(.done) { $0 == .report(shard, .rejected) }
        try bench.answer(.done, where: isCollect)
        try bench.answer(.done) { $0 == .report(shard, .collected) }
        #expect(bench.driver.running.isEmpty)
    }

    @Test func aTargetThatHasActivatedByThenSaysSo() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.ending(.aborting))
        try bench.answer(.leader("a2"), where: isLeader)
        try bench.answer(.decision(.activated(hashes))) { $0 == .decision(shard) }
        #expect(bench.count { $0 == .report(shard, .activated) } == 1)
    }

    @Test func aTargetNeedsNothingOfASourceThatWasGivenUp() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.ending(.aborting, from: .none))
        try bench.answer(.leader(nil)) { $0 == .leader([]) }
        try bench.answer(.decision(nil)) { $0 == .decision(shard) }
        try bench.answer(.done, where: isCommand(.reject(shard)))
        try bench.answer(.decision(.rejected)) { $0 == .decision(shard) }
        #expect(bench.count { $0 == .report(shard, .rejected) } == 1)
    }

    /// A copy that is here already is the newest one.
    @Test func aTargetThatKnowsWhatALostSourceHadFrozenGoesOn() throws {
        var bench = try staging()
        try bench.give(Self.ending(.aborting, from: .none))
        for member in 1...3 as ClosedRange<UInt64> {
            try bench.answer(.staged(isActivated: false)) { isStage($0, of: member) }
        }
        #expect(bench.count(where: isActivate) == 1)
    }

    @Test func aSourceEndsAloneWhatItHasNotFrozen() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.ending(.aborting, from: Self.own, to: 1))
        var record = ShardRecord(state: .serving, epoch: 1)
        try bench.answer(.records([0: record])) { $0 == .records }
        #expect(bench.count { if case .report = $0 { true } else { false } } == 0, "the log has not said so yet")
        try bench.answer(.done, where: isCommand(.abandon(shard)))
        record.rejectedEpoch = 2
        try bench.answer(.records([0: record])) { $0 == .records }
        try bench.answer(.done) { $0 == .report(shard, .rejected) }
        try bench.give(Self.ending(.rejected, number: 9, from: Self.own, to: 1))
        try bench.answer(.records([0: record])) { $0 == .records }
        try bench.answer(.done) { $0 == .report(shard, .collected) }
    }

    @Test func aSourceThatHasFrozenTheShardWaitsForItsTarget() throws {
        var bench = Bench(Self.leader())
        try bench.give(Self.ending(.aborting, from: Self.own, to: 1))
        let frozen = ShardRecord(state: .frozen(to: 1, epoch: 2), epoch: 1)
        for _ in 0..<3 {
            try bench.answer(.records([0: frozen])) { $0 == .records }
            #expect(bench.asks.allSatisfy { if case .map = $0.question { true } else { false } })
            bench.pass(1_000)
        }
        // The target's word has reached the controller, and not this group. (What is asked for is asked anew.)
        bench.asks.removeAll { $0.question == .records }
        try bench.give(Self.ending(.rejected, number: 9, from: Self.own, to: 1))
        try bench.answer(.records([0: frozen])) { $0 == .records }
        #expect(bench.count(where: isCommand(.unfreeze(shard))) == 1)
    }

    @Test func whatTheMapGivesBackUnderALaterEpochThaws() throws {
        var map = Self.map(8, moves: 0)
        map[0] = .init(gid: Self.own, epoch: 3)
        var bench = Bench(Self.leader())
        try bench.give(map)
        try bench.answer(.records([0: ShardRecord(state: .frozen(to: 1, epoch: 2), epoch: 1)])) { $0 == .records }
        #expect(bench.count(where: isCommand(.thaw(ShardEpoch(shard: 0, epoch: 3)))) == 1)
    }

    @Test func aShardThatHasGoneAndIsGivenBackIsToldAndNotServed() throws {
        var map = Self.map(8, moves: 0)
        map[0] = .init(gid: Self.own, epoch: 3)
        var bench = Bench(Self.leader())
        try bench.give(map)
        try bench.answer(.records([0: ShardRecord(state: .gone, epoch: 2)])) { $0 == .records }
        bench.pass(100)
        #expect(bench.notes.count { $0.contains("nobody serves it") } == 1)
        #expect(bench.count { if case .command = $0 { true } else { false } } == 0)
    }

    /// What is staged goes once the log has decided: an entry that maps it may be there by then.
    @Test func whatIsStagedForAMoveThatTheMapHasNoMoreIsRejectedByTheLog() throws {
        var bench = Bench(Self.leader())
        var map = Self.map(8, moves: 0)
        map[0].epoch = 3
        try bench.give(map)
        try bench.answer(.records([:])) { $0 == .records }
        bench.pass(5_000)
        try bench.answer(.undecided([shard, ShardEpoch(shard: 1, epoch: 2)])) { $0 == .sweep }
        #expect(bench.count(where: isCommand(.reject(shard))) == 1)
        // Of the other one the map may not have heard yet.
        #expect(bench.count { if case .command = $0 { true } else { false } } == 1)
    }
}
