package import GRPCCore
internal import Keyspace
internal import Synchronization
package import Wire

/// The Kv service over a handler.
package struct KvService: Flotilla_V1_Kv.SimpleServiceProtocol {
    /// Requests of one session that are not answered yet; beyond this the session isn't read on.
    package static let outstandingMax = 8_192
    /// Bytes of answers that wait for a slow client; beyond this too.
    static let outstandingBytesMax = 32 << 20
    let handler: any KvHandler

    package init(handler: any KvHandler) { self.handler = handler }

    /// The answers of one session, and how many are still owed: reading waits while they are too many.
    private final class SessionSink: ResponseSink {
        private struct Debt {
            var count = 0
            /// Of answers that have not left.
            var bytes = 0
            /// The client has said all that it will say.
            var isFinal = false
            var waiter: CheckedContinuation<Void, Never>?

            var isBearable: Bool {
                count < KvService.outstandingMax && bytes < KvService.outstandingBytesMax
            }
        }

        let outbox = Outbox<KvResponse>(countMax: .max, bytesMax: .max)
        private let debt = Mutex(Debt())

        func send(_ responses: [KvResponse]) {
            let bytes = responses.reduce(0) { $0 + $1.payloadBytes }
            debt.withLock { $0.bytes += bytes }
            outbox.pushAll(responses)
        }

        var isFull: Bool { debt.withLock { $0.bytes >= KvService.outstandingBytesMax } }

        func owe(_ count: Int) { debt.withLock { $0.count += count } }

        /// Answers have left for the client. The last one ends the session, if the client has ended its side.
        func paid(_ count: Int, bytes: Int) {
            let (waiter, isSettled) = debt.withLock { debt -> (CheckedContinuation<Void, Never>?, Bool) in
                debt.count -= count
                debt.bytes -= bytes
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
            paid(.max / 2, bytes: .max / 2)
        }

        func waitUntilSolvent() async {
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

    package func session(
        request: RPCAsyncSequence<Flotilla_V1_SessionRequest, any Error>,
        response: RPCWriter<Flotilla_V1_SessionResponse>, context: ServerContext
    ) async throws {
        let sink = SessionSink()
        let handler = handler
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
                    sink.owe(frame.requests.count)
                    handler.handle(Self.read(frame.requests, from: origin, sink), reply: sink)
                    await sink.waitUntilSolvent()
                }
                sink.finish()
            }
            defer { sink.abandon() }
            while try await group.next() != nil {}
        }
    }

    private final class CallSink: ResponseSink {
        private let continuation: CheckedContinuation<KvResponse, Never>
        init(_ continuation: CheckedContinuation<KvResponse, Never>) { self.continuation = continuation }
        func send(_ responses: [KvResponse]) {
            for response in responses { continuation.resume(returning: response) }
        }
    }

    package func call(request: Flotilla_V1_Request, context: ServerContext) async throws -> Flotilla_V1_Response {
        let response = await withCheckedContinuation { continuation in
            let sink = CallSink(continuation)
            handler.handle(Self.read([request], from: Self.origin(context.remotePeer), sink), reply: sink)
        }
        if case .failed(let error) = response.result { throw error.status }
        return response.wire
    }

    /// The requests that name an operation; the others are answered at once.
    private static func read(
        _ requests: [Flotilla_V1_Request], from origin: UInt32, _ reply: any ResponseSink
    ) -> [KvRequest] {
        requests.compactMap { wire in
            guard var request = KvRequest(wire) else {
                reply.send([KvResponse(id: wire.id, KvError(.invalidArgument, "the request names no operation"))])
                return nil
            }
            if case .write(let key, let operation, var stamp?) = request.operation {
                stamp.origin = origin
                request.operation = .write(key: key, operation, stamp)
            }
            return request
        }
    }

    /// A client's address without its port, as the number under which its sessions are counted.
    package static func origin(_ peer: String) -> UInt32 {
        let host = peer.lastIndex(of: ":").map { peer[..<$0] } ?? peer[...]
        // FNV-1a.
        let hash = host.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        // 0 is nobody in particular, and the greatest one those that are closed.
        return min(max(1, hash), .max - 1)
    }
}
