internal import Admission
internal import Bytes
internal import Engines
internal import Foundation
internal import HTTPService
internal import Keyspace
public import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// One node of a shard group: keys for clients, shards for other groups.
public final class GroupNode: Sendable {
    let node: Node<GroupMachine>
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
        let controllers = ControllerLink(options.controllers)
        try await Self.checkCluster(options, controllers)
        let node = try Node(options, log: log) { GroupMachine() }
        self.node = node
        if descriptors.isTight { node.log.warning("\(DescriptorBudget.tightness)") }
        let target = MoveTarget(node: node)
        let source = MoveSource(node: node)
        let front = GroupFront(node: node, source: source, target: target)
        let status = StatusService(node: node) { status, isExact, shards in
            try front.complete(&status, isExact: isExact, exactShards: shards)
        }
        listener = try await GRPCListener(
            endpoint,
            services: [
                PeerService(node: node, moves: .init(source: source, target: target)), KvService(handler: front),
                status,
            ], connectionsMax: descriptors.grpc, memory: memory)
        do { http = try await status.serveHTTP(connectionsMax: descriptors.http, memory: memory) } catch {
            await node.stop { [listener] in await listener.stop() }
            throw error
        }
        node.log.info(
            "node \(options.id) of group \(options.gid) listens on \(listener.endpoint), data in \(options.directory)")
        tasks = [
            Task {
                do {
                    try await node.start(controllers)
                } catch is CancellationError {
                    return
                } catch {
                    return node.failToStart(error)
                }
                await ShardMover(node: node, controllers: controllers, target: target) { front.note($0) }.run()
            }
        ]
    }

    /// A directory of another cluster is refused before it is touched, if a controller can be asked. (If none
    /// answers the group works without; `ShardMover` then follows only its own cluster's configs.)
    private static func checkCluster(_ options: ServeOptions, _ controllers: ControllerLink) async throws {
        guard let identity = try NodeDirectory.identity(at: options.directory), let own = identity.clusterId,
            let theirs = await controllers.clusterIDNow()
        else { return }
        let answered = theirs.hexadecimal
        guard answered != own else { return }
        throw EngineError.mismatch(
            "\(options.directory) belongs to cluster \(own), and the controllers at "
                + "\(options.controllers.joined(separator: ", ")) answer for cluster \(answered); name the right "
                + "controllers, or choose another directory")
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
