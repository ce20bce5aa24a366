public import Engines
internal import Foundation
internal import GRPCCore
internal import HTTPService
public import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Wire

/// One node of the controller.
public final class ControllerNode: Sendable {
    private let node: Node<ControllerMachine>
    private let listener: GRPCListener
    private let http: HTTPListener?
    private let tasks: [Task<Void, Never>]

    /// Opens the directory, listens, and comes to life in the background.
    public init(_ options: ServeOptions, log: Logger) async throws {
        let endpoint = try options.validated()
        // A new directory isn't made for a node that can't listen.
        if try NodeDirectory.identity(at: options.directory) == nil {
            for address in try options.addressesToListenOn() { try address.checkIsFree() }
        }
        let node = try Node(options, log: log) { ControllerMachine() }
        self.node = node
        let status = StatusService(node: node) { _, _ in }
        listener = try await GRPCListener(
            endpoint,
            services: [
                PeerService(node: node, shards: nil), ControllerService(node: node),
                status,
            ])
        do { http = try await NodeHTTP.serve(options, node, status) } catch {
            await node.stop(listener)
            throw error
        }
        node.log.info("controller node \(options.id) listens on \(listener.endpoint), data in \(options.directory)")
        tasks = [
            Task {
                do { try await node.start(clusterID: []) } catch is CancellationError {
                    return
                } catch {
                    node.log.critical("can't start: \(error)")
                    exit(1)
                }
                await Self.initialize(node)
                await Self.endHolds(node)
            }
        ]
    }

    /// The first leader writes the first map: the number of shards is fixed from then on.
    private static func initialize(_ node: Node<ControllerMachine>) async {
        while !Task.isCancelled {
            if let status = node.host?.status, status.role == .leader, status.hasCommittedInTerm {
                let layout = node.layout
                let known = try? await node.read {
                    try ControllerMachine.map(number: nil, layout: layout, in: $0) != nil
                }
                if known == true { return }
                let command = ControllerCommand.initialize(
                    shardCount: node.options.shardCount, clusterID: node.clusterID)
                _ = try? await node.propose(command.encoded(requestID: []))
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Lets log time pass when a hold on moves is due to end and its holder is gone.
    private static func endHolds(_ node: Node<ControllerMachine>) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            guard let status = node.host?.status, status.role == .leader, status.hasCommittedInTerm,
                let hold = try? hold(node), hold.until <= HostClock.wall()
            else { continue }
            _ = try? await node.propose(ControllerCommand.passTime.encoded(requestID: []))
        }
    }

    /// The hold on moves, as this node knows it.
    static func hold(_ node: Node<ControllerMachine>) throws -> MoveHold? {
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        return try ControllerMachine.hold(layout: node.layout, in: snapshot)
    }

    /// Why the node can no longer work, once it can't.
    public var failure: EngineError? { node.failure }

    /// Hands leadership over, ends what waits and closes the engine; see `Node.stop`.
    public func stop(closesConnections: Bool = true) async {
        for task in tasks { task.cancel() }
        http?.stop()
        await node.stop(closesConnections ? listener : nil)
    }
}

struct ControllerService: Flotilla_V1_Controller.SimpleServiceProtocol {
    let node: Node<ControllerMachine>

    private func execute(_ command: ControllerCommand, _ requestID: Data) async throws -> Flotilla_V1_ConfigResponse {
        switch try await node.propose(command.encoded(requestID: requestID.array)) {
        case .map(let map): return response(map, try ControllerNode.hold(node))
        case .refused(let refusal):
            let code: Flotilla_V1_ErrorCode =
                switch refusal.kind {
                case .invalid: .invalidArgument
                case .notFound: .notFound
                case .precondition: .failedPrecondition
                case .busy: .busy
                }
            throw Flotilla_V1_Error(code, refusal.description, retryAfterMilliseconds: code == .busy ? 100 : 0).status
        }
    }

