internal import Admission
internal import DashboardModel
internal import Foundation
internal import HTTPService
public import Keyspace
public import Logging
internal import Synchronization

/// The dashboard: looks at the cluster again and again, and shows it to browsers. A client like any other; it holds
/// nothing that can't be had anew, but for the history that it has seen.
public final class DashboardServer: Sendable {
    /// Streams get a line at least so often.
    private static let keepAlive: Duration = .seconds(15)

    private let listener: HTTPListener
    private let tasks: [Task<Void, Never>]
    private let updates: Broadcast

    /// Where it listens, with the port that the system chose for port 0.
    public var endpoint: Address { listener.endpoint }

    /// Binds, and begins to look. Throws `ListenError`.
    public init(_ options: DashboardOptions, version: String, log: Logger) async throws {
        let observer = Observer(options.controllers)
        let updates = Broadcast()
        let view = ClusterView(
            DashboardSettings(
                version: version, allowActions: options.allowActions,
                updateIntervalMs: UInt64(options.interval / .milliseconds(1))))
        let routes = Routes(
            observer: observer, view: view, updates: updates, allowActions: options.allowActions,
            requests: RequestGuard(hosts: options.hosts + [ProcessInfo.processInfo.hostName]))
        listener = try await HTTPListener(
            options.listen, connectionsMax: DescriptorBudget.httpAlone(limit: OpenFiles.raise()), log: log,
            refuse: Routes.refusal
        ) { await routes.answer($0) }
        self.updates = updates
        let interval = options.interval
        tasks = [
            Task {
                var next = ContinuousClock.now
                while !Task.isCancelled {
                    view.take(await observer.observe())
                    if updates.isHeard {
                        do { updates.send(try view.frame()) } catch {
                            log.error("can't encode the dashboard: \(error)")
                        }
                    }
                    // A look that took long is followed by a pause all the same.
                    next = max(next + interval, ContinuousClock.now + interval / 10)
                    try? await Task.sleep(until: next)
                }
            },
            Task {
                while !Task.isCancelled {
                    try? await Task.sleep(for: Self.keepAlive / 3)
                    updates.keepAlive(Array(": still here\n\n".utf8), after: Self.keepAlive)
                }
            },
        ]
    }

    public func stop() {
        for task in tasks { task.cancel() }
        updates.finish()
        listener.stop()
    }
}

/// The model, shared between the one who looks and those who answer.
final class ClusterView: Sendable {
    private let model: Mutex<ClusterModel>

    init(_ settings: DashboardSettings) {
        model = Mutex(ClusterModel(settings: settings))
    }

    func take(_ observation: Observation) { model.withLock { $0.observe(observation) } }

    /// Values share their storage: a copy costs nothing, and who reads it keeps nobody waiting.
    var current: ClusterModel { model.withLock { $0 } }

    func dashboard() -> Answer.Dashboard { current.dashboard() }

    /// The newest state as a server-sent event.
    func frame() throws -> [UInt8] {
        // JSON in one line: strings have no raw line ends.
        Array("event: dashboard\ndata: ".utf8) + (try HTTPAnswer.encoded(dashboard())) + Array("\n\n".utf8)
    }
}
