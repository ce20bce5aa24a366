import Engines
import RaftLog
import Testing

/// What log time follows (decision 0023).
@Suite struct GroupClockTests {
    private static let hour: Milliseconds = 3_600_000
    private static let start: Milliseconds = 1_700_000_000_000

    @Test func aJumpAheadIsFollowedByATenth() {
        var clock = SteadyClock()
        clock.observe(wall: Self.start, now: 1_000)
        clock.observe(wall: Self.start + 1_000, now: 2_000)
        #expect(clock.time(2_000) == Self.start + 1_000 && clock.ahead == 0)
        clock.observe(wall: Self.start + 2_000 + 2 * Self.hour, now: 3_000)
        #expect(clock.time(3_000) == Self.start + 2_000 + 100)
        #expect(clock.ahead == Int64(2 * Self.hour - 100))
        // However often one looks.
        for now in stride(from: Milliseconds(3_010), through: 4_000, by: 10) {
            clock.observe(wall: Self.start + 2 * Self.hour + now, now: now)
        }
        #expect(clock.time(4_000) <= Self.start + 3_000 + 200)
    }

    @Test func aJumpBackIsFollowedAtOnce() {
        var clock = SteadyClock()
        clock.observe(wall: Self.start, now: 0)
        clock.observe(wall: Self.start - Self.hour, now: 1_000)
        #expect(clock.time(1_000) == Self.start - Self.hour)
    }

    @Test func noClockCanMakeASumOverflow() {
        var clock = SteadyClock()
        clock.observe(wall: .max, now: 0)
        clock.observe(wall: .max, now: .max)
        #expect(clock.time(.max) > 0)
    }

    /// Leads with its own clock at `wall`, and followers that show `clocks`.
    private func leader(wall: Milliseconds, clocks: [Milliseconds]) -> DriverFixture {
        let one = DriverFixture()
        one.driver.observe(wall: wall, now: one.now)
        one.becomeLeader()
        for (peer, clock) in zip([2, 3] as [UInt64], clocks) {
            var message = Message(
                from: ReplicaID(peer), to: ReplicaID(1), fromIncarnation: DriverFixture.incarnation(ReplicaID(peer)),
                toIncarnation: DriverFixture.incarnation(ReplicaID(1)), term: one.driver.core.term,
                body: .heartbeatReply(round: 0))
            message.clock = clock
            one.driver.receive(message, now: one.now)
        }
        return one
    }

    private func stamp(_ one: DriverFixture) throws -> Milliseconds {
        _ = try one.driver.propose([1], token: nil, now: one.now).get()
        return one.effects().write?.entries.last?.stamp ?? 0
    }

    @Test(arguments: [2 * hour, 365 * 24 * hour]) func oneClockThatIsAheadMovesNothing(by ahead: Milliseconds) throws {
        let own = leader(wall: Self.start + ahead, clocks: [Self.start, Self.start + 5])
        #expect(try stamp(own) == Self.start + 5)
        let other = leader(wall: Self.start + 600, clocks: [Self.start + ahead, Self.start])
        #expect(try stamp(other) <= Self.start + 600 + other.now)
    }

    @Test func aClockThatIsBehindHoldsNothingUp() throws {
        let own = leader(wall: Self.start - 24 * Self.hour, clocks: [Self.start, Self.start + 5])
        #expect(try stamp(own) == Self.start)
    }

    @Test func aReadingThatIsOldCountsForNothing() throws {
        let one = leader(wall: Self.start, clocks: [Self.start + 365 * 24 * Self.hour])
        // Its clock has been set right, and it can't be heard; now the third one's is wrong.
        one.now += 6_000
        var message = Message(
            from: ReplicaID(3), to: ReplicaID(1), fromIncarnation: DriverFixture.incarnation(ReplicaID(3)),
            toIncarnation: DriverFixture.incarnation(ReplicaID(1)), term: one.driver.core.term,
            body: .heartbeatReply(round: 0))
        message.clock = Self.start + 365 * 24 * Self.hour
        one.driver.receive(message, now: one.now)
        #expect(try stamp(one) <= Self.start + one.now)
    }

    @Test func withoutAQuorumOfClocksLogTimeStands() throws {
        let own = leader(wall: Self.start, clocks: [])
        #expect(try stamp(own) == 0)
    }

    @Test func logTimeThatIsAheadGoesOnAtHalfSpeedUntilTheClocksHaveCaughtUp() throws {
        let one = leader(wall: Self.start, clocks: [Self.start, Self.start])
        one.append(2, term: 99, after: one.driver.core.lastPosition, [])
        let ahead = Self.start + 10_000
        one.receive(
            2, term: 100,
            .append(
                previous: one.driver.core.lastPosition,
                entries: [
                    Entry(
                        index: one.driver.core.lastPosition.index + 1, term: 100, kind: .command, stamp: ahead,
                        payload: [])
                ], commit: 0))
        one.settle()
        one.becomeLeader()
        let (begun, first) = (one.now, try stamp(one))
        #expect(first >= ahead)
        one.now += 2_000
        let second = try stamp(one)
        #expect(second == first + 1_000, "\(begun): \(first), \(second)")
    }

    @Test func answersCarryTheClock() throws {
        let one = DriverFixture()
        one.driver.observe(wall: Self.start, now: 0)
        one.receive(2, term: 1, .heartbeat(commit: 1, round: 0))
        let reply = try #require(one.effects().messages.first)
        #expect(reply.clock == Self.start)
        #expect(reply.encoded.first == 2)
        #expect(try Message(encoded: reply.encoded) == reply)
    }
}