    private func response(_ map: ShardMap, _ hold: MoveHold?) -> Flotilla_V1_ConfigResponse {
        var response = Flotilla_V1_ConfigResponse()
        response.config = map.wire
        guard let hold else { return response }
        response.config.hold.id = Data(hold.id)
        response.config.hold.holder = hold.holder
        response.config.hold.untilMs = hold.until
        response.config.hold.balanceWaits = map.isBalancePending
        response.config.hold.waiting = hold.waiting.sorted { $0.key < $1.key }.map { shard, gid in
            var move = Flotilla_V1_WaitingMove()
            move.shard = UInt32(clamping: shard)
            move.to = gid
            return move
        }
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
        var groups: [UInt64: [String]] = [:]
        for group in request.groups { groups[group.gid] = group.addresses }
        for address in groups.values.joined() where Address(address) == nil {
            throw Flotilla_V1_Error(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT").status
        }
        return try await execute(.join(groups), request.requestID)
    }

    func leave(request: Flotilla_V1_LeaveRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        try await execute(.leave(request.gids), request.requestID)
    }

    func move(request: Flotilla_V1_MoveRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        try await execute(.move(shard: Int(request.shard), to: request.gid), request.requestID)
    }

    func reportMove(
        request: Flotilla_V1_ReportMoveRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ConfigResponse {
        let event: ControllerCommand.MoveEvent
        switch request.event {
        case .activated: event = .activated
        case .rejected: event = .rejected
        case .collected: event = .collected
        default: throw Flotilla_V1_Error(.invalidArgument, "the report names no event").status
        }
        let command = ControllerCommand.report(shard: Int(request.shard), epoch: request.epoch, event: event)
        return try await execute(command, Data())
    }

    func reportGroup(
        request: Flotilla_V1_ReportGroupRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ConfigResponse {
        for address in request.addresses where Address(address) == nil {
            throw Flotilla_V1_Error(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT").status
        }
        return try await execute(
            .relocate(request.gid, request.addresses, membershipIndex: request.membershipIndex), Data())
    }

    func query(request: Flotilla_V1_QueryRequest, context: ServerContext) async throws -> Flotilla_V1_ConfigResponse {
        let number = request.hasNumber ? request.number : nil
        // A long poll looks again and again; 50 ms is soon enough for a map.
        let polls = request.hasNewerThan ? min(request.waitMs, 60_000) / 50 : 0
        for poll in 0...polls {
            // While the own copy shows nothing new there is no need to trouble the group.
            if request.hasNewerThan, poll > 0, poll < polls, showsNothing(above: request.newerThan) {
                try await Task.sleep(for: .milliseconds(50))
                continue
            }
            let look: @Sendable (any ReadView) throws -> (map: ShardMap?, hold: MoveHold?) = {
                [layout = node.layout] view in
                (
                    try ControllerMachine.map(number: number, layout: layout, in: view),
                    number == nil ? try ControllerMachine.hold(layout: layout, in: view) : nil
                )
            }
            let found: (map: ShardMap?, hold: MoveHold?)
            if request.stale {
                let snapshot = try node.engine.snapshot()
                defer { snapshot.close() }
                found = try look(snapshot)
            } else {
                found = try await node.read { try look($0) }
            }
            let map = found.map
            if let map, !request.hasNewerThan || map.number > request.newerThan || poll == polls {
                return response(map, found.hold)
            }
            if map == nil, !request.hasNewerThan || poll == polls {
                if let number { throw Flotilla_V1_Error(.notFound, "there is no config \(number)").status }
                throw Flotilla_V1_Error(
                    .unavailable, "the controller is not initialised yet", retryAfterMilliseconds: 100
                ).status
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Flotilla_V1_Error(.unavailable, "the controller is not initialised yet").status
    }

    /// Whether this node leads and knows of no config above `number`.
    private func showsNothing(above number: UInt64) -> Bool {
        guard node.host?.status.role == .leader, let snapshot = try? node.engine.snapshot() else { return false }
        defer { snapshot.close() }
        guard let map = try? ControllerMachine.map(number: nil, layout: node.layout, in: snapshot) else { return false }
        return map.number <= number
    }

    func cluster(
        request: Flotilla_V1_ClusterRequest, context: ServerContext
    ) async throws -> Flotilla_V1_ClusterResponse {
        let map = try await node.read { try ControllerMachine.map(number: nil, layout: node.layout, in: $0) }
        guard let map else {
            throw Flotilla_V1_Error(
                .unavailable, "the controller is not initialised yet", retryAfterMilliseconds: 100
            ).status
        }
        var response = Flotilla_V1_ClusterResponse()
        response.clusterID = Data(map.clusterID)
        response.shardCount = UInt32(map.shards.count)
        return response
    }
}

extension ShardMap {
    var wire: Flotilla_V1_Config {
        var config = Flotilla_V1_Config()
        config.number = number
        config.shardCount = UInt32(shards.count)
        config.clusterID = Data(clusterID)
        config.groups = groups.sorted { $0.key < $1.key }.map { gid, group in
            var row = Flotilla_V1_GroupAddresses()
            row.gid = gid
            row.addresses = group.addresses
            row.leaving = group.isLeaving
            return row
        }
        config.shards = shards.map(\.gid)
        config.epochs = shards.map(\.epoch)
        config.moves = shards.enumerated().compactMap { shard, row in
            guard let move = row.move else { return nil }
            var wire = Flotilla_V1_MoveRow()
            wire.shard = UInt32(shard)
            wire.from = move.from
            wire.to = move.to
            wire.epoch = move.epoch
            wire.phase =
                switch move.phase {
                case .moving: .moving
                case .collecting: .collecting
                case .rejected: .rejected
                }
            return wire
        }
        return config
    }
}
