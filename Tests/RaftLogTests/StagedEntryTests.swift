import Bytes
import Engines
import RaftLog
import Testing

/// An entry that maps a family which must have been staged here: what a replica does that lacks it.
@Suite struct StagedEntryTests {
    private let name = "move/7"

    private func command(_ index: LogIndex, _ payload: String) -> Entry {
        Entry(index: index, term: 1, kind: .command, stamp: 0, payload: Array(payload.utf8))
    }

    /// 2: a, 3: maps what is staged, 4: b, 5: c.
    private var entries: [Entry] { [command(2, "a"), command(3, "map \(name)"), command(4, "b"), command(5, "c")] }

    // MARK: - The writing half

    @Test func whatComesBeforeTheWaitingEntryIsAppliedAndTheRestIsAbandoned() throws {
        let disk = try StagingDisk()
        let outcome = try disk.execute {
            $0.entries = entries
            $0.commands = zip(entries, 10...).map { .init(entry: $0, token: $1) }
        }
        #expect(outcome.completion.applied == LogPosition(index: 2, term: 1))
        #expect(outcome.completion.waitsFor == name)
        #expect(outcome.replies.map(\.token) == [10])
        #expect(outcome.abandoned == [11, 12, 13])
        #expect(try disk.words() == ["a"])
    }

    @Test func aWaitingEntryAtTheFrontAppliesNothing() throws {
        let disk = try StagingDisk()
        let entry = command(2, "map \(name)")
        let outcome = try disk.execute {
            $0.entries = [entry]
            $0.commands = [.init(entry: entry, token: 10)]
        }
        #expect(outcome.completion.applied == BootstrapRecord.position)
        #expect(outcome.replies.isEmpty)
        #expect(outcome.abandoned == [10])
    }

    @Test func requestsBehindTheWaitingEntryKeepTheirEntriesAndApplyNothing() throws {
        let disk = try StagingDisk()
        try disk.execute {
            $0.entries = Array(entries[..<2])
            $0.commands = entries[..<2].map { .init(entry: $0, token: nil) }
        }
        for (index, token) in [(2, UInt64(20)), (3, 21)] {
            let outcome = try disk.execute {
                $0.entries = [entries[index]]
                $0.commands = [.init(entry: entries[index], token: token)]
            }
            #expect(outcome.abandoned == [token])
            #expect(outcome.completion.applied == LogPosition(index: 2, term: 1))
            #expect(outcome.completion.waitsFor == name)
        }
        let state = try disk.open().state
        #expect(state.applied == LogPosition(index: 2, term: 1))
        #expect(state.unapplied == Array(entries[1...]))
        #expect(try disk.words() == ["a"])
    }

    /// The host puts everything that has queued into one batch.
    @Test func requestsInOneBatchWithTheWaitingEntryAreSkippedToo() throws {
        let disk = try StagingDisk()
        let outcomes = try disk.execute(
            together: entries.map { entry in
                { request in
                    request.entries = [entry]
                    request.commands = [.init(entry: entry, token: entry.index)]
                }
            })
        #expect(outcomes.map(\.completion.serial) == [1, 2, 3, 4])
        #expect(outcomes.map(\.completion.applied?.index) == [2, 2, 2, 2])
        #expect(outcomes.map(\.completion.waitsFor) == [nil, name, name, name])
        #expect(outcomes.map(\.abandoned) == [[], [3], [4], [5]])
        #expect(try disk.open().state.applied.index == 2)
        #expect(try disk.words() == ["a"])
    }

    @Test func onceItIsStagedTheEntryMapsIt() throws {
        let disk = try StagingDisk()
        try disk.execute {
            $0.entries = entries
            $0.commands = entries.map { .init(entry: $0, token: nil) }
        }
        let family = try disk.stage(name, ["moved"])
        let outcome = try disk.execute { $0.commands = entries[1...].map { .init(entry: $0, token: nil) } }
        #expect(outcome.completion.waitsFor == nil)
        #expect(outcome.completion.applied == LogPosition(index: 5, term: 1))
        #expect(disk.storage.families[StagingMachine.mapped] == family)
        #expect(try disk.layout.stagedFamilies(in: disk.engine.snapshot()).isEmpty)
        #expect(try disk.words() == ["a", "b", "c"])
    }

