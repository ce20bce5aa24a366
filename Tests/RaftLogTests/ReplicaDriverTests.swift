import Engines
import RaftLog
import Testing

/// In which order a replica's disk, network and clients hear of things.
@Suite struct ReplicaDriverTests {
    private let start = BootstrapRecord.position

    // MARK: - Durable before said

    @Test func aVoteIsNotGivenBeforeItIsOnDisk() throws {
        let one = DriverFixture()
        one.receive(2, term: 5, .requestVote(last: LogPosition(index: 9, term: 4), isPreVote: false, force: false))
        let effects = one.effects()
        let write = try #require(effects.write)
        #expect(write.hardState == HardState(term: 5, vote: ReplicaID(2)))
        #expect(write.needsSync)
        #expect(effects.messages.isEmpty)
        one.complete(write)
        #expect(one.effects().messages.map(\.body) == [.vote(granted: true, isPreVote: false)])
    }

    @Test func aVoteIsGivenOnceInATerm() {
        let one = DriverFixture()
        let last = LogPosition(index: 9, term: 4)
        one.receive(2, term: 5, .requestVote(last: last, isPreVote: false, force: false))
        one.settle()
        one.receive(3, term: 5, .requestVote(last: last, isPreVote: false, force: false))
        #expect(one.settle() == [.vote(granted: false, isPreVote: false)])
        one.receive(2, term: 5, .requestVote(last: last, isPreVote: false, force: false))
        #expect(one.settle() == [.vote(granted: true, isPreVote: false)])
    }

    @Test func aCandidateAsksForVotesOnlyOnceItsOwnIsOnDisk() throws {
        let one = DriverFixture()
        one.now = one.driver.core.electionDeadline
        one.driver.tick(now: one.now)
        one.settle()
        one.receive(2, term: 2, .vote(granted: true, isPreVote: true))
        let effects = one.effects()
        #expect(effects.messages.isEmpty)
        let write = try #require(effects.write)
        #expect(write.hardState == HardState(term: 2, vote: ReplicaID(1)))
        // A vote that comes back too early doesn't make a leader before the own vote is on disk.
        one.receive(2, term: 2, .vote(granted: true, isPreVote: false))
        #expect(one.driver.core.role == .candidate)
        one.complete(write)
        #expect(one.driver.core.role == .leader)
    }

    @Test func anAppendIsAcknowledgedOnlyOnceItIsOnDisk() throws {
        let one = DriverFixture()
        one.append(2, term: 2, after: start, [2, 2])
        let effects = one.effects()
        let write = try #require(effects.write)
        #expect(write.entries.map(\.index) == [2, 3])
        #expect(effects.messages.isEmpty)
        // The same again while the disk is at it: still nothing to say.
        one.append(2, term: 2, after: start, [2, 2])
        #expect(one.effects().messages.isEmpty)
        one.complete(write)
        #expect(one.effects().messages.map(\.body) == [.appended(match: 3), .appended(match: 3)])
    }

    @Test func aRejectionPromisesNothingAndGoesAtOnce() {
        let one = DriverFixture()
        one.append(2, term: 1, after: LogPosition(index: 7, term: 1), [1])
        #expect(one.effects().messages.map(\.body) == [.appendRejected(previous: 7, hint: start)])
    }

    @Test func aProposalIsAnsweredOnlyThroughTheLog() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([7], token: 99, stamp: 5)
        let first = one.effects()
        #expect(first.write?.commands.isEmpty == true)
        one.receive(2, term: one.driver.core.term, .appended(match: position.index))
        // One follower's disk, and not yet our own.
        #expect(one.driver.core.commit < position.index)
        one.complete(try #require(first.write))
        let command = try #require(one.effects().write?.commands.first)
        #expect(command.token == 99)
        #expect(command.entry.stamp == 5)
    }

    // MARK: - Completions that count for less than they say

