internal import Bytes
package import Keyspace

/// Numbers writes, so that the servers execute each of them once however often it is sent.
package struct WriteSession: Sendable {
    package let token: [UInt8]
    /// In milliseconds of the shard's log time (Unix epoch).
    package let end: UInt64

    private var next: UInt64 = 1
    private var lowest: UInt64 = 1
    /// Which of the numbers from `lowest - skipped` on have their answer.
    private var answered: [Bool] = []
    /// At the head of `answered`, numbers below `lowest`.
    private var skipped = 0

    /// - Parameters:
    ///   - token: 16 random bytes.
    ///   - lifetime: in milliseconds; servers accept up to 25 hours.
    package init(token: [UInt8], now: UInt64, lifetime: UInt64) {
        self.token = token
        end = now + lifetime
    }

    /// The number of the next write.
    package mutating func begin() -> UInt64 {
        defer { next += 1 }
        answered.append(false)
        return next
    }

    /// Some write was begun in it, so servers may know of it.
    package var hasBegun: Bool { next > 1 }

    /// The lowest number that is still without an answer.
    package var lowestUnanswered: UInt64 { lowest }

    package var hasUnanswered: Bool { lowest < next }

    /// What an attempt of the write with this number carries.
    package func stamp(_ sequence: UInt64) -> SessionStamp {
        // The servers forget answers below the lowest, and take a number that they don't know for a write of its own.
        invariant(
            lowest <= sequence && sequence < next,
            "write \(sequence) of a session whose open writes are \(lowest)..<\(next)")
        return SessionStamp(token: token, end: end, sequence: sequence, lowestUnanswered: lowest)
    }

    /// The caller will not ask about `sequence` again.
    package mutating func finish(_ sequence: UInt64) {
        invariant(sequence < next, "write \(sequence) ends, and the session has begun \(next - 1)")
        guard sequence >= lowest else { return }
        let place = Int(sequence - lowest) + skipped
        guard answered.indices.contains(place) else { return }
        answered[place] = true
        while skipped < answered.count, answered[skipped] {
            skipped += 1
            lowest += 1
        }
        // Shifting an array costs its length: not for every answer.
        if skipped > 1_024 {
            answered.removeFirst(skipped)
            skipped = 0
        }
    }
}
