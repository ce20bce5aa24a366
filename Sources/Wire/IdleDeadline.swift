import Synchronization

/// Nothing came for so long that the other side counts as broken.
public struct IdleTooLong: Error, CustomStringConvertible {
    public var limit: Duration
    public var description: String { "nothing came for \(limit.components.seconds) s" }
}

/// Says that something got on. Made by `withIdleDeadline`.
public final class Pulse: Sendable {
    private let heardAt: Mutex<Duration>
    private let now: @Sendable () -> Duration

    init(_ now: @escaping @Sendable () -> Duration) {
        self.now = now
        heardAt = Mutex(now())
    }

    public func beat() { heardAt.withLock { $0 = now() } }

    func left(of limit: Duration) -> Duration { limit - (now() - heardAt.withLock { $0 }) }
}

/// Runs `body`, and ends it with `IdleTooLong` when it hasn't beaten the pulse for `limit`.
///
/// A stream has no deadline as a whole, since how long it takes depends on how much there is. What stands still is found
/// out by this: keep-alives only notice that the other machine is gone, not that its program sends (or takes) nothing.
///
/// - Parameters:
///   - now: since any moment that stays the same.
///   - sleep: waits; injected by tests.
public func withIdleDeadline<Result: Sendable>(
    _ limit: Duration, now: (@Sendable () -> Duration)? = nil,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
    _ body: @escaping @Sendable (Pulse) async throws -> Result
) async throws -> Result {
    let start = ContinuousClock.now
    let pulse = Pulse(now ?? { ContinuousClock.now - start })
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await body(pulse) }
        group.addTask {
            while true {
                let left = pulse.left(of: limit)
                guard left > .zero else { throw IdleTooLong(limit: limit) }
                try await sleep(left)
            }
        }
        while let result = try await group.next() {
            if let result { return result }
        }
        throw CancellationError()
    }
}