    @Test func theLateCompletionOfATruncatedEntryDoesNotCount() throws {
        let one = DriverFixture()
        one.append(2, term: 2, after: start, [2, 2, 2])
        let old = try #require(one.effects().write)
        one.append(3, term: 3, after: start, [3, 3, 3])
        let new = try #require(one.effects().write)
        #expect(new.truncatesLog)
        one.complete(old)
        #expect(one.driver.core.durable == start.index)
        one.complete(new)
        #expect(one.driver.core.durable == 4)
    }

    /// The same when the new entries have not even been handed to the disk: the host takes in everything that
    /// has queued before it asks for effects.
    @Test func theLateCompletionOfATruncatedEntryDoesNotCountForWhatWasNotHandedOut() throws {
        let one = DriverFixture()
        one.append(2, term: 2, after: start, [2, 2, 2])
        let old = try #require(one.effects().write)
        one.append(3, term: 3, after: start, [3, 3, 3])
        one.complete(old)
        #expect(one.driver.core.durable == start.index)
        one.complete(try #require(one.effects().write))
        #expect(one.driver.core.durable == 4)
    }

    @Test func whatWasNotCutStillCounts() throws {
        let one = DriverFixture()
        one.append(2, term: 2, after: start, [2, 2, 2])
        let old = try #require(one.effects().write)
        one.append(3, term: 3, after: LogPosition(index: 3, term: 2), [3])
        _ = one.effects()
        one.complete(old)
        #expect(one.driver.core.durable == 3)
    }

    // MARK: - Nothing blocks the heartbeat

    @Test func aHeartbeatIsNotHeldByAPendingWrite() throws {
        let one = DriverFixture()
        one.append(2, term: 2, after: start, [2])
        _ = try #require(one.effects().write)
        one.receive(2, term: 2, .heartbeat(commit: 1, round: 4))
        #expect(one.effects().messages.map(\.body) == [.heartbeatReply(round: 4)])
    }

    @Test func aLeaderSendsEntriesAndHeartbeatsWhileItsDiskIsBusy() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([1])
        let effects = one.effects()
        #expect(effects.write != nil)
        #expect(effects.messages.filter { if case .append = $0.body { true } else { false } }.count == 2)
        one.now += 100
        one.driver.tick(now: one.now)
        #expect(one.effects().messages.filter { if case .heartbeat = $0.body { true } else { false } }.count == 2)
        #expect(one.driver.core.durable < position.index)
    }

    @Test func aLeaderWhoseDiskStallsForAnElectionTimeoutStepsDown() throws {
        let one = DriverFixture()
        one.becomeLeader()
        _ = try one.propose([1], token: 42, stamp: 0)
        _ = try #require(one.effects().write)
        func tick(_ one: DriverFixture, after wait: Milliseconds) {
            one.now += wait
            one.receive(2, term: one.driver.core.term, .heartbeatReply(round: 0))
            one.driver.tick(now: one.now)
        }
        tick(one, after: 600)
        #expect(one.driver.core.isLeader)
        tick(one, after: 1)
        #expect(!one.driver.core.isLeader)
        #expect(one.effects().unknownProposals == [42])
    }

