internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Logging
internal import Synchronization
internal import Wire

/// Calls that want a group's leader: tries the addresses in turn and follows the hints in refusals.
struct LeaderCaller: Sendable {
    let connections: ConnectionPool

    /// The first answer of a node that leads. Throws the last refusal when nobody answers within `attempts` calls.
    func call<Result: Sendable>(
        _ addresses: [String], first: String? = nil, attempts: Int = 6, timeout: Duration = .seconds(5),
        _ body: @Sendable (GRPCClient<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> (result: Result, address: String) {
        var queue = (first.map { [$0] } ?? []) + addresses
        var last: any Error = KvError(.unavailable, "no address is known")
        let options = CallOptions.flotilla(timeout: timeout)
        var tried = 0
        while tried < attempts, !queue.isEmpty {
            tried += 1
            let address = queue.removeFirst()
            guard let endpoint = Address(toCall: address) else { continue }
            do {
                let connection = try connections.connection(to: endpoint)
                return (try await body(connection.client, options), address)
            } catch {
                last = error
                try Task.checkCancellation()
                if let refusal = KvError(carriedBy: error) {
                    guard [.notLeader, .noLeader, .unavailable].contains(refusal.code) else { throw error }
                    if !refusal.leader.isEmpty { queue.insert(refusal.leader, at: 0) }
                }
            }
        }
        throw last
    }
}
