import Keyspace
import Simulator
import Testing

/// Histories that one key can have, and others that it can't.
@Suite struct LinearizabilityTests {
    /// Operations in the order in which they are written down: `a` begins, `b` ends, at these moments.
    private struct History {
        var operations: [ObservedOperation] = []

        mutating func get(_ value: String?, _ began: UInt64, _ ended: UInt64) {
            add(.get, began, ended, .value(value.map { Array($0.utf8) }))
        }
        mutating func write(_ operation: KeyOperation, _ reply: KeyReply, _ began: UInt64, _ ended: UInt64) {
            add(.write(operation), began, ended, .written(reply))
        }
        mutating func unknown(_ operation: KeyOperation, _ began: UInt64) {
            add(.write(operation), began, .max, .unknown)
        }
        private mutating func add(
            _ call: ObservedOperation.Call, _ began: UInt64, _ ended: UInt64, _ outcome: ObservedOperation.Outcome
        ) {
            operations.append(ObservedOperation(operations.count + 1, call, began: began, ended: ended, outcome))
        }
        var isGood: Bool { LinearizabilityChecker.check(operations) == .linearizable }
        var isBad: Bool {
            if case .violated = LinearizabilityChecker.check(operations) { true } else { false }
        }
    }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
    private func put(_ text: String) -> KeyOperation { .put(value: bytes(text)) }
    private func append(_ text: String) -> KeyOperation { .append(value: bytes(text)) }

    @Test func oneAfterTheOtherIsGood() {
        var history = History()
        history.get(nil, 1, 2)
        history.write(put("a"), .put, 3, 4)
        history.get("a", 5, 6)
        history.write(append("b"), .appended(length: 2), 7, 8)
        history.get("ab", 9, 10)
        history.write(.delete, .deleted(existed: true), 11, 12)
        history.get(nil, 13, 14)
        #expect(history.isGood)
    }

    @Test func aStaleReadIsFound() {
        var history = History()
        history.write(put("a"), .put, 1, 2)
        history.write(put("b"), .put, 3, 4)
        history.get("a", 5, 6)
        #expect(history.isBad)
    }

    @Test func aReadBesideAWriteSeesEitherValue() {
        for value in ["a", "b"] {
            var history = History()
            history.write(put("a"), .put, 1, 2)
            history.write(put("b"), .put, 3, 8)
            history.get(value, 4, 5)
            #expect(history.isGood)
        }
    }

    @Test func readsThatGoBackAreFound() {
        var history = History()
        history.write(put("a"), .put, 1, 2)
        history.write(put("b"), .put, 3, 20)
        history.get("b", 4, 5)
        history.get("a", 6, 7)
        #expect(history.isBad)
    }

    @Test func aLostWriteIsFound() {
        var history = History()
        history.write(put("a"), .put, 1, 2)
        history.get(nil, 3, 4)
        #expect(history.isBad)
    }

    @Test func anAppendThatHappenedTwiceIsFound() {
        var history = History()
        history.write(append("a"), .appended(length: 1), 1, 2)
        history.get("aa", 3, 4)
        #expect(history.isBad)
    }

    @Test func aWriteOfUnknownOutcomeHappensLateOrNever() {
        for seen in ["a", "b"] {
            var history = History()
            history.write(put("a"), .put, 1, 2)
            history.unknown(put("b"), 3)
            history.get("a", 10, 11)
            history.get(seen, 20, 21)
            #expect(history.isGood)
        }
    }

    @Test func aWriteOfUnknownOutcomeHappensOnce() {
        var history = History()
        history.unknown(append("a"), 1)
        history.get("a", 2, 3)
        history.get("aa", 4, 5)
        #expect(history.isBad)
    }

    @Test func aWriteOfUnknownOutcomeDoesNotHappenBeforeItBegan() {
        var history = History()
        history.get("a", 1, 2)
        history.unknown(put("a"), 3)
        #expect(history.isBad)
    }

    @Test func oneOfTwoComparisonsWins() {
        func history(_ second: Bool) -> History {
            var history = History()
            history.write(
                .compareAndSet(expected: nil, value: bytes("a")), .compared(succeeded: true), 1, 10)
            history.write(
                .compareAndSet(expected: nil, value: bytes("b")), .compared(succeeded: second), 2, 9)
            history.get("a", 11, 12)
            return history
        }
        #expect(history(false).isGood)
        #expect(history(true).isBad)
    }

    @Test func anAnswerAboutTheStateBeforeCounts() {
        var history = History()
        history.write(put("a"), .put, 1, 2)
        history.write(.delete, .deleted(existed: false), 3, 4)
        #expect(history.isBad)
    }

    @Test func manyUnknownWritesAreSearchedThrough() {
        var history = History()
        for number in 0..<14 { history.unknown(put("u\(number)"), UInt64(number + 1)) }
        for number in 0..<40 {
            history.write(put("k\(number)"), .put, UInt64(100 + 4 * number), UInt64(101 + 4 * number))
            history.get(
                number % 5 == 0 ? "u\(number / 5)" : "k\(number)", UInt64(102 + 4 * number), UInt64(103 + 4 * number))
        }
        #expect(history.isGood)
    }

    @Test func aBadHistoryNamesTheOperationThatNothingExplains() {
        var history = History()
        history.write(put("a"), .put, 1, 2)
        history.get("b", 3, 4)
        guard case .violated(let sentence) = LinearizabilityChecker.check(history.operations) else {
            Issue.record("not found")
            return
        }
        #expect(sentence.contains("#2 get = \"b\""))
    }

    /// As much at once as a hot shard has: what is known of the order makes it a matter of steps, not of luck.
    @Test func athousandAtOnceAreDecidedByTheOrderInWhichTheyWereDone() {
        var operations: [ObservedOperation] = []
        var value: [UInt8] = []
        let count = 1_000
        for number in 0..<count {
            let part = bytes("<\((number * 617) % count)>")
            value += part
            operations.append(
                ObservedOperation(
                    number, .write(.append(value: part)), began: UInt64(number),
                    ended: UInt64(10_000 + number * 7 % count),
                    .written(.appended(length: value.count)), hint: UInt64(2_000 + number)))
            operations.append(
                ObservedOperation(
                    count + number, .get, began: UInt64(5_000 + number), ended: UInt64(20_000 + number), .value(value)))
        }
        #expect(LinearizabilityChecker.check(operations, stepsMax: 10_000) == .linearizable)
        // And a hint that is wrong makes no good history of a bad one, nor a bad one of a good one.
        for place in operations.indices { operations[place].hint = UInt64(operations.count - place) }
        let few = Array(operations.prefix(24))
        #expect(LinearizabilityChecker.check(few) == .linearizable)
        var bad = few
        bad[3].outcome = .value(bytes("never"))
        if case .violated = LinearizabilityChecker.check(bad) {} else { Issue.record("a read of what was never there") }
    }
}
