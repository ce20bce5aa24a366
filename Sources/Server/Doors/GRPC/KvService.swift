internal import Admission
package import GRPCCore
package import Keyspace
internal import Synchronization
package import Wire

/// The Kv service over a handler.
package struct KvService: Flotilla_V1_Kv.SimpleServiceProtocol {
    /// Requests of one session that are not answered yet; beyond this the session isn't read on.
    package static let outstandingMax = 8_192
    /// Bytes of answers that wait for a slow client; beyond this too.
    static let outstandingBytesMax = 16 << 20
    /// Bytes of requests that are being served; beyond this too.
    static let servingBytesMax = 8 << 20
    let handler: any KvHandler

    package init(handler: any KvHandler) { self.handler = handler }

    /// The answers of one session, and how many are still owed: reading waits while they are too many.
    private final class SessionSink: ResponseSink {
        private struct Debt {
            var count = 0
            /// Of answers that have not left.
            var bytes = 0
            /// Of these, what the ledger knows: it is told in steps, not of every small answer.
            var charged = 0
            /// Of requests that are being served.
            var serving = 0
            /// Nobody is left to be answered.
            var isAbandoned = false
            /// The client has said all that it will say.
            var isFinal = false
            var waiter: CheckedContinuation<Void, Never>?

            var isBearable: Bool {
                isAbandoned
                    || count < KvService.outstandingMax && bytes < KvService.outstandingBytesMax
                        && serving < KvService.servingBytesMax
            }
        }

        let outbox = Outbox<KvResponse>(countMax: .max, bytesMax: .max)
        private let debt = Mutex(Debt())
        private let account: StreamAccount?

        init(_ account: StreamAccount?) { self.account = account }

        func send(_ responses: [KvResponse]) {
            let bytes = responses.reduce(0) { $0 + $1.payloadBytes }
            debt.withLock { debt in
                guard !debt.isAbandoned else { return }
                debt.bytes += bytes
                tell(&debt)
            }
            outbox.pushAll(responses)
        }

        private static let step = 1 << 16

        private func tell(_ debt: inout Debt) {
            let known = debt.bytes / Self.step * Self.step
            guard let account, known != debt.charged else { return }
            if known > debt.charged {
                account.ledger.charge(known - debt.charged, for: account.holder)
            } else {
                account.ledger.give(debt.charged - known, from: account.holder)
            }
            debt.charged = known
        }

        /// A frame of requests is being served until what this returns is gone.
        func serve(_ lease: MemoryLease) -> FrameLease {
            debt.withLock { $0.serving += lease.bytes }
            return FrameLease(sink: self, lease: lease)
        }

        fileprivate func served(_ bytes: Int) {
            let waiter = debt.withLock { debt -> CheckedContinuation<Void, Never>? in
                debt.serving -= bytes
                guard debt.isBearable else { return nil }
                defer { debt.waiter = nil }
                return debt.waiter
            }
            waiter?.resume()
        }

        var isFull: Bool {
            debt.withLock { $0.bytes >= KvService.outstandingBytesMax } || account?.isFull == true
        }

        func owe(_ count: Int) { debt.withLock { $0.count += count } }

        /// Answers have left for the client. The last one ends the session, if the client has ended its side.
        func paid(_ count: Int, bytes: Int) {
            let (waiter, isSettled) = debt.withLock { debt -> (CheckedContinuation<Void, Never>?, Bool) in
                debt.count -= count
                debt.bytes -= min(bytes, debt.bytes)
                tell(&debt)
                let isSettled = debt.isFinal && debt.count <= 0
                guard debt.isBearable else { return (nil, isSettled) }
                defer { debt.waiter = nil }
                return (debt.waiter, isSettled)
            }
            waiter?.resume()
            if isSettled { outbox.close() }
        }

        /// No more requests; the answers that are owed still go out.
        func finish() {
            debt.withLock { $0.isFinal = true }
            paid(0, bytes: 0)
        }

        /// The stream is broken: nobody can be answered any more.
        func abandon() {
            outbox.close()
            debt.withLock { $0.isAbandoned = true }
            paid(.max / 2, bytes: .max)
        }

        func waitUntilSolvent() async {
            if debt.withLock({ $0.isBearable }) { return }
            // Meanwhile the client may fill the window that it was promised.
            let window = account?.charge(MemoryBudget.windowBytes)
            defer { withExtendedLifetime(window) {} }
            await withCheckedContinuation { continuation in
                let isSolvent = debt.withLock { debt -> Bool in
                    if debt.isBearable { return true }
                    debt.waiter = continuation
                    return false
                }
                if isSolvent { continuation.resume() }
            }
        }
    }

    /// The bytes of one frame of requests.
    private final class FrameLease: Sendable {
        private let sink: SessionSink
        private let lease: MemoryLease

        init(sink: SessionSink, lease: MemoryLease) {
            self.sink = sink
            self.lease = lease
        }

        deinit { sink.served(lease.bytes) }
    }

    /// The answers to one frame, whose bytes are held until the last of them is there: whoever still owes one has this.
    private struct FrameReply: ResponseSink {
        let sink: SessionSink
        let lease: FrameLease

        func send(_ responses: [KvResponse]) { sink.send(responses) }
        var isFull: Bool { sink.isFull }
    }

    package func session(
        request: RPCAsyncSequence<Flotilla_V1_SessionRequest, any Error>,
        response: RPCWriter<Flotilla_V1_SessionResponse>, context: ServerContext
    ) async throws {
        let account = StreamAccount.current
        let sink = SessionSink(account)
        let origin = Self.origin(context.remotePeer)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // Whoever waits to go on reading must not wait for answers that nobody sends any more.
                defer { sink.abandon() }
                // One frame with everything that has queued since the last.
                while let responses = await sink.outbox.drain() {
                    var frame = Flotilla_V1_SessionResponse()
                    var bytes = 0
                    var total = 0
                    for answer in responses {
                        frame.responses.append(answer.wire)
                        bytes += answer.payloadBytes
                        total += answer.payloadBytes
                        if bytes > 1 << 20 {
                            try await response.write(frame)
                            frame = Flotilla_V1_SessionResponse()
                            bytes = 0
                        }
                    }
                    if !frame.responses.isEmpty { try await response.write(frame) }
                    sink.paid(responses.count, bytes: total)
                }
            }
            group.addTask {
                for try await frame in request {
                    serve(frame, from: origin, sink, account)
                    await sink.waitUntilSolvent()
                }
                sink.finish()
            }
            defer { sink.abandon() }
            while try await group.next() != nil {}
        }
    }

    /// Not part of the loop that reads: what waits there for the frame's lease must not hold it.
    private func serve(
        _ frame: Flotilla_V1_SessionRequest, from origin: SessionOrigin, _ sink: SessionSink, _ account: StreamAccount?
    ) {
        sink.owe(frame.requests.count)
        let reply: any ResponseSink =
            if let lease = account?.takeMessage() { FrameReply(sink: sink, lease: sink.serve(lease)) } else { sink }
        handler.handle(Self.read(frame.requests, from: origin, sink), reply: reply)
    }

    private final class CallSink: ResponseSink {
        private let continuation: CheckedContinuation<KvResponse, Never>
        private let account: StreamAccount?

        init(_ continuation: CheckedContinuation<KvResponse, Never>, _ account: StreamAccount?) {
            self.continuation = continuation
            self.account = account
        }

        func send(_ responses: [KvResponse]) {
            for response in responses {
                account?.keep(response.payloadBytes)
                continuation.resume(returning: response)
            }
        }

        var isFull: Bool { account?.isFull == true }
    }

    package func call(request: Flotilla_V1_Request, context: ServerContext) async throws -> Flotilla_V1_Response {
        let response = await withCheckedContinuation { continuation in
            let sink = CallSink(continuation, StreamAccount.current)
            handler.handle(Self.read([request], from: Self.origin(context.remotePeer), sink), reply: sink)
        }
        if case .failed(let error) = response.result { throw error.status }
        return response.wire
    }

    /// The requests that name an operation; the others are answered at once.
    private static func read(
        _ requests: [Flotilla_V1_Request], from origin: SessionOrigin, _ reply: any ResponseSink
    ) -> [KvRequest] {
        requests.compactMap { wire in
            guard var request = KvRequest(wire) else {
                reply.send([KvResponse(id: wire.id, KvError(.invalidArgument, "the request names no operation"))])
                return nil
            }
            if case .write(let key, let operation, var stamp?) = request.operation {
                stamp.origin = origin.rawValue
                request.operation = .write(key: key, operation, stamp)
            }
            return request
        }
    }

    /// Of a client's address without its port.
    package static func origin(_ peer: String) -> SessionOrigin {
        // As in "ipv4:127.0.0.1:50051".
        let host = peer.lastIndex(of: ":").map { peer[..<$0] } ?? peer[...]
        return SessionOrigin(host: host.firstIndex(of: ":").map { host[host.index(after: $0)...] } ?? host)
    }
}
