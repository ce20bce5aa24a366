import Client
import Testing

/// The lines on the front page of the documentation of Client (scripts/docs compares them), against a cluster that
/// doesn't answer.
@Suite struct FrontPageExampleTests {
    /// A port that nobody listens on.
    private let endpoints = ["127.0.0.1:1"]
    private let patience: Duration = .milliseconds(200)

    private func show(_ ship: [UInt8], _ port: [UInt8]) {}

    private func tour() async throws {
        var options = FlotillaClient.Options()
        options.deadline = patience
        let client = FlotillaClient(endpoints: endpoints, options: options)
        defer { client.close() }

        try await client.put(Array("argo".utf8), Array("iolkos".utf8))
        let port = try await client.get(Array("argo".utf8))
        let length = try await client.append(Array("log".utf8), Array("set sail\n".utf8))
        let isMoved = try await client.compareAndSet(
            Array("argo".utf8), expected: port, value: Array("colchis".utf8))
        for (ship, port) in try await client.scan(start: Array("a".utf8), end: Array("b".utf8), limit: 100) {
            show(ship, port)
        }

        _ = (length, isMoved)
    }

    /// Whether the value was replaced by this call; `nil` if nobody knows.
    private func replace(
        _ key: [UInt8], _ old: [UInt8]?, by new: [UInt8], _ client: FlotillaClient
    ) async throws(ClientError) -> Bool? {
        do throws(ClientError) {
            return try await client.compareAndSet(key, expected: old, value: new)
        } catch {
            guard error.code == .outcomeUnknown else { throw error }
            // Only this caller writes `new`: if it is there, it was this write.
            return try await client.get(key) == new ? true : nil
        }
    }

    @Test func whoReachesNobodyIsToldThatNothingWasDone() async throws {
        await #expect { try await tour() } throws: { ($0 as? ClientError)?.code == .unavailable }
        var options = FlotillaClient.Options()
        options.deadline = patience
        let client = FlotillaClient(endpoints: endpoints, options: options)
        defer { client.close() }
        await #expect { try await replace([1], nil, by: [2], client) } throws: {
            ($0 as? ClientError)?.code == .unavailable
        }
    }
}
