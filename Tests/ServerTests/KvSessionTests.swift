import Admission
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
    private func serving(
        _ handler: any KvHandler = Echo(), memory: MemoryBudget = MemoryBudget(),
        _ body: (Flotilla_V1_Kv.Client<Connection.Transport>) async throws -> Void
    ) async throws {
        let address = try #require(Address("127.0.0.1:0"))
        let listener = try await GRPCListener(
            address, services: [KvService(handler: handler)], connectionsMax: 100, memory: memory)
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

    private func allGivenBack(_ memory: MemoryBudget) async throws -> Bool {
        // The client has its answer a moment before the server has closed the stream.
        for _ in 0..<2_000 where memory.held > 0 { try await Task.sleep(for: .milliseconds(10)) }
        return memory.held == 0
    }

    @Test(.timeLimit(.minutes(20)))
    func whatCallsAndSessionsHeldIsGivenBack() async throws {
        let memory = MemoryBudget(bytes: MemoryBudget.bytesMin)
        try await serving(memory: memory) { kv in
            for _ in 0..<10 {
                var request = Flotilla_V1_Request()
                request.get.key = .init(repeating: 7, count: 8 << 20)
                #expect(try await kv.call(request, options: .flotilla()).get.value.count == 8 << 20)
            }
            #expect(try await allGivenBack(memory))
            let bytes = Mutex(0)
            try await kv.session(options: .flotilla()) { writer in
                // One alone is as much as is served at once.
                for id in 1...10 {
                    var frame = Flotilla_V1_SessionRequest()
                    var request = Flotilla_V1_Request()
                    request.id = UInt64(id)
                    request.get.key = .init(repeating: 7, count: 8 << 20)
                    frame.requests = [request]
                    try await writer.write(frame)
                }
            } onResponse: { response in
                for try await frame in response.messages {
                    bytes.withLock { bytes in bytes = frame.responses.reduce(bytes) { $0 + $1.get.value.count } }
                }
            }
            #expect(bytes.withLock { $0 } == 10 * 8 << 20)
            #expect(try await allGivenBack(memory))
        }
    }

    /// More than 8 MiB being served: the rest of the session isn't read until something is answered.
    @Test(.timeLimit(.minutes(20)))
    func aSessionIsReadOnAsItsRequestsAreAnswered() async throws {
        let memory = MemoryBudget(bytes: MemoryBudget.bytesMin)
        let late = Late()
        try await serving(late, memory: memory) { kv in
            let count = 60
            let answered = Mutex(0)
            late.open(at: 8)
            try await kv.session(options: .flotilla()) { writer in
                for id in 1...count {
                    var frame = Flotilla_V1_SessionRequest()
                    var request = Flotilla_V1_Request()
                    request.id = UInt64(id)
                    request.get.key = .init(repeating: 7, count: 1 << 20)
                    frame.requests = [request]
                    try await writer.write(frame)
                }
            } onResponse: { response in
                for try await frame in response.messages { answered.withLock { $0 += frame.responses.count } }
            }
            #expect(answered.withLock { $0 } == count)
            #expect(late.most <= 10, "\(late.most) were being served")
            #expect(try await allGivenBack(memory))
        }
    }

    /// One connection may hold a share of the budget; what is beyond it hears «busy», and is taken when there is room.
    @Test(.timeLimit(.minutes(20)))
    func callsBeyondAConnectionsShareAreBusy() async throws {
        let memory = MemoryBudget(bytes: MemoryBudget.bytesMin)
        let late = Late()
        try await serving(late, memory: memory) { kv in
            let outcomes = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<30 {
                    group.addTask {
                        var request = Flotilla_V1_Request()
                        request.get.key = .init(repeating: 7, count: 4 << 20)
                        do {
                            return try await kv.call(request, options: .flotilla()).get.value.count == 3
                        } catch let error as RPCError {
                            let refusal = KvError(carriedBy: error)
                            #expect(refusal?.code == .busy, "\(error)")
                            late.open()
                            return false
                        }
                    }
                }
                var outcomes: [Bool] = []
                for try await outcome in group { outcomes.append(outcome) }
                return outcomes
            }
            // 96 MiB have room for 23 of 4 MiB.
            #expect(outcomes.count { $0 } >= 23)
            #expect(outcomes.contains(false))
            #expect(try await allGivenBack(memory))
        }
    }
}

/// Answers nothing until it is opened, and then everything at once.
private final class Late: KvHandler {
    private struct State {
        var isOpen = false
        var owed: [(UInt64, any ResponseSink)] = []
        var most = 0
        var opensAt = Int.max
    }

    private let state = Mutex(State())

    /// How many have waited at once.
    var most: Int { state.withLock { $0.most } }

    func handle(_ requests: [KvRequest], reply: any ResponseSink) {
        let isOpen = state.withLock { state -> Bool in
            if !state.isOpen { state.owed += requests.map { ($0.id, reply) } }
            state.most = max(state.most, state.owed.count)
            return state.isOpen
        }
        if isOpen { for request in requests { reply.send([KvResponse(id: request.id, .value([1, 2, 3]))]) } }
        // Later, so that the session could have gone on reading if nothing kept it.
        if state.withLock({ $0.owed.count >= $0.opensAt }) { Task { self.open() } }
    }

    /// Opens by itself when so many wait.
    func open(at count: Int) { state.withLock { $0.opensAt = count } }

    func open() {
        let owed = state.withLock { state in
            state.isOpen = true
            defer { state.owed = [] }
            return state.owed
        }
        for (id, reply) in owed { reply.send([KvResponse(id: id, .value([1, 2, 3]))]) }
    }
}
