internal import Synchronization

/// A `MemoryAccount` that many threads use. Nobody polls: who waits is called when its bytes are there.
public final class MemoryLedger: Sendable {
    private struct State {
        var account: MemoryAccount
        var calls: [MemoryAccount.Ticket: @Sendable () -> Void] = [:]

        mutating func calls(of granted: [MemoryAccount.Ticket]) -> [@Sendable () -> Void] {
            granted.compactMap { calls.removeValue(forKey: $0) }
        }
    }

    private let state: Mutex<State>

    public init(bytesMax: Int, holderBytesMax: Int, waitersMax: Int = 1_024) {
        state = Mutex(
            State(
                account: MemoryAccount(bytesMax: bytesMax, holderBytesMax: holderBytesMax, waitersMax: waitersMax)))
    }

    public var held: Int { state.withLock { $0.account.held } }

    public func isFull(for holder: MemoryAccount.Holder) -> Bool { state.withLock { $0.account.isFull(for: holder) } }

    /// - Parameter granted: called once, on any thread, if the answer is `waiting` and the wait isn't cancelled.
    public func take(
        _ bytes: Int, for holder: MemoryAccount.Holder, granted: @escaping @Sendable () -> Void
    ) -> MemoryAccount.Answer {
        state.withLock { state in
            let answer = state.account.take(bytes, for: holder)
            if case .waiting(let ticket) = answer { state.calls[ticket] = granted }
            return answer
        }
    }

    /// False if it was granted before: the bytes are the holder's then.
    public func cancel(_ ticket: MemoryAccount.Ticket) -> Bool {
        let (wasWaiting, calls) = state.withLock { state -> (Bool, [@Sendable () -> Void]) in
            let result = state.account.cancel(ticket)
            state.calls[ticket] = nil
            return (result.wasWaiting, state.calls(of: result.granted))
        }
        for call in calls { call() }
        return wasWaiting
    }

    /// Counts what is there already.
    public func charge(_ bytes: Int, for holder: MemoryAccount.Holder) {
        state.withLock { $0.account.charge(bytes, for: holder) }
    }

    public func give(_ bytes: Int, from holder: MemoryAccount.Holder) {
        guard bytes > 0 else { return }
        let calls = state.withLock { state in
            let granted = state.account.give(bytes, from: holder)
            return state.calls(of: granted)
        }
        for call in calls { call() }
    }
}

/// Bytes that somebody holds; given back when nobody has it any more.
public final class MemoryLease: Sendable {
    private let ledger: MemoryLedger
    private let holder: MemoryAccount.Holder
    private let bytes: Int

    /// Takes over bytes that the holder has in the ledger already.
    public init(of ledger: MemoryLedger, holder: MemoryAccount.Holder, bytes: Int) {
        self.ledger = ledger
        self.holder = holder
        self.bytes = bytes
    }

    deinit { ledger.give(bytes, from: holder) }
}