    @Test func reopeningAfterACrashWaitsAgain() throws {
        let disk = try StagingDisk()
        try disk.execute {
            $0.entries = entries
            $0.commands = entries.map { .init(entry: $0, token: nil) }
        }
        disk.engine.crash(keepingUnsynced: 0)
        let opened = try disk.reopen()
        #expect(opened.applied.index < 3)
        #expect(opened.unapplied.suffix(3) == entries[1...])
        let outcome = try disk.execute { $0.commands = opened.unapplied.map { .init(entry: $0, token: nil) } }
        #expect(outcome.completion.waitsFor == name)
        #expect(outcome.completion.applied == LogPosition(index: 2, term: 1))
    }

    @Test func whatWasStagedIsThereAfterACrash() throws {
        let disk = try StagingDisk()
        let family = try disk.stage(name, ["moved"])
        disk.engine.crash(keepingUnsynced: 0)
        _ = try disk.reopen()
        #expect(try disk.layout.staged(name, in: disk.engine.snapshot())?.family == family)
    }

    @Test func aSnapshotFromBeyondTheEntryKeepsTheLogBehindIt() throws {
        let (source, target) = (try StagingDisk(), try StagingDisk())
        try source.stage(name, ["moved"])
        try source.execute {
            $0.entries = Array(entries[..<3])
            $0.commands = entries[..<3].map { .init(entry: $0, token: nil) }
        }
        try target.execute {
            $0.entries = entries
            $0.commands = entries.map { .init(entry: $0, token: nil) }
        }
        var install = try source.snapshot(for: target)
        install.keepsLog = true
        let outcome = try target.execute {
            $0.install = install
            $0.commands = [.init(entry: entries[3], token: nil)]
        }
        #expect(outcome.completion.waitsFor == nil)
        #expect(outcome.completion.applied == LogPosition(index: 5, term: 1))
        target.engine.crash(keepingUnsynced: target.engine.unsyncedCount)
        let state = try target.open().state
        #expect(state.base == LogPosition(index: 4, term: 1))
        #expect(state.stored == [LogPosition(index: 5, term: 1)])
        #expect(try target.words() == ["a", "b", "c"])
    }

    @Test func aSnapshotLeavesWhatIsStagedHereAlone() throws {
        let (source, target) = (try StagingDisk(), try StagingDisk())
        try source.stage("of the source", [])
        try source.execute {
            $0.entries = [entries[0]]
            $0.commands = [.init(entry: entries[0], token: nil)]
        }
        let family = try target.stage(name, ["moved"])
        try target.execute { $0.install = try? source.snapshot(for: target) }
        let staged = try target.layout.stagedFamilies(in: target.engine.snapshot())
        #expect(staged == [name: StagedFamily(family: family, note: [])])
    }

    // MARK: - The driver

