internal import GRPCCore
public import Keyspace
internal import Wire

/// Asks single nodes about themselves and their group's membership.
public final class StatusClient: Sendable {
    private let connections = ConnectionPool()
    private let timeout: Duration

    public init(timeout: Duration = .seconds(3)) { self.timeout = timeout }

    /// Closes the connections to all other nodes.
    public func keepOnly(_ addresses: some Sequence<String>) {
        connections.keepOnly(Set(addresses.compactMap { Address($0) }))
    }

    private func call<Result: Sendable>(
        _ address: String, timeout: Duration,
        _ body: @Sendable (Flotilla_V1_Status.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws(ClientError) -> Result {
        guard let endpoint = Address(toCall: address) else {
            throw ClientError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        let options = CallOptions.flotilla(timeout: timeout)
        do {
            let connection = try connections.connection(to: endpoint)
            return try await body(Flotilla_V1_Status.Client(wrapping: connection.client), options)
        } catch {
            if let refusal = KvError(carriedBy: error) {
                switch refusal.code {
                case .invalidArgument: throw ClientError(.invalidArgument, refusal.message)
                case .failedPrecondition: throw ClientError(.failedPrecondition, refusal.message)
                default:
                    let hint = refusal.leader.isEmpty ? "" : "; the leader is \(refusal.leader)"
                    throw ClientError(.unavailable, refusal.message + hint)
                }
            }
            throw ClientError(.unavailable, "no node answers at \(address)")
        }
    }

    /// - Parameters:
    ///   - exact: have the node count keys and hash what it holds, by scanning.
    ///   - exactShards: the same for these alone.
    public func node(
        _ address: String, exact: Bool = false, exactShards: [ShardID] = []
    ) async throws(ClientError) -> NodeStatus {
        var request = Flotilla_V1_NodeStatusRequest()
        request.exact = exact
        request.exactShards = exactShards.map(\.rawValue)
        let scans = exact || !exactShards.isEmpty
        return try await call(address, timeout: scans ? .seconds(120) : timeout) { [request] in
            NodeStatus(try await $0.node(request, options: $1))
        }
    }

    public func members(_ address: String) async throws(ClientError) -> GroupMembers {
        try await call(address, timeout: timeout) {
            GroupMembers(try await $0.members(Flotilla_V1_MembersRequest(), options: $1))
        }
    }

    /// Asks the leader: `address` may be any node of the group.
    public func change(
        _ change: MemberChange, at address: String
    ) async throws(ClientError) -> GroupMembers {
        let status = try await node(address)
        let leader = status.leaderAddress.isEmpty ? address : status.leaderAddress
        return try await call(leader, timeout: .seconds(40)) {
            GroupMembers(try await $0.changeMembers(change.wire, options: $1))
        }
    }
}
