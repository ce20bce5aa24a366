public import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import HTTPService
public import Keyspace
internal import Wire

/// A gRPC server on one address.
public final class GRPCListener: Sendable {
    private let server: GRPCServer<HTTP2ServerTransport.Posix>
    private let runner: Task<Void, any Error>
    /// Where it listens, with the port that the system chose for port 0.
    public let endpoint: Address

    /// Binds and begins to serve.
    public init(_ endpoint: Address, services: [any RegistrableRPCService]) async throws {
        try endpoint.checkIsFree()
        let transport = HTTP2ServerTransport.Posix(
            address: .ipv4(host: endpoint.numericHost, port: endpoint.port),
            transportSecurity: .plaintext,
            config: .defaults { config in
                config.http2.maxFrameSize = 1 << 18
                // The default of 64 KiB throttles appends and snapshots.
                config.http2.targetWindowSize = 8 << 20
                config.rpc.maxRequestPayloadSize = 24 << 20
                // Answers are gathered in outboxes; a flush that waits for more would only come later.
                config.connection.flushCoalescing = nil
                config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
                config.connection.keepalive.clientBehavior.allowWithoutCalls = true
            })
        let server = GRPCServer(transport: transport, services: services)
        self.server = server
        let runner = Task { try await server.serve() }
        self.runner = runner
        do {
            guard let address = try await server.listeningAddress?.ipv4 else {
                throw ListenError(description: "can't listen on \(endpoint)")
            }
            self.endpoint = Address(host: endpoint.host, port: address.port)
        } catch {
            // The address is not to be had: the serving task knows why.
            var reason = "\(error)"
            do { try await runner.value } catch { reason = "\(error)" }
            throw ListenError(description: "can't listen on \(endpoint): \(reason)")
        }
    }

    /// Ends open calls and stops listening.
    public func stop() async {
        server.beginGracefulShutdown()
        // Streams of peers and clients have no natural end.
        runner.cancel()
        _ = try? await runner.value
    }
}
