import Engines
import Foundation
import Testing

@Suite struct TurnLockTests {
    /// While one has the turn the others line up, one after another; each gets it in the order in which it came.
    @Test func turnsAreGivenInTheOrderOfAsking() throws {
        for _ in 0..<20 {
            let lock = TurnLock()
            let order = OrderedNotes()
            let isDone = DispatchGroup()
            try lock.withTurn { () throws(EngineError) in
                for number in 0..<8 {
                    isDone.enter()
                    Thread.detachNewThread {
                        try? lock.withTurn { () throws(EngineError) in order.note(number) }
                        isDone.leave()
                    }
                    while lock.asked < number + 2 { sched_yield() }
                }
            }
            isDone.wait()
            #expect(order.all == Array(0..<8))
        }
    }

    /// Slice by slice: who asks again at once goes behind who has waited.
    @Test func whoAsksAgainGoesBehindWhoWaits() throws {
        let lock = TurnLock()
        let order = OrderedNotes()
        let isDone = DispatchGroup()
        try lock.withTurn { () throws(EngineError) in
            isDone.enter()
            Thread.detachNewThread {
                try? lock.withTurn { () throws(EngineError) in order.note(1) }
                isDone.leave()
            }
            while lock.asked < 2 { sched_yield() }
        }
        try lock.withTurn { () throws(EngineError) in order.note(2) }
        isDone.wait()
        #expect(order.all == [1, 2])
    }

    @Test func aTurnEndsWithAnErrorToo() throws {
        let lock = TurnLock()
        #expect(throws: EngineError.closed) { try lock.withTurn { () throws(EngineError) in throw .closed } }
        #expect(try lock.withTurn { () throws(EngineError) in 7 } == 7)
    }
}

private final class OrderedNotes: @unchecked Sendable {
    private let lock = NSLock()
    private var notes: [Int] = []
    func note(_ number: Int) { lock.withLock { notes.append(number) } }
    var all: [Int] { lock.withLock { notes } }
}
