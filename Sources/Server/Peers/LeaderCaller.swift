internal import ClientCore
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Wire

/// Calls that want a group's leader. `LeaderCall` decides who is asked, and when it is over.
struct LeaderCaller: Sendable {
    let connections: ConnectionPool

    /// The first answer of a node that leads, and where it came from. Throws the last refusal when nobody answers within
    /// two rounds. A node that doesn't answer anything is given up in seconds, whatever the call's own `timeout`.
    func call<Result: Sendable>(
        _ addresses: [String], first: String? = nil, timeout: Duration = .seconds(5),
        _ body: @escaping @Sendable (GRPCClient<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> (result: Result, address: String) {
        var call = LeaderCall(addresses, first: first)
        var last: any Error = KvError(.unavailable, "no address is known")
        while let address = call.next() {
            switch await ask(address, .flotilla(timeout: timeout), body) {
            case .success(let result): return (result, address)
            case .failure(let error):
                try Task.checkCancellation()
                last = error
                guard call.failed(address, refusal(in: error)) else { throw error }
            }
        }
        throw last
    }

    private func ask<Result: Sendable>(
        _ address: String, _ options: CallOptions,
        _ body: @escaping @Sendable (GRPCClient<Connection.Transport>, CallOptions) async throws -> Result
    ) async -> Swift.Result<Result, any Error> {
        guard let endpoint = Address(toCall: address) else {
            return .failure(KvError(.unavailable, "\"\(address)\" is not an address"))
        }
        do {
            let connection = try connections.connection(to: endpoint)
            let liveness = Liveness(connections: connections)
            return .success(try await liveness.whileAlive(endpoint) { try await body(connection.client, options) })
        } catch {
            return .failure(error)
        }
    }
}
