import ClientCore
import Keyspace
import Testing

@Suite struct SessionTableTests {
    private func token(_ number: UInt8) -> [UInt8] { [UInt8](repeating: number, count: 16) }

    @Test func aShardsFirstWriteNeedsASession() {
        var table = SessionTable(lifetime: 60_000)
        #expect(table.begin(in: 3, wall: 1_000) == nil)
        let write = table.open(token(1), in: 3, wall: 1_000)
        #expect(
            table.stamp(write) == SessionStamp(token: token(1), end: 61_000, sequence: 1, lowestUnanswered: 1))
        #expect(table.begin(in: 3, wall: 1_000)?.sequence == 2)
        #expect(table.begin(in: 4, wall: 1_000) == nil)
    }

    @Test func whoComesSecondWithATokenTakesTheSessionThatIsThere() {
        var table = SessionTable(lifetime: 60_000)
        _ = table.open(token(1), in: 3, wall: 0)
        let second = table.open(token(2), in: 3, wall: 0)
        #expect(table.stamp(second).token == token(1) && second.sequence == 2)
    }

    @Test func aSessionTakesNoNewWritesInItsSecondHalf() {
        var table = SessionTable(lifetime: 60_000)
        let open = table.open(token(1), in: 3, wall: 0)
        #expect(table.begin(in: 3, wall: 29_999) != nil)
        #expect(table.begin(in: 3, wall: 30_000) == nil)
        let fresh = table.open(token(2), in: 3, wall: 30_000)
        #expect(table.stamp(fresh).end == 90_000 && fresh.sequence == 1)
        // The write that is open keeps its session and its number.
        #expect(table.stamp(open).token == token(1) && table.stamp(open).sequence == 1)
        table.finish(open)
        #expect(table.stamp(fresh).lowestUnanswered == 1)
    }

    @Test func theNextSessionFollowsTheShardsTime() {
        var table = SessionTable(lifetime: 60_000)
        let refused = table.open(token(1), in: 3, wall: 1_000)
        table.follow(500_000, refusing: refused, wall: 1_000)
        table.finish(refused)
        #expect(table.begin(in: 3, wall: 1_000) == nil)
        let second = table.open(token(2), in: 3, wall: 2_000)
        #expect(table.stamp(second).end == 561_000)
        // And those after it.
        #expect(table.begin(in: 3, wall: 32_000) == nil)
        let third = table.open(token(3), in: 3, wall: 32_000)
        #expect(table.stamp(third).end == 591_000)
    }

    @Test func aSecondRefusalOfTheSameSessionLeavesItsSuccessorAlone() {
        var table = SessionTable(lifetime: 60_000)
        let first = table.open(token(1), in: 3, wall: 0)
        let second = table.open(token(9), in: 3, wall: 0)
        table.follow(500_000, refusing: first, wall: 0)
        _ = table.open(token(2), in: 3, wall: 0)
        table.follow(900_000, refusing: second, wall: 0)
        let next = table.begin(in: 3, wall: 0)
        #expect(next.map { table.stamp($0).token } == token(2))
    }

    @Test(arguments: [UInt64.max, UInt64(Int64.max), 0])
    func noTimeThatAServerSaysIsTooMuch(_ logTime: UInt64) {
        var table = SessionTable(lifetime: .max)
        let refused = table.open(token(1), in: 3, wall: .max / 2)
        table.follow(logTime, refusing: refused, wall: .max / 2)
        table.finish(refused)
        let write = table.open(token(2), in: 3, wall: .max / 2)
        #expect(table.stamp(write).sequence == 1)
    }

    @Test func closingTellsTheSessionsThatServersMayKnow() {
        var table = SessionTable(lifetime: 60_000)
        let open = table.open(token(1), in: 3, wall: 0)
        table.finish(table.open(token(2), in: 5, wall: 0))
        let closed = table.retireAll()
        #expect(closed.map(\.shard) == [3, 5] && closed.map(\.token) == [token(1), token(2)])
        #expect(table.retireAll().isEmpty)
        #expect(table.begin(in: 3, wall: 0) == nil)
        #expect(table.stamp(open).token == token(1))
    }
}
