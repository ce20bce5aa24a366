import Client
import Keyspace
import Testing

@Suite struct ControllerClientTests {
    /// A port that nobody listens on.
    private let client = ControllerClient(endpoints: ["127.0.0.1:1"], deadline: .milliseconds(300))

    @Test func aChangeThatReachedNobodyWasNotDone() async {
        let error = await #expect(throws: ClientError.self) { try await client.leave([100]) }
        #expect(error?.code == .unavailable)
        #expect(error?.message == "no controller answers at 127.0.0.1:1")
    }

    @Test func whoIsCancelledDoesNotWaitForTheDeadline() async {
        let client = ControllerClient(endpoints: ["127.0.0.1:1"], deadline: .seconds(3_600))
        let task = Task { try await client.query() }
        task.cancel()
        let error = await #expect(throws: ClientError.self) { try await task.value }
        #expect(error?.code == .unavailable)
    }
}