    /// A follower with entries 2...5 committed, of which 3 waits, and the request that it applied them with.
    private func blockedFollower(voters: Membership = DriverFixture.membership) throws -> DriverFixture {
        let one = DriverFixture(voters: voters)
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1, 1, 1], commit: 5)
        let write = try #require(one.effects().write)
        #expect(write.commands.map(\.entry.index) == [2, 3, 4, 5])
        one.complete(write, applied: 2, waitsFor: name)
        return one
    }

    @Test func aBlockedReplicaSaysWhatItWaitsForAndAppliesNothing() throws {
        let one = try blockedFollower()
        #expect(one.driver.waitsFor == name)
        #expect(one.driver.core.applied == 2)
        #expect(one.driver.core.durable == 5)
        #expect(!one.driver.hasMoreToWrite)
        #expect(one.effects().write == nil)
    }

    @Test func aBlockedReplicaGoesOnAcknowledgingAppends() throws {
        let one = try blockedFollower()
        one.settle()
        one.append(2, term: 1, after: LogPosition(index: 5, term: 1), [1], commit: 6)
        let write = try #require(one.effects().write)
        #expect(write.commands.isEmpty)
        one.complete(write, applied: nil, waitsFor: nil)
        #expect(one.effects().messages.map(\.body) == [.appended(match: 6)])
    }

    /// It would be made a voter by that, and could be the only one that is left.
    @Test func aBlockedReplicaThatIsNoVoterAcknowledgesNothing() throws {
        let others = Membership(members: Array(DriverFixture.membership.members.dropFirst()))
        let one = try blockedFollower(voters: others)
        one.settle()
        one.append(2, term: 1, after: LogPosition(index: 5, term: 1), [1], commit: 6)
        #expect(one.settle().isEmpty)
        one.driver.staged()
        one.settle()
        one.append(2, term: 1, after: LogPosition(index: 6, term: 1), [1], commit: 6)
        #expect(one.settle() == [.appended(match: 7)])
    }

    /// What waits and the first entry behind it came in one append, and are written at once.
    @Test func aMemberWithoutAVoteTakesBackWhatItWasAboutToAcknowledge() throws {
        let others = Membership(members: Array(DriverFixture.membership.members.dropFirst()))
        let one = DriverFixture(voters: others)
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1, 1, 1], commit: 5)
        let write = try #require(one.effects().write)
        one.complete(write, applied: 2, waitsFor: name)
        #expect(one.settle().isEmpty)
    }

    // MARK: - Changes of members behind the waiting entry

    private static let life = Incarnation(high: 9, low: 9)
    /// Each gives a vote or takes one.
    private static let votes: [MembershipChange] = [
        .remove(ReplicaID(2)), .replace(ReplicaID(2), address: "n2", incarnation: life),
        .promote(ReplicaID(4), incarnation: life),
    ]
    private static let joining = MembershipChange.add(ReplicaID(4), address: "n4", incarnation: life)

    private static func entry(_ index: LogIndex, _ change: MembershipChange) -> Entry {
        Entry(index: index, term: 1, kind: .membership, stamp: 0, payload: change.encoded)
    }

    /// The leader brings one change, behind 5@1 or behind the changes before it.
    private func receive(_ change: MembershipChange, at index: LogIndex, _ one: DriverFixture) {
        one.receive(
            2, term: 1,
            .append(
                previous: LogPosition(index: index - 1, term: 1), entries: [Self.entry(index, change)], commit: 5))
    }

    /// Those who staged the shard are a quorum, and without one of them there is still one in every quorum.
    @Test(arguments: votes) func aBlockedReplicaAcknowledgesTheFirstChangeOfVotes(change: MembershipChange) throws {
        let one = try blockedFollower()
        one.settle()
        receive(change, at: 6, one)
        #expect(one.settle() == [.appended(match: 6)])
    }

    /// By the second one those who staged it could all be gone.
    @Test(arguments: votes) func aChangeOfVotesIsAcknowledgedOnceTheOneBeforeIsApplied(change: MembershipChange) throws
    {
        let one = try blockedFollower()
        one.settle()
        receive(.remove(ReplicaID(3)), at: 6, one)
        #expect(one.settle() == [.appended(match: 6)])
        receive(change, at: 7, one)
        #expect(one.settle() == [.appended(match: 6)])
        one.append(2, term: 1, after: LogPosition(index: 7, term: 1), [1, 1], commit: 5)
        #expect(one.settle() == [.appended(match: 6)])
        one.driver.staged()
        let write = try #require(one.effects().write)
        #expect(write.commands.map(\.entry.index) == [3, 4, 5, 6], "the log says that 6 is committed")
        #expect(one.effects().messages.isEmpty)
        one.complete(write, applied: 6, waitsFor: nil)
        #expect(one.effects().messages.map(\.body) == [.appended(match: 9)], "without being asked again")
    }

    /// It has tried to apply nothing yet, and doesn't know what it lacks.
    @Test(arguments: votes) func aReplicaThatHasJustStartedAcknowledgesNoSecondChangeOfVotes(
        change: MembershipChange
    ) throws {
        let log = entries + [Self.entry(6, .remove(ReplicaID(3)))]
        let one = DriverFixture(unapplied: log)
        receive(change, at: 7, one)
        let write = try #require(one.effects().write)
        one.complete(write, applied: 2, waitsFor: name)
        #expect(one.settle() == [.appended(match: 6)])
    }

    /// The other copy of the log's end is of the leader that has sent it; a later one sends its own.
    @Test func whatALeaderOfAnEarlierTermHasSentIsNotAcknowledgedToALaterOne() throws {
        let one = try blockedFollower()
        one.settle()
        receive(.remove(ReplicaID(3)), at: 6, one)
        receive(Self.votes[2], at: 7, one)
        one.settle()
        one.receive(3, term: 2, .heartbeat(commit: 5, round: 0))
        one.settle()
        one.driver.staged()
        let said = one.settle()
        #expect(one.driver.core.applied == 6)
        #expect(!said.contains { if case .appended = $0 { true } else { false } })
    }

    /// A quorum has agreed, and it was one that could.
    @Test func aChangeThatIsKnownToBeCommittedHoldsNothingBack() throws {
        let one = try blockedFollower()
        one.settle()
        receive(.remove(ReplicaID(3)), at: 6, one)
        receive(Self.votes[2], at: 7, one)
        one.settle()
        one.append(2, term: 1, after: LogPosition(index: 7, term: 1), [1], commit: 7)
        #expect(one.settle() == [.appended(match: 8)])
    }

    @Test func aMemberThatComesWithoutAVoteIsNoChangeOfVotes() throws {
        let one = try blockedFollower()
        one.settle()
        receive(Self.votes[0], at: 6, one)
        receive(Self.joining, at: 7, one)
        #expect(one.settle().last == .appended(match: 7))
        let other = try blockedFollower()
        other.settle()
        receive(Self.joining, at: 6, other)
        receive(Self.votes[2], at: 7, other)
        #expect(other.settle().last == .appended(match: 7))
    }

    /// The snapshot brings the change before, and what waited with it.
    @Test func aSnapshotOfTheChangeBeforeLetsTheNextOneBeAcknowledged() throws {
        let one = try blockedFollower()
        one.settle()
        receive(.remove(ReplicaID(3)), at: 6, one)
        receive(Self.votes[2], at: 7, one)
        one.settle()
        one.driver.install(snapshot(at: 6), now: one.now)
        #expect(one.settle().contains(.appended(match: 7)))
    }

    @Test func theWritesBehindTheWaitingEntryAreSkippedInOrder() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1], commit: 3)
        let first = try #require(one.effects().write)
        one.append(2, term: 1, after: LogPosition(index: 3, term: 1), [1, 1], commit: 5)
        let second = try #require(one.effects().write)
        one.complete(first, applied: 2, waitsFor: name)
        one.complete(second, applied: 2, waitsFor: name)
        #expect(one.driver.core.durable == 5)
        one.driver.staged()
        #expect(try one.nextToApply() == [3, 4, 5])
    }

    @Test func aLeaderThatWaitsStepsDownAndOwesNoAnswer() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([1], token: 42)
        let pending = try one.propose([2], token: 43)
        one.complete(try #require(one.effects().write), applied: nil, waitsFor: nil)
        one.receive(2, term: one.driver.core.term, .appended(match: position.index))
        let apply = try #require(one.effects().write)
        #expect(apply.commands.map(\.token) == [42])
        one.complete(apply, applied: position.index - 1, waitsFor: name)
        #expect(one.driver.core.role == .follower)
        #expect(one.effects().unknownProposals == [43], "\(pending) has an unknown outcome")
    }

    @Test func aBlockedReplicaDoesNotCampaign() throws {
        let one = try blockedFollower()
        one.settle()
        for _ in 0..<10 {
            one.now = max(one.now, one.driver.core.electionDeadline) + 1
            one.driver.tick(now: one.now)
            #expect(one.effects().messages.isEmpty)
        }
        one.driver.staged()
        one.settle()
        one.now = one.driver.core.electionDeadline
        one.driver.tick(now: one.now)
        #expect(one.driver.core.role == .preCandidate, "it may again, once it can apply")
    }

    @Test func aBlockedReplicaDoesNotTakeOver() throws {
        let one = try blockedFollower()
        one.settle()
        one.receive(2, term: 1, .timeoutNow)
        one.settle()
        #expect(one.driver.core.term == 1)
    }

    @Test func aCandidateThatBecomesBlockedDoesNotStayLeader() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1], commit: 1)
        one.settle()
        // Only applied: whoever waits for its log's disk doesn't campaign.
        one.receive(2, term: 1, .heartbeat(commit: 3, round: 0))
        let apply = try #require(one.effects().write)
        one.now = one.driver.core.electionDeadline
        one.driver.tick(now: one.now)
        _ = one.effects()
        one.receive(3, term: 2, .vote(granted: true, isPreVote: true))
        let ballot = try #require(one.effects().write)
        one.complete(apply, applied: 2, waitsFor: name)
        one.complete(ballot, applied: nil, waitsFor: nil)
        one.receive(3, term: 2, .vote(granted: true, isPreVote: false))
        one.driver.tick(now: one.now)
        #expect(!one.driver.core.isLeader)
    }

    @Test func aBlockedReplicaStillVotes() throws {
        let one = try blockedFollower()
        one.settle()
        one.now += 10_000
        one.receive(3, term: 2, .requestVote(last: LogPosition(index: 5, term: 1), isPreVote: true, force: false))
        #expect(one.settle() == [.vote(granted: true, isPreVote: true)])
        one.receive(3, term: 2, .requestVote(last: LogPosition(index: 5, term: 1), isPreVote: false, force: false))
        let effects = one.effects()
        #expect(effects.messages.isEmpty)
        one.complete(try #require(effects.write), applied: nil, waitsFor: nil)
        #expect(one.effects().messages.map(\.body) == [.vote(granted: true, isPreVote: false)])
    }

    @Test func whatIsStagedMakesItGoOn() throws {
        let one = try blockedFollower()
        one.settle()
        one.driver.staged()
        #expect(one.driver.waitsFor == nil)
        let write = try #require(one.effects().write)
        #expect(write.commands.map(\.entry.index) == [3, 4, 5])
        one.complete(write, applied: 5, waitsFor: nil)
        #expect(one.driver.core.applied == 5)
    }

    @Test func whatIsStagedWhileWritesAreOnTheirWayCountsOnceTheyAreDone() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1], commit: 3)
        let first = try #require(one.effects().write)
        one.append(2, term: 1, after: LogPosition(index: 3, term: 1), [1], commit: 4)
        let second = try #require(one.effects().write)
        one.complete(first, applied: 2, waitsFor: name)
        one.driver.staged()
        #expect(one.effects().write == nil, "the write on its way skips what it holds")
        one.complete(second, applied: 2, waitsFor: name)
        #expect(one.driver.waitsFor == nil)
        #expect(try one.nextToApply() == [3, 4])
    }

    /// Appends go on, so that there is always a write on its way; none of them was issued with commands.
    @Test func whatIsStagedCountsUnderSteadyWriting() throws {
        let one = try blockedFollower()
        one.settle()
        one.append(2, term: 1, after: LogPosition(index: 5, term: 1), [1], commit: 5)
        var write = try #require(one.effects().write)
        one.driver.staged()
        for index: LogIndex in 6..<20 {
            one.append(2, term: 1, after: LogPosition(index: index, term: 1), [1], commit: 5)
            let next = try #require(one.effects().write)
            one.complete(write, applied: nil, waitsFor: nil)
            write = next
        }
        #expect(one.driver.waitsFor == nil)
    }

    /// The writer looked before the family was there, and the driver hears of it after.
    @Test func whatIsStagedBeforeTheDriverHearsThatItIsMissingCounts() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1], commit: 3)
        let write = try #require(one.effects().write)
        one.driver.staged()
        one.complete(write, applied: 2, waitsFor: name)
        #expect(try one.nextToApply() == [3])
    }

    @Test func aReadThatMustSeeTheWaitingEntryFails() throws {
        let one = DriverFixture()
        one.becomeLeader()
        let position = try one.propose([1])
        one.complete(try #require(one.effects().write), applied: nil, waitsFor: nil)
        one.receive(2, term: one.driver.core.term, .appended(match: position.index))
        let apply = try #require(one.effects().write)
        #expect(one.read(5))
        _ = one.effects()
        one.complete(apply, applied: position.index - 1, waitsFor: name)
        let effects = one.effects()
        #expect(effects.readyReads.isEmpty)
        #expect(effects.failedReads == [5])
    }

    // MARK: - A snapshot from another replica

    private func snapshot(at index: LogIndex, term: Term = 1) -> SnapshotInstall {
        SnapshotInstall(
            header: SnapshotHeader(
                applied: AppliedState(position: LogPosition(index: index, term: term), logTime: 0),
                membership: DriverFixture.membership, stateRows: [], families: ["list"]),
            families: [FamilyID(50)])
    }

    @Test func aSnapshotFromBeyondTheEntryMakesItGoOnAndKeepsTheLog() throws {
        let one = try blockedFollower()
        one.settle()
        one.driver.install(snapshot(at: 4), now: one.now)
        #expect(one.driver.waitsFor == nil)
        let write = try #require(one.effects().write)
        #expect(write.install?.keepsLog == true)
        #expect(!write.truncatesLog)
        #expect(write.commands.map(\.entry.index) == [5])
        #expect(one.driver.core.lastPosition == LogPosition(index: 5, term: 1))
        one.complete(write, applied: 5, waitsFor: nil)
        #expect(one.driver.core.durable == 5, "nothing that was acknowledged is taken back")
        #expect(one.driver.core.applied == 5)
    }

    @Test func aSnapshotKeepsEntriesThatAreNotCommittedYet() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1, 1, 1], commit: 3)
        one.complete(try #require(one.effects().write), applied: 2, waitsFor: name)
        #expect(one.settle() == [.appended(match: 5)])
        one.driver.install(snapshot(at: 3), now: one.now)
        let write = try #require(one.effects().write)
        #expect(write.install?.keepsLog == true)
        one.complete(write, applied: 3, waitsFor: nil)
        #expect(one.driver.core.lastPosition == LogPosition(index: 5, term: 1))
        #expect(one.driver.core.durable == 5)
        // The leader goes on behind them.
        one.receive(2, term: 1, .heartbeat(commit: 5, round: 0))
        #expect(try one.nextToApply() == [4, 5])
    }

    @Test(arguments: [1, 2] as [LogIndex])
    func aSnapshotAtOrBeforeTheAppliedPositionIsDiscardedWithItsFamilies(index: LogIndex) throws {
        let one = try blockedFollower()
        one.settle()
        one.driver.install(snapshot(at: index), now: one.now)
        let effects = one.effects()
        #expect(effects.write == nil)
        #expect(effects.discardedFamilies == [FamilyID(50)])
        #expect(one.driver.waitsFor == name)
        #expect(one.driver.core.applied == 2)
    }

    @Test func aSnapshotFromBeyondTheWholeLogReplacesIt() throws {
        let one = try blockedFollower()
        one.settle()
        one.driver.install(snapshot(at: 9), now: one.now)
        let write = try #require(one.effects().write)
        #expect(write.install?.keepsLog == false)
        one.complete(write, applied: 9, waitsFor: nil)
        #expect(one.driver.waitsFor == nil)
        #expect(one.driver.core.lastPosition == LogPosition(index: 9, term: 1))
    }

    /// The skipped write was issued before the snapshot came, and says that it waits after it.
    @Test func aSkippedWriteDoesNotBlockAgainAfterASnapshot() throws {
        let one = DriverFixture()
        one.append(2, term: 1, after: BootstrapRecord.position, [1, 1], commit: 3)
        let first = try #require(one.effects().write)
        one.append(2, term: 1, after: LogPosition(index: 3, term: 1), [1], commit: 4)
        let second = try #require(one.effects().write)
        one.complete(first, applied: 2, waitsFor: name)
        one.driver.install(snapshot(at: 3), now: one.now)
        let third = try #require(one.effects().write)
        #expect(third.commands.map(\.entry.index) == [4])
        one.complete(second, applied: 2, waitsFor: name)
        #expect(one.driver.waitsFor == nil)
        one.complete(third, applied: 4, waitsFor: nil)
        #expect(one.driver.core.applied == 4)
        #expect(one.driver.core.durable == 4)
    }
}

