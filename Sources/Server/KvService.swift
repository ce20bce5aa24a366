internal import GRPCCore
public import Wire

/// Takes answers. Never blocks; any thread may call it, any number of times.
public protocol ResponseSink: Sendable {
    func send(_ responses: [Flotilla_V1_Response])
}

/// What the Kv service hands requests to. Every request is answered exactly once, in any order.
public protocol KvHandler: Sendable {
    func handle(_ requests: [Flotilla_V1_Request], reply: any ResponseSink)
}

/// The Kv service over a handler.
struct KvService: Flotilla_V1_Kv.SimpleServiceProtocol {
    /// Requests of one session that are not answered yet; beyond this the session isn't read on.
    static let outstandingMax = 8_192
    let handler: any KvHandler

    private final class SessionSink: ResponseSink {
        let outbox = Outbox<Flotilla_V1_Response>(countMax: .max, bytesMax: .max)
        func send(_ responses: [Flotilla_V1_Response]) { outbox.pushAll(responses) }
    }

    func session(
        request: RPCAsyncSequence<Flotilla_V1_SessionRequest, any Error>,
        response: RPCWriter<Flotilla_V1_SessionResponse>, context: ServerContext
    ) async throws {
        let sink = SessionSink()
        let handler = handler
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                // One frame with everything that has queued since the last.
                while let responses = await sink.outbox.drain() {
                    var frame = Flotilla_V1_SessionResponse()
                    var bytes = 0
                    for answer in responses {
                        frame.responses.append(answer)
                        bytes += answer.payloadBytes
                        if bytes > 1 << 20 {
                            try await response.write(frame)
                            frame = Flotilla_V1_SessionResponse()
                            bytes = 0
                        }
                    }
                    if !frame.responses.isEmpty { try await response.write(frame) }
                }
            }
            group.addTask {
                for try await frame in request { handler.handle(frame.requests, reply: sink) }
                sink.outbox.close()
            }
            try await group.next()
            group.cancelAll()
        }
    }

    private final class CallSink: ResponseSink {
        private let continuation: CheckedContinuation<Flotilla_V1_Response, Never>
        init(_ continuation: CheckedContinuation<Flotilla_V1_Response, Never>) { self.continuation = continuation }
        func send(_ responses: [Flotilla_V1_Response]) {
            for response in responses { continuation.resume(returning: response) }
        }
    }

    func call(request: Flotilla_V1_Request, context: ServerContext) async throws -> Flotilla_V1_Response {
        let response = await withCheckedContinuation { continuation in
            handler.handle([request], reply: CallSink(continuation))
        }
        if case .error(let error)? = response.result { throw error.status }
        return response
    }
}

extension Flotilla_V1_Response {
    fileprivate var payloadBytes: Int {
        switch result {
        case .get(let found): found.value.count + 16
        case .scan(let page): page.pairs.reduce(16) { $0 + $1.key.count + $1.value.count + 8 }
        default: 32
        }
    }
}
