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
    private let desk: ControllerDesk

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
        let desk = ControllerDesk(node: node)
        self.desk = desk
        let status = StatusService(node: node) { _, _, _ in }
        listener = try await GRPCListener(
            endpoint,
            services: [
                PeerService(node: node, moves: nil), ControllerService(node: node, desk: desk),
                status,
            ], connectionsMax: descriptors.grpc, memory: memory)
        do { http = try await status.serveHTTP(connectionsMax: descriptors.http, memory: memory) } catch {
            await node.stop { [listener] in await listener.stop() }
            throw error
        }
        node.log.info("controller node \(options.id) listens on \(listener.endpoint), data in \(options.directory)")
        tasks = [
            Task {
                do { try await node.start(nil) } catch is CancellationError {
                    return
                } catch {
                    return node.failToStart(error)
                }
                desk.begin()
            }
        ]
    }

    /// Why the node can no longer work, once it can't.
    public var failure: NodeFailure? { node.failure }

    /// Hands leadership over, ends what waits and closes the engine; see `Node.stop`.
    public func stop(closesConnections: Bool = true) async {
        for task in tasks { task.cancel() }
        desk.end()
        http?.stop()
        let listener = listener
        await node.stop(closesConnections ? { await listener.stop() } : nil)
    }
}
