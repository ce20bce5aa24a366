package import HTTPService
package import Keyspace
internal import Telemetry

/// What a node says over HTTP to those who watch it: `/metrics`, `/healthz`, `/readyz`.
package struct NodeHTTP: Sendable {
    /// A follower that is further behind its group's commit isn't ready.
    static let lagMax: UInt64 = 1_000

    /// `nil`: it works.
    let failure: @Sendable () -> String?
    /// Without shards: asked often, and answered at once.
    let replica: @Sendable () -> NodeStatus
    let status: @Sendable () async throws -> NodeStatus
    let memory: @Sendable () -> MemoryUsage

    package init(
        failure: @escaping @Sendable () -> String?, replica: @escaping @Sendable () -> NodeStatus,
        status: @escaping @Sendable () async throws -> NodeStatus,
        memory: @escaping @Sendable () -> MemoryUsage = { MemoryUsage(held: 0, budget: 0) }
    ) {
        self.failure = failure
        self.replica = replica
        self.status = status
        self.memory = memory
    }

    package func answer(_ question: HTTPQuestion) async -> HTTPAnswer {
        let paths = ["/metrics", "/healthz", "/readyz"]
        guard paths.contains(question.path) else {
            return .text(404, "there is nothing here; ask for \(paths.joined(separator: ", "))\n")
        }
        guard question.method == "GET" else {
            return HTTPAnswer(
                405, type: "text/plain; charset=utf-8", headers: [("Allow", "GET, HEAD")],
                body: .bytes(Array("only GET and HEAD are answered here\n".utf8)))
        }
        if question.path == "/healthz" {
            guard let failure = failure() else { return .text(200, "ok\n") }
            return .text(503, "\(failure)\n")
        }
        if question.path == "/metrics" {
            do {
                let page = MetricsPage.text(try await status(), process: .now, memory: memory())
                return .text(200, page, type: MetricsText.contentType)
            } catch { return .text(503, "no status: \(error)\n") }
        }
        let obstacles = Self.obstacles(replica(), failure())
        return obstacles.isEmpty ? .text(200, "ok\n") : .text(503, obstacles.map { "\($0)\n" }.joined())
    }

    /// Why clients had better ask another node.
    static func obstacles(_ status: NodeStatus, _ failure: String?) -> [String] {
        var obstacles: [String] = []
        if let failure { obstacles.append(failure) }
        if !status.condition.isEmpty { obstacles.append(status.condition) }
        if status.leaderID == nil { obstacles.append("the node knows no leader") }
        if status.role == .learner { obstacles.append("the node has no vote yet") }
        let lag = status.commitIndex - min(status.commitIndex, status.lastApplied)
        if lag > lagMax { obstacles.append("applied entries are \(lag) behind the commit") }
        return obstacles
    }
}
