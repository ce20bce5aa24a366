import Keyspace
import RaftLog
import Sharding
import Testing

/// Files that several receivers may read, and that must not stay.
@Suite struct ExportTableTests {
    private let subject = ExportTable.Subject(shard: ShardEpoch(shard: 3, epoch: 2), formats: ["portable"])

    @Test func whatIsTheSameForAllIsMadeOnce() {
        var table = ExportTable()
        #expect(table.open(subject, as: 1, now: 0) == .make)
        #expect(table.open(subject, as: 2, now: 0) == .wait(1))
        table.made(1, now: 5)
        #expect(table.open(subject, as: 3, now: 9) == .ready(1))
        let other = ExportTable.Subject(shard: subject.shard, formats: [])
        #expect(table.open(other, as: 4, now: 9) == .make)
        #expect(table.has(subject) && table.has(other))
    }

    @Test func itGoesWithTheLastWhoHasItAlsoIfThatOneStillWaitedWhenTheFirstWasDone() {
        var table = ExportTable()
        _ = table.open(subject, as: 1, now: 0)
        _ = table.open(subject, as: 2, now: 0)
        table.made(1, now: 5)
        let closes = [table.close(1)]
        #expect(closes == [false] && table.has(subject))
        let later = [table.close(1), table.close(1)]
        #expect(later == [true, false] && !table.has(subject))
    }

    @Test func whatHasFailedIsMadeAnew() {
        var table = ExportTable()
        _ = table.open(subject, as: 1, now: 0)
        table.failed(1)
        #expect(table.open(subject, as: 2, now: 0) == .make)
    }

    @Test func thereAreOnlySoManyAndTheOnesThatAreBeingMadeCount() {
        var table = ExportTable()
        let seats = (1...UInt64(ExportTable.openMax)).map { table.open(nil, as: $0, now: 0) }
        #expect(seats.allSatisfy { $0 == .make })
        #expect(table.open(nil, as: 100, now: 0) == .full)
        table.made(1, now: 0)
        #expect(table.open(nil, as: 100, now: 0) == .full)
        let isLast = table.close(1)
        #expect(isLast)
        #expect(table.open(nil, as: 100, now: 0) == .make)
    }

    @Test func whatNobodyReadsGoesAndWhatIsReadStays() {
        var table = ExportTable()
        _ = table.open(nil, as: 1, now: 0)
        #expect(table.removeIdle(now: 1_000_000) == [], "it is still being made")
        let early = table.beginRead(1)
        #expect(!early)
        table.made(1, now: 1_000)
        #expect(table.looksIdle(1, now: 2_000) == 61_001)
        let begins = table.beginRead(1)
        #expect(begins)
        #expect(table.removeIdle(now: 500_000) == [])
        #expect(table.looksIdle(1, now: 500_000) == 560_001, "again after a while")
        table.endRead(1, now: 500_000)
        #expect(table.removeIdle(now: 560_000) == [])
        #expect(table.removeIdle(now: 560_001) == [1])
        #expect(table.looksIdle(1, now: 560_001) == nil)
    }
}
