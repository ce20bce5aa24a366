internal import Synchronization

/// Hands each new piece to everyone who listens. Who is slow misses pieces, never a newer one for an older.
package final class Broadcast: Sendable {
    /// More listeners than that are an accident.
    package static let listenersMax = 256

    private struct State {
        var listeners: [UInt64: AsyncStream<[UInt8]>.Continuation] = [:]
        var next: UInt64 = 0
        var sentAt = ContinuousClock.now
    }

    private let state = Mutex(State())

    package init() {}

    /// A stream that begins with `first`; `nil` if too many listen.
    package func listen(beginningWith first: [UInt8]? = nil) -> AsyncStream<[UInt8]>? {
        let (stream, continuation) = AsyncStream<[UInt8]>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state -> UInt64? in
            guard state.listeners.count < Self.listenersMax else { return nil }
            state.next += 1
            state.listeners[state.next] = continuation
            if let first { continuation.yield(first) }
            return state.next
        }
        guard let id else { return nil }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.listeners.removeValue(forKey: id) }
        }
        return stream
    }

    /// Whether there is anyone to make a piece for.
    package var isHeard: Bool { state.withLock { !$0.listeners.isEmpty } }

    package func send(_ piece: [UInt8]) {
        let listeners = state.withLock { state in
            state.sentAt = .now
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.yield(piece) }
    }

    /// After so long without a newer piece: for connections to stay open, and for ones that are gone to be noticed.
    package func keepAlive(_ piece: [UInt8], after silence: Duration) {
        let listeners = state.withLock { state in
            ContinuousClock.now - state.sentAt < silence ? [] : Array(state.listeners.values)
        }
        for listener in listeners {
            // What hasn't left yet is worth more.
            if case .dropped(let newest) = listener.yield(piece) { listener.yield(newest) }
        }
    }

    package func finish() {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.finish() }
    }
}
