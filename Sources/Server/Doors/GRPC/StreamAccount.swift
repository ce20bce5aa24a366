internal import Admission
internal import DequeModule
internal import GRPCCore
internal import Keyspace
internal import Synchronization

/// What one gRPC stream holds of the budget: messages on their way in, from the moment their length is known, and
/// answers that were made and haven't reached the transport.
final class StreamAccount: Sendable {
    /// Of the call that is being served; `nil` in tests that serve without a listener.
    @TaskLocal static var current: StreamAccount?

    /// A stream isn't read on while its service has more than one whole message to take over, and these are longer.
    private static let untakenBytesMax = 4 << 20

    private struct State {
        /// What the ledger holds for messages that the service hasn't taken over, the oldest first.
        var messages: Deque<Int> = []
        var untaken = 0
        /// Of the stream itself.
        var own = 0
        var kept: [MemoryLease] = []
        var resume: (@Sendable () -> Void)?
        var isClosed = false

        func isCrowded(_ unfinished: Int) -> Bool {
            messages.count - unfinished > 1 && untaken > StreamAccount.untakenBytesMax
        }
    }

    let ledger: MemoryLedger
    /// The connection.
    let holder: MemoryAccount.Holder
    private let state = Mutex(State())

    init(ledger: MemoryLedger, holder: MemoryAccount.Holder) {
        self.ledger = ledger
        self.holder = holder
    }

    /// No more should be made for this client now.
    var isFull: Bool { ledger.isFull(for: holder) }

    /// The ledger has granted what a stream itself takes.
    func opened(_ bytes: Int) { state.withLock { $0.own += bytes } }

    /// A message has begun, and the ledger has granted `bytes` for it: 0 for a small one.
    func begins(_ bytes: Int) {
        let isClosed = state.withLock { state in
            if !state.isClosed {
                state.messages.append(bytes)
                state.untaken += bytes
            }
            return state.isClosed
        }
        if isClosed { ledger.give(bytes, from: holder) }
    }

    /// The bytes of the oldest message belong to whoever has the lease. What nobody takes goes with the stream.
    func takeMessage() -> MemoryLease? {
        let (bytes, resume) = state.withLock { state -> (Int, (@Sendable () -> Void)?) in
            let bytes = state.messages.popFirst() ?? 0
            state.untaken -= bytes
            defer { state.resume = nil }
            return (bytes, state.resume)
        }
        resume?()
        return bytes > 0 ? MemoryLease(of: ledger, holder: holder, bytes: bytes) : nil
    }

    /// Whether the stream should not be read on for now; `resume` is called once when a message has been taken over.
    /// - Parameter hasUnfinished: the last message has begun and is not whole: only the stream can bring the rest.
    func isCrowded(hasUnfinished: Bool, resume: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            guard !state.isClosed, state.isCrowded(hasUnfinished ? 1 : 0) else { return false }
            state.resume = resume
            return true
        }
    }

    func charge(_ bytes: Int) -> MemoryLease {
        ledger.charge(bytes, for: holder)
        return MemoryLease(of: ledger, holder: holder, bytes: bytes)
    }

    /// Counts an answer until the transport has it.
    func keep(_ bytes: Int) {
        let lease = charge(bytes)
        state.withLock { if !$0.isClosed { $0.kept.append(lease) } }
    }

    /// The transport counts what it has.
    func releaseKept() {
        let leases = state.withLock { state in
            defer { state.kept = [] }
            return state.kept
        }
        // Outside of the lock.
        withExtendedLifetime(leases) {}
    }

    func close() {
        let (bytes, leases) = state.withLock { state -> (Int, [MemoryLease]) in
            defer {
                state.isClosed = true
                state.messages = []
                (state.untaken, state.own) = (0, 0)
                state.kept = []
                state.resume = nil
            }
            return (state.untaken + state.own, state.kept)
        }
        ledger.give(bytes, from: holder)
        withExtendedLifetime(leases) {}
    }
}

/// The accounts of open streams, by the number that the transport puts into a call's metadata.
final class StreamDesk: Sendable {
    static let field = "flotilla-stream"

    private struct State {
        var accounts: [UInt64: StreamAccount] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    func open(_ account: StreamAccount) -> UInt64 {
        state.withLock { state in
            state.last += 1
            state.accounts[state.last] = account
            return state.last
        }
    }

    func close(_ number: UInt64) { state.withLock { $0.accounts[number] = nil } }

    func account(_ number: UInt64) -> StreamAccount? { state.withLock { $0.accounts[number] } }
}

/// Hands a call its account.
struct StreamAccountInterceptor: ServerInterceptor {
    let desk: StreamDesk

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let number = request.metadata[stringValues: StreamDesk.field].first(where: { _ in true }).flatMap { UInt64($0) }
        guard let account = number.flatMap({ desk.account($0) }) else { return try await next(request, context) }
        var response = try await StreamAccount.$current.withValue(account) { try await next(request, context) }
        // The answers of a stream are made later, when they are written.
        if case .success(var contents) = response.accepted {
            let producer = contents.producer
            contents.producer = { writer in
                try await StreamAccount.$current.withValue(account) { try await producer(writer) }
            }
            response.accepted = .success(contents)
        }
        return response
    }
}
