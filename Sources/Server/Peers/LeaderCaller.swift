internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Wire

/// Calls that want a group's leader: whoever answered last is asked first, then every other address, each once in a
/// round, hints of those that refused before the rest.
struct LeaderCaller: Sendable {
    let connections: ConnectionPool

    private static let roundsMax = 2

    /// The first answer of a node that leads, and where it came from. Throws the last refusal when nobody answers within
    /// two rounds. A node that doesn't answer anything is given up in seconds, whatever the call's own `timeout`.
    func call<Result: Sendable>(
        _ addresses: [String], first: String? = nil, timeout: Duration = .seconds(5),
        _ body: @escaping @Sendable (GRPCClient<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> (result: Result, address: String) {
        var last: any Error = KvError(.unavailable, "no address is known")
        let options = CallOptions.flotilla(timeout: timeout)
        let liveness = Liveness(connections: connections)
        for _ in 0..<Self.roundsMax {
            var queue = (first.map { [$0] } ?? []) + addresses
            var asked: Set<String> = []
            while !queue.isEmpty {
                let address = queue.removeFirst()
                guard asked.insert(address).inserted, let endpoint = Address(toCall: address) else { continue }
                do {
                    let connection = try connections.connection(to: endpoint)
                    let result = try await liveness.whileAlive(endpoint) { try await body(connection.client, options) }
                    return (result, address)
                } catch {
                    last = error
                    try Task.checkCancellation()
                    if let refusal = KvError(carriedBy: error) {
                        guard [.notLeader, .noLeader, .unavailable].contains(refusal.code) else { throw error }
                        if !refusal.leader.isEmpty { queue.insert(refusal.leader, at: 0) }
                    }
                }
            }
        }
        throw last
    }
}