extension DriverFixture {
    /// What the next write request applies.
    func nextToApply() throws -> [LogIndex] {
        let write = try #require(effects().write)
        return write.commands.map(\.entry.index)
    }

    /// The disk has finished a request, and applied as far as this.
    func complete(_ request: WriteRequest, applied: LogIndex?, waitsFor: String?) {
        var completion = WriteCompletion(serial: request.serial)
        completion.applied = applied.map {
            LogPosition(index: $0, term: driver.core.termOfLog(at: $0) ?? driver.core.term)
        }
        completion.waitsFor = waitsFor
        driver.completed(completion)
    }
}

/// Remembers words as state rows; "map x" maps what is staged as x, and waits for it.
struct StagingMachine: StateMachine {
    static let mapped = "mapped"

    mutating func load(in context: inout ApplyContext) throws(EngineError) {}

    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> [UInt8] {
        let words = entry.payload.split(separator: UInt8(ascii: " "))
        if words.count == 2 {
            let name = String(decoding: words[1], as: UTF8.self)
            guard try context.staged(name) != nil else {
                context.wait(forStaged: name)
                return []
            }
            try context.mapStaged(name, as: Self.mapped)
        } else {
            context.setStateRow(bigEndianBytes(entry.index), entry.payload)
        }
        return entry.payload
    }
}

