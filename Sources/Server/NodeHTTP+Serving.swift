internal import Admission
internal import HTTPService
internal import Keyspace
internal import Logging
internal import RaftLog

extension StatusService {
    /// Serves metrics and health on the node's own address, if it was told a port.
    func serveHTTP(connectionsMax: Int, memory: MemoryBudget) async throws -> HTTPListener? {
        let options = node.options
        guard let port = options.httpPort else { return nil }
        let endpoint = try options.validated()
        let http = NodeHTTP(
            failure: { node.failure?.description }, replica: { node.status }, status: { try await status() },
            memory: { MemoryUsage(held: memory.held, budget: memory.bytes) })
        let listener = try await HTTPListener(
            Address(host: endpoint.host, port: port), connectionsMax: connectionsMax, memory: memory.peers,
            log: node.log
        ) {
            await http.answer($0)
        }
        node.servesHTTP(at: listener.endpoint)
        node.log.info("serves /metrics, /healthz and /readyz on http://\(listener.endpoint)")
        return listener
    }
}
