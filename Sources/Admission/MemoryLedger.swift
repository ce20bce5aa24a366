internal import Synchronization

/// A `MemoryAccount` that many threads use.
public final class MemoryLedger: Sendable {
    private let account: Mutex<MemoryAccount>

    public init(_ account: MemoryAccount) { self.account = Mutex(account) }

    public var held: Int { account.withLock { $0.held } }

    public func isFull(for holder: MemoryAccount.Holder) -> Bool { account.withLock { $0.isFull(for: holder) } }

    public func take(_ bytes: Int, for holder: MemoryAccount.Holder) -> MemoryAccount.Answer {
        account.withLock { $0.take(bytes, for: holder) }
    }

    /// Counts what is there already.
    public func charge(_ bytes: Int, for holder: MemoryAccount.Holder) {
        guard bytes > 0 else { return }
        account.withLock { $0.charge(bytes, for: holder) }
    }

    public func give(_ bytes: Int, from holder: MemoryAccount.Holder) {
        guard bytes > 0 else { return }
        account.withLock { $0.give(bytes, from: holder) }
    }
}

/// Bytes that somebody holds; given back when nobody has it any more.
public final class MemoryLease: Sendable {
    private let ledger: MemoryLedger
    private let holder: MemoryAccount.Holder
    public let bytes: Int

    /// Takes over bytes that the holder has in the ledger already.
    public init(of ledger: MemoryLedger, holder: MemoryAccount.Holder, bytes: Int) {
        self.ledger = ledger
        self.holder = holder
        self.bytes = bytes
    }

    deinit { ledger.give(bytes, from: holder) }
}
