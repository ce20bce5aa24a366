package import Keyspace
internal import Synchronization

/// Numbers writes, so that the servers execute each of them once however often it is sent.
package final class WriteSession: Sendable {
    package let token: [UInt8]
    /// In Unix milliseconds, which log time follows.
    package let end: UInt64

    private struct State {
        var next: UInt64 = 1
        var lowest: UInt64 = 1
        /// Answered, counted from `lowest` on.
        var answered: [Bool] = []
        var skipped = 0
    }
    private let state = Mutex(State())

    /// - Parameter lifetime: in milliseconds; servers accept up to 25 hours.
    package init(now: UInt64, lifetime: UInt64) {
        var random = SystemRandomNumberGenerator()
        token = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        end = now + lifetime
    }

    package func begin() -> UInt64 {
        state.withLock { state in
            defer { state.next += 1 }
            state.answered.append(false)
            return state.next
        }
    }

    /// Some write was begun in it, so servers may know of it.
    package var hasBegun: Bool { state.withLock { $0.next > 1 } }

    /// The lowest number that is still without an answer.
    package var lowestUnanswered: UInt64 { state.withLock { $0.lowest } }

    /// What an attempt of the write with this number carries.
    package func stamp(_ sequence: UInt64) -> SessionStamp {
        let (lowest, next) = state.withLock { ($0.lowest, $0.next) }
        // The servers forget answers below the lowest, and take a number that they don't know for a write of its own.
        precondition(
            lowest <= sequence && sequence < next,
            "write \(sequence) of a session whose open writes are \(lowest)..<\(next)")
        return SessionStamp(token: token, end: end, sequence: sequence, lowestUnanswered: lowest)
    }

    /// The caller will not ask about `sequence` again.
    package func finish(_ sequence: UInt64) {
        state.withLock { state in
            precondition(sequence < state.next, "write \(sequence) ends, and the session has begun \(state.next - 1)")
            guard sequence >= state.lowest else { return }
            let place = Int(sequence - state.lowest) + state.skipped
            guard state.answered.indices.contains(place) else { return }
            state.answered[place] = true
            while state.skipped < state.answered.count, state.answered[state.skipped] {
                state.skipped += 1
                state.lowest += 1
            }
            // Shifting an array costs its length: not for every answer.
            if state.skipped > 1_024 {
                state.answered.removeFirst(state.skipped)
                state.skipped = 0
            }
        }
    }
}
