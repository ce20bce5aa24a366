internal import Admission
internal import Engines
internal import Foundation
internal import HTTPService
internal import Keyspace
public import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding

/// One node of the controller.
public final class ControllerNode: Sendable {
    private let node: Node<ControllerMachine>
    private let listener: GRPCListener
    private let http: HTTPListener?
    private let tasks: [Task<Void, Never>]

    /// Opens the directory, listens, and comes to life in the background.
    public init(_ options: ServeOptions, log: Logger) async throws {
        let endpoint = try options.validated()
        // Before anything is opened.
        let descriptors = DescriptorBudget(limit: OpenFiles.raise())
        let memory = options.memoryBudget
        // A new directory isn't made for a node that can't listen.
        if try NodeDirectory.identity(at: options.directory) == nil {
            for address in try options.addressesToListenOn() { try address.checkIsFree() }
        }
        let node = try Node(options, log: log) { ControllerMachine() }
        self.node = node
        if descriptors.isTight { node.log.warning("\(DescriptorBudget.tightness)") }
        let status = StatusService(node: node) { _, _, _ in }
        listener = try await GRPCListener(
            endpoint,
            services: [
                PeerService(node: node, moves: nil), ControllerService(node: node),
                status,
            ], connectionsMax: descriptors.grpc, memory: memory)
        do { http = try await status.serveHTTP(connectionsMax: descriptors.http, memory: memory) } catch {
            await node.stop { [listener] in await listener.stop() }
            throw error
        }
        node.log.info("controller node \(options.id) listens on \(listener.endpoint), data in \(options.directory)")
        tasks = [
            Task {
                do { try await node.start(clusterID: []) } catch is CancellationError {
                    return
                } catch {
                    return node.failToStart(error)
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
                let hold = try? node.hold(), hold.until <= HostClock.wall()
            else { continue }
            _ = try? await node.propose(ControllerCommand.passTime.encoded(requestID: []))
        }
    }

    /// Why the node can no longer work, once it can't.
    public var failure: NodeFailure? { node.failure }

    /// Hands leadership over, ends what waits and closes the engine; see `Node.stop`.
    public func stop(closesConnections: Bool = true) async {
        for task in tasks { task.cancel() }
        http?.stop()
        let listener = listener
        await node.stop(closesConnections ? { await listener.stop() } : nil)
    }
}
