public import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import Glibc
public import Wire

/// Why a server can't listen; the sentence names the address and the remedy.
public struct ListenError: Error, CustomStringConvertible, Sendable {
    public var description: String
}

/// A gRPC server on one address.
public final class GRPCListener: Sendable {
    private let server: GRPCServer<HTTP2ServerTransport.Posix>
    private let runner: Task<Void, any Error>
    /// Where it listens, with the port that the system chose for port 0.
    public let endpoint: Address

    /// Binds and begins to serve.
    public init(_ endpoint: Address, services: [any RegistrableRPCService]) async throws {
        try Self.check(endpoint)
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

    /// Finds out whether the address is to be had, and if not, why.
    public static func check(_ endpoint: Address) throws(ListenError) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: endpoint.port).bigEndian
        guard inet_pton(AF_INET, endpoint.numericHost, &address.sin_addr) == 1 else { return }
        let failed = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) != 0
                    || listen(descriptor, 1) != 0
            }
        }
        guard failed else { return }
        let reason =
            switch errno {
            case EADDRINUSE: "the port is in use; stop the process that has it, or choose another port"
            case EADDRNOTAVAIL: "this machine doesn't have that address; give --listen IP:PORT with one that it has"
            case EACCES: "not permitted; choose a port above 1023"
            default: String(cString: strerror(errno))
            }
        throw ListenError(description: "can't listen on \(endpoint): \(reason)")
    }

    /// Ends open calls and stops listening.
    public func stop() async {
        server.beginGracefulShutdown()
        // Streams of peers and clients have no natural end.
        runner.cancel()
        _ = try? await runner.value
    }
}
