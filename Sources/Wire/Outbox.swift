import Synchronization

/// A bounded queue between threads and one task: anybody pushes, without ever blocking; the task takes
/// everything that has queued at once. So whatever gathered while a write was under way goes into the next.
public final class Outbox<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var bytes = 0
        var waiter: CheckedContinuation<Void, Never>?
        var isClosed = false
    }

    private let state = Mutex(State())
    private let countMax: Int
    private let bytesMax: Int

    public init(countMax: Int, bytesMax: Int) {
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    /// False if the queue is full or closed; nothing was added then.
    @discardableResult
    public func push(_ element: Element, bytes: Int) -> Bool {
        let (added, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            guard !state.isClosed, state.elements.count < countMax,
                state.bytes + bytes <= bytesMax || state.elements.isEmpty
            else { return (false, nil) }
            state.elements.append(element)
            state.bytes += bytes
            defer { state.waiter = nil }
            return (true, state.waiter)
        }
        waiter?.resume()
        return added
    }

    /// Many at once, all or nothing, past the bounds if it must be: for answers, which may not be lost.
    public func pushAll(_ more: [Element]) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isClosed else { return nil }
            state.elements.append(contentsOf: more)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Everything that has queued; waits until there is something. `nil` once closed, or when the task is
    /// cancelled: the queue stays open then, for the next stream that takes from it.
    public func drain() async -> [Element]? {
        await withTaskCancellationHandler {
            while !Task.isCancelled {
                let (taken, isClosed) = state.withLock { state -> ([Element], Bool) in
                    defer {
                        state.elements = []
                        state.bytes = 0
                    }
                    return (state.elements, state.isClosed)
                }
                if !taken.isEmpty { return taken }
                if isClosed { return nil }
                await withCheckedContinuation { continuation in
                    let goOn = state.withLock { state -> Bool in
                        if !state.elements.isEmpty || state.isClosed || Task.isCancelled { return true }
                        state.waiter = continuation
                        return false
                    }
                    if goOn { continuation.resume() }
                }
            }
            return nil
        } onCancel: {
            // Under the lock: either the drain has seen the cancellation, or its waiter is here.
            let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }

    /// Everything that has queued, perhaps nothing; `nil` once closed and empty.
    public func drainNow() -> [Element]? {
        state.withLock { state in
            if state.elements.isEmpty, state.isClosed { return nil }
            defer {
                state.elements = []
                state.bytes = 0
            }
            return state.elements
        }
    }

    /// Forgets what has queued.
    public func removeAll() {
        state.withLock { state in
            state.elements = []
            state.bytes = 0
        }
    }

    public func close() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.isClosed = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}