    @Test func whoCannotWriteDoesNotCampaign() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: start, [1], commit: 1)
        let write = try #require(one.effects().write)
        one.now = one.driver.core.electionDeadline + 2_000
        one.driver.tick(now: one.now)
        #expect(one.driver.core.role == .follower, "its own vote would wait for a disk that stands still")
        #expect(one.effects().messages.isEmpty)
        one.complete(write)
        one.settle()
        one.now = one.driver.core.electionDeadline
        one.driver.tick(now: one.now)
        #expect(one.driver.core.role == .preCandidate)
    }

    @Test func aSlowApplyAloneDoesNotCostTheOffice() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([1])
        one.complete(try #require(one.effects().write))
        one.receive(2, term: one.driver.core.term, .appended(match: position.index))
        let apply = try #require(one.effects().write)
        #expect(!apply.needsSync)
        one.now += 601
        one.receive(2, term: one.driver.core.term, .heartbeatReply(round: 0))
        one.driver.tick(now: one.now)
        #expect(one.driver.core.isLeader)
    }

    @Test func everythingThatHasQueuedGoesIntoOneWrite() throws {
        let one = DriverFixture()
        one.becomeLeader()
        for number: UInt8 in 0..<50 { _ = try one.propose([number]) }
        let write = try #require(one.effects().write)
        #expect(write.entries.count == 50)
        #expect(one.effects().write == nil)
    }

    // MARK: - Incarnations

    @Test func aMessageForAnEarlierLifeIsDropped() {
        let one = DriverFixture()
        one.driver.receive(
            Message(
                from: ReplicaID(2), to: ReplicaID(1), fromIncarnation: DriverFixture.incarnation(ReplicaID(2)),
                toIncarnation: Incarnation(high: 1, low: 0), term: 9,
                body: .requestVote(last: LogPosition(index: 9, term: 8), isPreVote: false, force: false)), now: 0)
        #expect(one.effects().isEmpty)
        #expect(one.driver.core.term == 1)
    }

    @Test func anAnswerFromAnEarlierLifeIsDropped() {
        let one = DriverFixture()
        one.now = one.driver.core.electionDeadline
        one.driver.tick(now: one.now)
        one.settle()
        one.driver.receive(
            Message(
                from: ReplicaID(2), to: ReplicaID(1), fromIncarnation: Incarnation(high: 2, low: 0),
                toIncarnation: DriverFixture.incarnation(ReplicaID(1)), term: 2,
                body: .vote(granted: true, isPreVote: true)),
            now: one.now)
        #expect(one.driver.core.role == .preCandidate)
    }

    @Test func everyMessageSaysWhoseLifeItMeans() {
        let one = DriverFixture()
        one.becomeLeader()
        one.now += 100
        one.driver.tick(now: one.now)
        for message in one.effects().messages {
            #expect(message.fromIncarnation == DriverFixture.incarnation(ReplicaID(1)))
            #expect(message.toIncarnation == DriverFixture.incarnation(message.to))
        }
    }

    @Test func aNonMemberNeverCampaigns() {
        let one = DriverFixture(voters: .none)
        one.now = 100_000
        one.driver.tick(now: one.now)
        #expect(one.effects().isEmpty)
        #expect(one.driver.core.role == .follower)
    }

    // MARK: - Reads

    @Test func aReadWaitsUntilWhatItMustSeeIsVisible() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([1])
        one.complete(try #require(one.effects().write))
        one.receive(2, term: one.driver.core.term, .appended(match: position.index))
        let apply = try #require(one.effects().write)
        #expect(one.read(5))
        #expect(one.effects().readyReads.isEmpty)
        one.receive(3, term: one.driver.core.term, .heartbeatReply(round: one.driver.core.readRound))
        #expect(one.effects().readyReads.isEmpty, "answered before the committed entry was visible")
        one.complete(apply)
        #expect(one.effects().readyReads == [5])
    }

    @Test func manyReadsShareOneRound() {
        let one = DriverFixture()
        one.becomeLeader()
        for token in UInt64(1)...100 { #expect(one.read(token)) }
        #expect(one.effects().messages.count == 2)
        one.receive(3, term: one.driver.core.term, .heartbeatReply(round: one.driver.core.readRound))
        #expect(one.effects().readyReads == Array(1...100))
    }

    // MARK: - Bounds

    @Test func proposalsBeyondTheBoundAreBusy() throws {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.unappliedBytesMax = 1000
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        var taken = 0
        while (try? one.propose([UInt8](repeating: 0, count: 100))) != nil { taken += 1 }
        #expect((7...9).contains(taken))
        #expect(throws: RaftCore.RefusalError(.busy)) { _ = try one.propose([]) }
        let position = one.driver.core.lastPosition
        one.settle()
        one.receive(2, term: position.term, .appended(match: position.index))
        one.settle()
        #expect(throws: Never.self) { _ = try one.propose([]) }
    }

    /// The disk stood still through the whole election: what it held back is of a candidate that is none any more.
    @Test func aRequestForVotesThatTheDiskHeldBackIsVoidOnceAnotherLeads() {
        for isOver in [false, true] {
            let one = DriverFixture()
            one.now = one.driver.core.electionDeadline
            one.driver.tick(now: one.now)
            one.settle()
            one.receive(2, term: one.driver.core.term + 1, .vote(granted: true, isPreVote: true))
            guard let write = one.effects().write else {
                Issue.record("a candidate's term is written")
                return
            }
            let term = one.driver.core.term
            if isOver { one.append(2, term: term, after: BootstrapRecord.position, [term]) }
            one.complete(write)
            let asks = one.effects().messages.count {
                if case .requestVote(_, isPreVote: false, _) = $0.body { true } else { false }
            }
            #expect(asks == (isOver ? 0 : 2))
        }
    }

    /// A shard that is written to at full rate must be frozen some day, and those who write never stop.
    @Test func whatClientsHaveWaitingDoesNotKeepTheGroupsOwnCommandsOut() throws {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.unappliedBytesMax = 1000
        configuration.core.urgentBytesMax = 500
        configuration.core.pendingReadsMax = 2
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        while (try? one.propose([UInt8](repeating: 0, count: 100))) != nil {}
        var own = 0
        while case .success = one.driver.propose([UInt8](repeating: 0, count: 100), token: nil, isUrgent: true, now: 0)
        {
            own += 1
        }
        #expect((3...6).contains(own), "bounded, too")
        let reads = (0..<4).map { one.driver.read(token: $0) }
        #expect(reads == [true, true, false, false])
        let isTaken = one.driver.read(token: 9, isUrgent: true)
        #expect(isTaken)
    }

    @Test func aFollowerThatDoesNotAnswerGetsABoundedNumberOfAppends() throws {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.inflightMessagesMax = 4
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        var sent = 0
        for _ in 0..<50 {
            _ = try one.propose([1])
            sent += one.effects().messages.count {
                if $0.to == ReplicaID(3), case .append = $0.body { true } else { false }
            }
        }
        #expect(sent == 4)
    }

    @Test func anAnswerFromBelowTheLogDoesNotAskForASecondSnapshot() throws {
        var configuration = ReplicaDriver.Configuration()
        configuration.retainedEntries = 4
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        func write(_ count: Int) throws {
            for _ in 0..<count {
                _ = try one.propose([1])
                one.settle()
                one.receive(2, term: one.driver.core.term, .appended(match: one.driver.core.lastPosition.index))
                one.settle()
            }
        }
        try write(10)
        let base = one.driver.core.firstIndex - 1
        let none = LogPosition(index: 1, term: 1)
        one.receive(
            3, term: one.driver.core.term,
            .appendRejected(previous: one.driver.core.lastPosition.index - 1, hint: none))
        one.settle()
        one.receive(3, term: one.driver.core.term, .appendRejected(previous: base, hint: none))
        #expect(one.effects().neededSnapshots.map(\.id) == [ReplicaID(3)])
        one.driver.snapshotStarted(to: ReplicaID(3), index: one.driver.core.applied)
        try write(10)
        #expect(one.driver.core.firstIndex > base + 2)
        // What it had on its way to the disk when the snapshot was made.
        one.receive(3, term: one.driver.core.term, .appended(match: base + 1))
        #expect(one.effects().neededSnapshots.isEmpty)
    }

    @Test func readsBeyondTheBoundAreRefused() {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.pendingReadsMax = 3
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        #expect((1...4).map { one.read($0) } == [true, true, true, false])
    }

    @Test func anEntryLargerThanAMessageStillFits() throws {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.appendBytesMax = 10
        let one = DriverFixture(configuration: configuration)
        one.becomeLeader()
        _ = try one.propose([UInt8](repeating: 1, count: 1 << 20))
        let sizes = one.effects().messages.compactMap { message -> Int? in
            if case .append(_, let entries, _) = message.body { entries.count } else { nil }
        }
        #expect(sizes == [1, 1])
    }
}
