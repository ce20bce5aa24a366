internal import Glibc

/// A lock that is given in the order in which it was asked for.
///
/// Loading and reclaiming take it slice by slice. An unfair lock would let them take it again at once, past the
/// writer that has waited for the whole slice.
package final class TurnLock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var next: UInt64 = 0
    private var serving: UInt64 = 0

    package init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        condition.deallocate()
    }

    /// Turns that have been asked for so far.
    package var asked: UInt64 {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return next
    }

    package func withTurn<Result>(_ body: () throws(EngineError) -> Result) throws(EngineError) -> Result {
        pthread_mutex_lock(mutex)
        let ticket = next
        next += 1
        while serving != ticket { pthread_cond_wait(condition, mutex) }
        pthread_mutex_unlock(mutex)
        defer {
            pthread_mutex_lock(mutex)
            serving += 1
            if serving != next { pthread_cond_broadcast(condition) }
            pthread_mutex_unlock(mutex)
        }
        return try body()
    }
}
