import Synchronization
import Testing
import Wire

/// What stands still is ended; what gets on is left alone, however long it takes. Time passes only by sleeping.
@Suite struct IdleDeadlineTests {
    private final class Clock: Sendable {
        let now = Mutex(Duration.zero)
        @Sendable func read() -> Duration { now.withLock { $0 } }
        @Sendable func sleep(_ wait: Duration) async throws {
            now.withLock { $0 += wait }
            await Task.yield()
            try Task.checkCancellation()
        }
    }

    @Test func whatStandsStillIsEnded() async throws {
        let clock = Clock()
        await #expect(throws: IdleTooLong.self) {
            try await withIdleDeadline(.seconds(15), now: clock.read, sleep: clock.sleep) { _ in
                while true {
                    try Task.checkCancellation()
                    await Task.yield()
                }
            }
        }
        #expect(clock.read() == .seconds(15))
    }

    @Test func whatGetsOnMayTakeLong() async throws {
        let clock = Clock()
        let beats = Mutex(0)
        // Each time that the watchman wakes, something has come meanwhile.
        let result = try await withIdleDeadline(
            .seconds(15), now: clock.read,
            sleep: { wait in
                let before = beats.withLock { $0 }
                try await clock.sleep(wait - .seconds(1))
                while beats.withLock({ $0 }) == before {
                    try Task.checkCancellation()
                    await Task.yield()
                }
                try await clock.sleep(.seconds(1))
            },
            { pulse in
                for _ in 0..<100 {
                    let seen = clock.read()
                    pulse.beat()
                    beats.withLock { $0 += 1 }
                    while clock.read() == seen { await Task.yield() }
                }
                return 7
            })
        #expect(result == 7)
        #expect(clock.read() > .seconds(60))
    }

    @Test func aFailureIsPassedOn() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) { try await withIdleDeadline(.seconds(15)) { _ in throw Broken() } }
    }
}
