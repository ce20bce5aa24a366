import RaftLog
import Testing

@Suite struct LogTailTests {
    /// A log above base 2@1 with entries of these terms from index 3 on.
    private func tail(_ terms: [Term]) -> LogTail {
        var tail = LogTail(base: LogPosition(index: 2, term: 1))
        for (offset, term) in terms.enumerated() { tail.append(entry(3 + LogIndex(offset), term)) }
        return tail
    }

    private func entry(_ index: LogIndex, _ term: Term) -> Entry {
        Entry(index: index, term: term, kind: .command, stamp: 0, payload: [UInt8](repeating: 1, count: 8))
    }

    @Test func itKnowsTheTermOfEveryIndexThatIsNotCompacted() {
        let tail = tail([1, 2, 2, 5])
        #expect((0...8).map { tail.term(at: $0) } == [nil, nil, 1, 1, 2, 2, 5, nil, nil])
        #expect(tail.last == LogPosition(index: 6, term: 5))
    }

    @Test func theConflictSearchFindsTheNewestPositionOfATermOrOlder() {
        let tail = tail([1, 2, 2, 5])
        #expect(tail.newestPosition(atMost: 6, term: 5) == LogPosition(index: 6, term: 5))
        #expect(tail.newestPosition(atMost: 6, term: 4) == LogPosition(index: 5, term: 2))
        #expect(tail.newestPosition(atMost: 4, term: 4) == LogPosition(index: 4, term: 2))
        #expect(tail.newestPosition(atMost: 99, term: 1) == LogPosition(index: 3, term: 1))
        #expect(tail.newestPosition(atMost: 6, term: 0) == tail.base)
        #expect(tail.newestPosition(atMost: 0, term: 9) == tail.base)
    }

    @Test func truncationForgetsTermsToo() {
        for keep in LogIndex(2)...6 {
            var tail = tail([1, 2, 2, 5])
            let before = (0...keep).map { tail.term(at: $0) }
            tail.truncate(after: keep)
            #expect((0...keep).map { tail.term(at: $0) } == before)
            #expect(tail.last.index == keep)
            #expect(tail.term(at: keep + 1) == nil)
            tail.append(entry(keep + 1, 7))
            #expect(tail.term(at: keep + 1) == 7)
        }
    }

    @Test func compactionKeepsTheTermOfItsPosition() {
        for base in LogIndex(2)...6 {
            var tail = tail([1, 2, 2, 5])
            let before = (base...7).map { tail.term(at: $0) }
            tail.compact(through: base)
            #expect((base...7).map { tail.term(at: $0) } == before, "base \(base)")
            #expect(tail.term(at: base - 1) == nil)
            tail.truncate(after: base)
            tail.append(entry(base + 1, 6))
            #expect(tail.term(at: base + 1) == 6)
            #expect(tail.last == LogPosition(index: base + 1, term: 6))
        }
    }

    @Test func atLeastOneEntryIsHandedOutWhateverItsSize() {
        let tail = tail([1, 1, 1])
        #expect(tail.entries(from: 3, through: 5, bytesMax: 1)?.map(\.index) == [3])
        #expect(tail.entries(from: 3, through: 5, bytesMax: 80)?.map(\.index) == [3, 4])
        #expect(tail.entries(from: 3, through: 5, bytesMax: .max)?.map(\.index) == [3, 4, 5])
        #expect(tail.entries(from: 6, through: 5, bytesMax: 1) == [])
    }

    @Test func evictionGivesMemoryBackAndKeepsTerms() {
        var tail = tail([1, 2, 2, 5])
        tail.evict(through: 4, bytesMax: 0)
        #expect(tail.firstInMemory == 5)
        #expect(tail.entries(from: 4, through: 6, bytesMax: .max) == nil)
        #expect(tail.entries(from: 5, through: 6, bytesMax: .max)?.count == 2)
        #expect(tail.term(at: 3) == 1)
        #expect(tail.bytes == 2 * entry(0, 0).size)
        tail.truncate(after: 4)
        #expect(tail.bytes == 0)
        tail.append(entry(5, 6))
        #expect(tail.entries(from: 5, through: 5, bytesMax: .max)?.count == 1)
    }

    @Test func aSnapshotReplacesEverything() {
        var tail = tail([1, 2, 2, 5])
        tail.reset(to: LogPosition(index: 100, term: 9))
        #expect(tail.last == LogPosition(index: 100, term: 9))
        #expect(tail.term(at: 6) == nil)
        #expect(tail.term(at: 100) == 9)
        #expect(tail.bytes == 0)
    }
}
