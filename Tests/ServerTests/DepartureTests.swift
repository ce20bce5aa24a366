import Admission
import GRPCCore
import Keyspace
import Server
import Testing
import Wire

/// Refuses everything.
private struct Refusing: KvHandler {
    func handle(_ requests: [KvRequest], reply: any ResponseSink) {
        reply.send(requests.map { KvResponse(id: $0.id, KvError(.unavailable, "not now")) })
    }
}

@Suite struct DepartureTests {
    private func call(_ connection: Connection, _ departure: Departure) async throws {
        let kv = Flotilla_V1_Kv.Client(wrapping: connection.client)
        var request = Flotilla_V1_Request()
        request.get.key = .init([1])
        _ = try await departure.watch { [request] in
            try await kv.call(request, options: .flotilla(timeout: .seconds(60)))
        }
    }

    @Test(.timeLimit(.minutes(20)))
    func aCallThatReachedAServerHasLeftAndOneThatFoundNoneHasNot() async throws {
        let address = try #require(Address("127.0.0.1:0"))
        let listener = try await GRPCListener(
            address, services: [KvService(handler: Refusing())], connectionsMax: 10, memory: MemoryBudget())
        let endpoint = listener.endpoint
        let (reached, missed) = (Departure(), Departure())
        let connection = try Connection(endpoint)
        await #expect(throws: RPCError.self) { try await call(connection, reached) }
        await listener.stop()
        #expect(reached.hasLeft)
        let late = try Connection(endpoint)
        await #expect(throws: RPCError.self) { try await call(late, missed) }
        #expect(!missed.hasLeft)
    }
}
