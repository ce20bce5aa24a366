internal import Synchronization

/// A histogram that threads share. Recording costs an uncontended lock, about 20 ns.
public final class Meter: Sendable {
    private let histogram = Mutex(DurationHistogram())

    public init() {}

    public func record(_ nanoseconds: UInt64) { histogram.withLock { $0.record(nanoseconds) } }

    public var value: DurationHistogram { histogram.withLock { $0 } }
}

/// A count that only grows, until the process ends.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    public init() {}

    public func add(_ more: UInt64 = 1) { count.add(more, ordering: .relaxed) }

    public var value: UInt64 { count.load(ordering: .relaxed) }
}