/// A founder's disk under a `StagingMachine`.
private final class StagingDisk {
    let engine = MemoryEngine()
    let families: FamilyTable
    let layout: GroupLayout
    private(set) var storage: GroupStorage<StagingMachine>
    private var serial: UInt64 = 0

    init() throws {
        families = try FamilyTable(engine: engine)
        layout = try families.layout(of: 7)
        var batch = WriteBatch()
        BootstrapRecord(clusterID: [1], gid: 7, membership: DriverFixture.membership).write(to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
        storage = try GroupStorage.open(layout, machine: StagingMachine(), in: engine.snapshot()).storage
    }

    func open() throws -> (storage: GroupStorage<StagingMachine>, state: RestoredState) {
        try GroupStorage.open(layout, machine: StagingMachine(), in: engine.snapshot())
    }

    func reopen() throws -> RestoredState {
        let opened = try open()
        storage = opened.storage
        return opened.state
    }

    @discardableResult
    func execute(_ change: @escaping (inout WriteRequest) -> Void) throws -> GroupStorage<StagingMachine>.Outcome {
        let outcomes = try execute(together: [change])
        return outcomes[0]
    }

    /// Several requests in one batch.
    func execute(
        together changes: [(inout WriteRequest) -> Void]
    ) throws -> [GroupStorage<StagingMachine>.Outcome] {
        var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in
            try families.take()
        }
        let outcomes = try changes.map { change in
            serial += 1
            var request = WriteRequest(serial: serial)
            change(&request)
            return try storage.execute(request, in: &batch)
        }
        try engine.write(batch.batch, durability: batch.durability)
        for family in batch.unmapped { try engine.dropFamily(family) }
        return outcomes
    }

