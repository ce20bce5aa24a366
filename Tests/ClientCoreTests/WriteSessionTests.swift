import ClientCore
import Keyspace
import Testing

@Suite struct WriteSessionTests {
    private let token = [UInt8](repeating: 7, count: 16)

    @Test func numbersCountFromOneAndAreNeverUsedTwice() {
        var session = WriteSession(token: token, now: 1_000, lifetime: 60_000)
        let numbers = (0..<5).map { _ in session.begin() }
        #expect(numbers == [1, 2, 3, 4, 5])
        #expect(session.token == token)
        #expect(session.end == 61_000)
    }

    @Test func theLowestUnansweredWaitsForTheOldest() {
        var session = WriteSession(token: token, now: 0, lifetime: 60_000)
        let numbers = (0..<4).map { _ in session.begin() }
        session.finish(numbers[1])
        session.finish(numbers[2])
        #expect(session.lowestUnanswered == 1)
        session.finish(numbers[0])
        #expect(session.lowestUnanswered == 4)
        session.finish(numbers[3])
        #expect(session.lowestUnanswered == 5)
    }

    @Test func manyAnswersInAnyOrderEndWhereCountingSays() {
        var session = WriteSession(token: token, now: 0, lifetime: 60_000)
        for round in 0..<20 {
            let numbers = (0..<500).map { _ in session.begin() }
            for number in numbers.reversed() { session.finish(number) }
            #expect(session.lowestUnanswered == UInt64((round + 1) * 500 + 1))
        }
    }

    @Test func anAnswerThatComesTwiceCountsOnce() {
        var session = WriteSession(token: token, now: 0, lifetime: 60_000)
        let first = session.begin()
        _ = session.begin()
        session.finish(first)
        session.finish(first)
        #expect(session.lowestUnanswered == 2)
    }

    @Test func anAttemptSaysWhichAnswersAreNoLongerNeeded() {
        var session = WriteSession(token: token, now: 5, lifetime: 60_000)
        let (first, second) = (session.begin(), session.begin())
        session.finish(first)
        #expect(
            session.stamp(second)
                == SessionStamp(token: token, end: 60_005, sequence: second, lowestUnanswered: second))
    }
}
