import GRPCCore
import Keyspace
import Server
import Synchronization
import Testing
import Wire

/// Answers every request at once, from the calling thread.
private struct Echo: KvHandler {
    func handle(_ requests: [KvRequest], reply: any ResponseSink) {
        reply.send(
            requests.map { request in
                guard case .get(let key) = request.operation else {
                    return KvResponse(id: request.id, KvError(.invalidArgument, "not a get"))
                }
                return KvResponse(id: request.id, .value(key))
            })
    }
}

/// The limits are for a test that hangs: the time also passes while other tests keep the pool's threads.
@Suite struct KvSessionTests {
    private func serving(_ body: (Flotilla_V1_Kv.Client<Connection.Transport>) async throws -> Void) async throws {
        let address = try #require(Address("127.0.0.1:0"))
        let listener = try await GRPCListener(address, services: [KvService(handler: Echo())])
        let connection = try Connection(listener.endpoint)
        do {
            try await body(Flotilla_V1_Kv.Client(wrapping: connection.client))
            await listener.stop()
        } catch {
            await listener.stop()
            throw error
        }
    }

    /// More than a session may owe at once, and a client that ends its side before the answers are there.
    @Test(.timeLimit(.minutes(20)))
    func everyRequestIsAnsweredOnceThoughTheClientHasSaidItsLastWord() async throws {
        try await serving { kv in
            let count = KvService.outstandingMax * 3
            let answered = Mutex<[UInt64: Int]>([:])
            try await kv.session(options: .flotilla()) { writer in
                var id: UInt64 = 0
                while id < UInt64(count) {
                    var frame = Flotilla_V1_SessionRequest()
                    for _ in 0..<512 {
                        var request = Flotilla_V1_Request()
                        id += 1
                        request.id = id
                        request.get.key = .init([1, 2, 3])
                        frame.requests.append(request)
                    }
                    try await writer.write(frame)
                }
            } onResponse: { response in
                for try await frame in response.messages {
                    answered.withLock { answered in
                        for response in frame.responses { answered[response.id, default: 0] += 1 }
                    }
                }
            }
            #expect(answered.withLock { $0.count } == count)
            #expect(answered.withLock { $0.values.allSatisfy { $0 == 1 } })
        }
    }

    @Test(.timeLimit(.minutes(20)))
    func aValueOfEightMebibytesPassesBothWays() async throws {
        try await serving { kv in
            var request = Flotilla_V1_Request()
            request.get.key = .init(repeating: 7, count: 8 << 20)
            let response = try await kv.call(request, options: .flotilla())
            #expect(response.get.value.count == 8 << 20)
        }
    }
}
