internal import GRPCCore
internal import Keyspace
internal import RaftLog
internal import Wire

/// The Status service: what a node says of itself, and changes of its group's membership.
struct StatusService<Machine: StateMachine>: Flotilla_V1_Status.SimpleServiceProtocol {
    let node: Node<Machine>
    /// Adds what only this kind of node knows. Blocks.
    let complete: @Sendable (_ status: inout NodeStatus, _ isExact: Bool, _ exactShards: Set<ShardID>) throws -> Void

    func node(request: Flotilla_V1_NodeStatusRequest, context: ServerContext) async throws -> Flotilla_V1_NodeStatus {
        try await status(isExact: request.exact, exactShards: Set(request.exactShards.map { ShardID($0) })).wire
    }

    func status(isExact: Bool = false, exactShards: Set<ShardID> = []) async throws -> NodeStatus {
        let replica = node.status
        guard node.host != nil else { return replica }
        let complete = complete
        return try await offload {
            var status = replica
            try complete(&status, isExact, exactShards)
            return status
        }
    }

    func members(
        request: Flotilla_V1_MembersRequest, context: ServerContext
    ) async throws -> Flotilla_V1_MembersResponse {
        try node.members().wire
    }

    func changeMembers(
        request: Flotilla_V1_ChangeMembersRequest, context: ServerContext
    ) async throws -> Flotilla_V1_MembersResponse {
        guard let change = MemberChange(request) else {
            throw KvError(.invalidArgument, "the request names no change")
        }
        return try await node.change(change).wire
    }
}
