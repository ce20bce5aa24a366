internal import GRPCCore
internal import Keyspace
internal import Wire

/// Whether a node still answers while something long is expected of it. A process that is paused, or a machine that is
/// cut off, keeps its connections open and says nothing: to wait for it would hold up a shard that others could serve.
struct Liveness: Sendable {
    let connections: ConnectionPool

    /// Between questions, and how long an answer may take.
    private static let interval: Duration = .milliseconds(500)
    private static let patience: Duration = .seconds(1)
    /// Questions in a row without an answer: one may fall into a node's bad moment.
    private static let missesMax = 2

    /// Whether somebody answers at an address, whoever it is.
    func isAlive(_ endpoint: Address) async -> Bool {
        guard let connection = try? connections.connection(to: endpoint) else { return false }
        let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
        do {
            _ = try await peer.identify(
                Flotilla_V1_IdentifyRequest(), options: .flotilla(timeout: Self.patience))
            return true
        } catch let error as RPCError {
            // A refusal is an answer.
            return ![.unavailable, .deadlineExceeded, .cancelled].contains(error.code)
        } catch {
            return false
        }
    }

    /// Carries out what is asked of a node, as long as the node answers other questions meanwhile.
    func whileAlive<Result: Sendable>(
        _ endpoint: Address, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                var misses = 0
                while misses < Self.missesMax {
                    try await Task.sleep(for: Self.interval)
                    misses = await isAlive(endpoint) ? 0 : misses + 1
                }
                throw KvError(.unavailable, "\(endpoint) doesn't answer")
            }
            defer { group.cancelAll() }
            while let finished = try await group.next() {
                if let finished { return finished }
            }
            throw CancellationError()
        }
    }
}
