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

    /// The lowest number that is still without an answer.
    package var lowestUnanswered: UInt64 { state.withLock { $0.lowest } }

    /// The caller will not ask about `sequence` again.
    package func finish(_ sequence: UInt64) {
        state.withLock { state in
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