    /// A family with these keys, noted as `name`.
    @discardableResult
    func stage(_ name: String, _ keys: [String]) throws -> FamilyID {
        let family = try families.take()
        var batch = WriteBatch()
        for key in keys { batch.put(family, key: Array(key.utf8), value: []) }
        layout.putStaged(name, StagedFamily(family: family, note: []), in: &batch)
        try engine.write(batch, durability: .synced)
        return family
    }

    /// The words that were applied, in order.
    func words() throws -> [String] {
        try SnapshotHeader.read(layout, in: engine.snapshot()).header.stateRows
            .map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// A snapshot of this disk, loaded into another.
    func snapshot(for target: StagingDisk) throws -> SnapshotInstall {
        let view = try engine.snapshot()
        let (header, families) = try SnapshotHeader.read(layout, in: view)
        let loaded = try families.map { family in
            let copy = try target.families.take()
            var batch = WriteBatch()
            try view.scan(family) { key, value in
                batch.put(copy, key: Array(key), value: Array(value))
                return true
            }
            try target.engine.write(batch, durability: .synced)
            return copy
        }
        return SnapshotInstall(header: header, families: loaded)
    }

    /// What waits is tried again while writes that were issued behind it are still at the disk. They waited as it did, which
    /// must not take the driver back behind what the new try applies.
    @Test func writesFromBeforeANewTryDoNotTakeTheDriverBack() {
        var configuration = ReplicaDriver.Configuration()
        configuration.applyBytesMax = 1
        configuration.core.memoryBytesMax = 0
        let one = DriverFixture(configuration: configuration, logTerms: [1, 1, 1])
        one.receive(2, term: 1, .heartbeat(commit: 4, round: 0))
        func nextWrite() -> WriteRequest? {
            for _ in 0..<4 { if let write = one.effects().write { return write } }
            return nil
        }
        func complete(_ write: WriteRequest?, applied: LogIndex, waits: Bool) {
            guard let write else { return }
            var completion = WriteCompletion(serial: write.serial)
            completion.applied = LogPosition(index: applied, term: 1)
            if waits { completion.waitsFor = "shard" }
            one.driver.completed(completion)
        }
        let first = nextWrite()
        #expect(first?.commands.map(\.entry.index) == [2])
        // It comes before the driver hears that the entry waits, and before the next one is issued.
        one.driver.staged()
        let behind = nextWrite()
        #expect(behind?.commands.map(\.entry.index) == [3])
        complete(first, applied: 1, waits: true)
        let again = nextWrite()
        #expect(again?.commands.map(\.entry.index) == [2])
        complete(behind, applied: 1, waits: true)
        #expect(one.driver.waitsFor == nil)
        complete(again, applied: 2, waits: false)
        var applied: [LogIndex] = []
        while let write = nextWrite() {
            applied += write.commands.map(\.entry.index)
            complete(write, applied: applied.last ?? 2, waits: false)
        }
        #expect(applied == [3, 4])
        #expect(one.driver.core.applied == 4)
    }
}
