import Engines
import RaftLog
import Testing

/// What may be known to be committed survives a restart (decision 0022).
@Suite struct CommittedChangeTests {
    private func change(_ index: LogIndex, _ change: MembershipChange) -> Entry {
        Entry(index: index, term: 1, kind: .membership, stamp: 0, payload: change.encoded)
    }

    private func add(_ index: LogIndex, _ id: UInt64) -> Entry {
        change(index, .add(ReplicaID(id), address: "n\(id)", incarnation: Incarnation(high: id, low: 1)))
    }

    /// Replica 1 of three, restarted with these entries in its log and nothing of them applied.
    private func restarted(_ entries: [Entry], plant: RaftCore.Plant? = nil) -> ReplicaDriver {
        var configuration = ReplicaDriver.Configuration()
        configuration.core.plant = plant
        return ReplicaDriver(
            id: ReplicaID(1), incarnation: DriverFixture.incarnation(ReplicaID(1)), configuration: configuration,
            state: RestoredState(
                hardState: HardState(term: 1), base: BootstrapRecord.position, stored: [], unapplied: entries,
                applied: BootstrapRecord.position, membership: DriverFixture.membership),
            seed: 1, now: 0)
    }

    private func asksForVotes(_ driver: inout ReplicaDriver) -> Bool {
        driver.tick(now: driver.core.electionDeadline)
        return driver.core.role != .follower
    }

    @Test func ofTwoUnappliedChangesTheEarlierIsCommitted() throws {
        var driver = restarted([add(2, 4), DriverFixture.entry(3, 1), add(4, 5)])
        #expect(driver.core.commit == 2)
        #expect(!asksForVotes(&driver), "it campaigned by members of two changes ago")
        let write = try #require(driver.effects(now: 5_000).write)
        #expect(write.commands.map(\.entry.index) == [2])
        var completion = WriteCompletion(serial: write.serial, applied: LogPosition(index: 2, term: 1))
        completion.membership = try DriverFixture.membership.applying(
            MembershipChange(encoded: add(2, 4).payload), at: 2)
        driver.completed(completion)
        #expect(asksForVotes(&driver), "one change behind is what Raft allows")
    }

    @Test func ofOneUnappliedChangeNothingIsKnown() {
        var driver = restarted([add(2, 4), DriverFixture.entry(3, 1)])
        #expect(driver.core.commit == 1)
        #expect(asksForVotes(&driver))
    }

    @Test func withoutTheRuleItCampaigns() {
        var driver = restarted([add(2, 4), add(3, 5)], plant: .forgetsCommittedChanges)
        #expect(asksForVotes(&driver))
    }

    @Test func aFollowerReadsItFromWhatIsAppended() {
        let one = DriverFixture()
        one.receive(
            2, term: 1, .append(previous: BootstrapRecord.position, entries: [add(2, 4), add(3, 5)], commit: 1))
        #expect(one.driver.core.commit == 2)
    }

    // MARK: - Snapshots of later terms

    private func snapshot(at index: LogIndex, madeIn term: Term) -> SnapshotInstall {
        SnapshotInstall(
            header: SnapshotHeader(
                applied: AppliedState(position: LogPosition(index: index, term: 1), logTime: 0),
                membership: DriverFixture.membership, stateRows: [], families: [], term: term),
            families: [])
    }

    @Test func aSnapshotRaisesTheTermToThatOfItsMaker() throws {
        let one = DriverFixture()
        one.receive(2, term: 1, .heartbeat(commit: 1, round: 0))
        one.settle()
        one.driver.install(snapshot(at: 9, madeIn: 5), now: one.now)
        let effects = one.effects()
        #expect(effects.write?.hardState == HardState(term: 5))
        #expect(effects.write?.install != nil)
        one.complete(try #require(effects.write))
        // Replica 2 leads term 1, and may have other entries where this snapshot is.
        #expect(one.settle().isEmpty)
        one.append(2, term: 1, after: LogPosition(index: 1, term: 1), [1, 1], commit: 3)
        #expect(
            one.settle() == [.heartbeatReply(round: 0)], "the old leader must hear of the new term, and nothing else")
    }

    @Test func aSnapshotOfTheOwnTermIsAcknowledged() throws {
        let one = DriverFixture()
        one.receive(2, term: 1, .heartbeat(commit: 1, round: 0))
        one.settle()
        one.driver.install(snapshot(at: 9, madeIn: 1), now: one.now)
        #expect(one.settle() == [.appended(match: 9)])
    }

    @Test func aLeaderThatHearsOfASnapshotOfALaterTermGivesUp() {
        let one = DriverFixture()
        one.becomeLeader()
        one.driver.install(snapshot(at: 90, madeIn: 50), now: one.now)
        #expect(one.driver.core.role == .follower && one.driver.core.term == 50)
    }

    @Test func aHeaderSaysInWhichTermItWasMade() throws {
        let header = snapshot(at: 9, madeIn: 5).header
        #expect(header.encoded.first == 2)
        #expect(try SnapshotHeader(encoded: header.encoded) == header)
        let plain = snapshot(at: 9, madeIn: 0).header
        #expect(plain.term == 1 && plain.encoded.first == 1)
        #expect(try SnapshotHeader(encoded: plain.encoded) == plain)
    }
}
