internal import Glibc

/// An unbounded queue between threads: many post, one takes everything at once.
///
/// Bounds are kept where things enter (admission), so that nothing inside the host ever blocks on another part.
final class Mailbox<Element: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var elements: [Element] = []
    private var isClosed = false
    private var isWaiting = false

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // Deadlines are monotonic: a step of the wall clock must not stop ticks.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// False once closed: nobody will take it.
    @discardableResult
    func post(_ element: Element) -> Bool {
        pthread_mutex_lock(mutex)
        let isOpen = !isClosed
        if isOpen { elements.append(element) }
        let wake = isWaiting
        pthread_mutex_unlock(mutex)
        if wake { pthread_cond_signal(condition) }
        return isOpen
    }

    @discardableResult
    func post(_ more: [Element]) -> Bool {
        guard !more.isEmpty else { return true }
        pthread_mutex_lock(mutex)
        let isOpen = !isClosed
        if isOpen { elements.append(contentsOf: more) }
        let wake = isWaiting
        pthread_mutex_unlock(mutex)
        if wake { pthread_cond_signal(condition) }
        return isOpen
    }

    /// Wakes the taker for good: `take` returns what is left, then `nil`.
    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_mutex_unlock(mutex)
        pthread_cond_broadcast(condition)
    }

    /// Everything that has queued; waits for something until `deadline` (monotonic milliseconds), then returns
    /// an empty array. `nil` after `close`.
    func take(into buffer: inout [Element], until deadline: UInt64?) -> Bool {
        buffer.removeAll(keepingCapacity: true)
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        isWaiting = true
        defer { isWaiting = false }
        while elements.isEmpty, !isClosed {
            guard let deadline else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            var time = timespec(tv_sec: Int(deadline / 1000), tv_nsec: Int(deadline % 1000) * 1_000_000)
            if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT { break }
        }
        swap(&buffer, &elements)
        return !(isClosed && buffer.isEmpty)
    }
}

/// The clocks of the host.
public enum HostClock {
    /// Monotonic milliseconds, for timeouts.
    public static func monotonic() -> UInt64 { read(CLOCK_MONOTONIC) }
    /// Unix milliseconds, for log time.
    public static func wall() -> UInt64 { read(CLOCK_REALTIME) }

    /// Monotonic nanoseconds, for measurements.
    public static func nanoseconds() -> UInt64 {
        let time = time(CLOCK_MONOTONIC)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func read(_ clock: clockid_t) -> UInt64 {
        let time = time(clock)
        return UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
    }

    private static func time(_ clock: clockid_t) -> timespec {
        var time = timespec()
        clock_gettime(clock, &time)
        return time
    }
}

/// A thread of our own: nothing that blocks may run on the cooperative pool or an event loop.
final class HostThread: @unchecked Sendable {
    private var thread = pthread_t()
    private var isJoined = false

    private final class Start {
        let body: @Sendable () -> Void
        init(body: @escaping @Sendable () -> Void) { self.body = body }
    }

    init(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(body: body))
        let failed = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                start.body()
                return nil
            }, start.toOpaque())
        precondition(failed == 0, "the system refused a thread for \(name): error \(failed)")
    }

    func join() {
        guard !isJoined else { return }
        isJoined = true
        pthread_join(thread, nil)
    }
}
