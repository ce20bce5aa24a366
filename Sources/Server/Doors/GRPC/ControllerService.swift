internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Wire

/// The Controller service: commands for the log, and questions about the map.
struct ControllerService: Flotilla_V1_Controller.SimpleServiceProtocol {
    let node: Node<ControllerMachine>
    let desk: ControllerDesk

    private func execute(_ command: ControllerCommand, _ requestID: Data) async throws -> Flotilla_V1_ConfigResponse {
        guard requestID.count <= Limits.requestIDBytesMax else {
            throw KvError(
                .invalidArgument,
                "the request's id has \(requestID.count) bytes; it has at most \(Limits.requestIDBytesMax)")
        }
        // Whatever came of it: who waits for a newer map is woken by the end of commands.
        defer { desk.changed() }
        switch try await node.propose(command.encoded(requestID: requestID.array), isUrgent: false) {
        case .map(let map): return response(map, try node.hold())
        case .refused(let refusal):
            let code: KvError.Code =
                switch refusal.kind {
                case .invalid: .invalidArgument
                case .notFound: .notFound
                case .precondition: .failedPrecondition
                case .busy: .busy
                }
            throw KvError(code, refusal.description, retryAfterMilliseconds: code == .busy ? 100 : 0)
        }
    }

    private func response(_ map: ShardMap, _ hold: MoveHold?) -> Flotilla_V1_ConfigResponse {
        var response = Flotilla_V1_ConfigResponse()
        response.config = HeldMap(map: map, hold: hold).wire
        return response
    }

    func hold(request: Flotilla_V1_HoldRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        let (id, lasts) = (request.id.array, Milliseconds(request.lastsMs))
        return try await execute(
            request.prolong
                ? .prolong(id: id, lasts: lasts) : .hold(id: id, holder: request.holder, lasts: lasts),
            request.requestID)
    }

    func release(
        request: Flotilla_V1_ReleaseRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ConfigResponse {
        try await execute(.release(id: request.id.array), request.requestID)
    }

    func join(request: Flotilla_V1_JoinRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        var groups: [GroupID: [String]] = [:]
        for group in request.groups { groups[GroupID(group.gid)] = group.addresses }
        for address in groups.values.joined() where Address(toCall: address) == nil {
            throw KvError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        if !request.force {
            // Those that are in the map already have been asked.
            let known = try await node.read(isUrgent: false) { [layout = node.layout] in
                try ControllerMachine.map(number: nil, layout: layout, in: $0)?.groups ?? [:]
            }
            try await node.check(groups.filter { Set($0.value) != Set(known[$0.key]?.addresses ?? []) })
        }
        return try await execute(.join(groups), request.requestID)
    }

    func leave(request: Flotilla_V1_LeaveRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        try await execute(.leave(request.gids.map { GroupID($0) }), request.requestID)
    }

    func move(request: Flotilla_V1_MoveRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        let shard = ShardID(request.shard)
        guard request.abort else {
            guard !request.force, !request.acceptLoss else {
                throw KvError(.invalidArgument, "only the end of a move is forced; set abort besides")
            }
            return try await execute(.move(shard: shard, to: GroupID(request.gid)), request.requestID)
        }
        guard request.gid == 0 else {
            throw KvError(.invalidArgument, "a move that is aborted names no group; leave gid out")
        }
        guard request.force == request.acceptLoss else {
            throw KvError(
                .invalidArgument,
                "by force, what the target of shard \(shard)'s move has acknowledged since it took the shard over is lost; "
                    + "set accept_loss with force, or neither")
        }
        return try await execute(.abort(shard: shard, isForced: request.force), request.requestID)
    }

    func reportMove(
        request: Flotilla_V1_ReportMoveRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ConfigResponse {
        let event: ControllerCommand.MoveEvent
        switch request.event {
        case .activated: event = .activated
        case .rejected: event = .rejected
        case .collected: event = .collected
        default: throw KvError(.invalidArgument, "the report names no event")
        }
        let command = ControllerCommand.report(shard: ShardID(request.shard), epoch: request.epoch, event: event)
        return try await execute(command, Data())
    }

    func reportGroup(
        request: Flotilla_V1_ReportGroupRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ConfigResponse {
        for address in request.addresses where Address(toCall: address) == nil {
            throw KvError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        return try await execute(
            .relocate(
                GroupID(request.gid), request.addresses, membershipIndex: request.membershipIndex,
                identity: request.identity.array), Data())
    }

    func giveUp(request: Flotilla_V1_GiveUpRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        try await execute(.giveUp(GroupID(request.gid)), request.requestID)
    }

    func query(request: Flotilla_V1_QueryRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        let number = request.hasNumber ? request.number : nil
        // A stale copy is whatever it is.
        let waits = request.hasNewerThan && !request.stale && request.waitMs > 0
        var found = try await look(number, isStale: request.stale)
        if waits, found.map.map({ $0.number <= request.newerThan }) ?? true {
            let until = HostClock.monotonic() + min(Milliseconds(request.waitMs), ControllerCore.waitMax)
            await desk.waitForMap(newerThan: found.map == nil ? nil : request.newerThan, until: until)
            found = try await look(number, isStale: false)
        }
        if let map = found.map { return response(map, found.hold) }
        if let number { throw KvError(.notFound, "there is no config \(number)") }
        throw KvError(.unavailable, "the controller is not initialised yet", retryAfterMilliseconds: 100)
    }

    /// A map, or the newest with the hold on moves.
    private func look(_ number: UInt64?, isStale: Bool) async throws -> (map: ShardMap?, hold: MoveHold?) {
        let look: @Sendable (any ReadView) throws -> (map: ShardMap?, hold: MoveHold?) = {
            [layout = node.layout] view in
            (
                try ControllerMachine.map(number: number, layout: layout, in: view),
                number == nil ? try ControllerMachine.hold(layout: layout, in: view) : nil
            )
        }
        guard isStale else { return try await node.read(isUrgent: false) { try look($0) } }
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        return try look(snapshot)
    }

    func cluster(
        request: Flotilla_V1_ClusterRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ClusterResponse {
        let map = try await node.read(isUrgent: false) {
            try ControllerMachine.map(number: nil, layout: node.layout, in: $0)
        }
        guard let map else {
            throw KvError(
                .unavailable, "the controller is not initialised yet", retryAfterMilliseconds: 100
            )
        }
        var response = Flotilla_V1_ClusterResponse()
        response.clusterID = Data(map.clusterID)
        response.shardCount = UInt32(map.shardCount)
        return response
    }
}
