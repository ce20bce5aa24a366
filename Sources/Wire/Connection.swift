public import GRPCCore
public import GRPCNIOTransportHTTP2Posix
public import Keyspace
import Synchronization

extension CallOptions {
    /// The largest answer: a value of 8 MiB in a page or piece, and room for what goes with it. gRPC's default of
    /// 4 MiB would make such a value unreadable.
    public static let responseBytesMax = 24 << 20

    public static func flotilla(timeout: Duration? = nil) -> CallOptions {
        var options = CallOptions.defaults
        options.timeout = timeout
        options.maxResponseMessageBytes = responseBytesMax
        options.maxRequestMessageBytes = responseBytesMax
        return options
    }
}

/// A gRPC connection to one endpoint, opened when it is first used and reopened by itself.
public final class Connection: Sendable {
    public typealias Transport = HTTP2ClientTransport.Posix
    public let client: GRPCClient<Transport>
    private let runner: Task<Void, Never>

    public init(_ endpoint: Address) throws {
        let config = HTTP2ClientTransport.Posix.Config.defaults { config in
            config.http2.maxFrameSize = 1 << 18
            config.http2.targetWindowSize = 8 << 20
            // A node that comes back should be found soon; the default waits up to two minutes.
            config.backoff.initial = .milliseconds(50)
            config.backoff.max = .milliseconds(500)
            config.connection.maxIdleTime = nil
            // A peer behind a cut link is found out in seconds, not when TCP gives up after minutes.
            config.connection.keepalive = .init(time: .seconds(10), timeout: .seconds(5), allowWithoutCalls: false)
            // Outboxes gather already; waiting 100 µs for more to flush would only add to every answer.
            config.connection.flushCoalescing = nil
        }
        let transport: Transport
        if endpoint.isIPv4 {
            transport = try Transport(
                target: .ipv4(address: endpoint.numericHost, port: endpoint.port), transportSecurity: .plaintext,
                config: config)
        } else {
            transport = try Transport(
                target: .dns(host: endpoint.host, port: endpoint.port), transportSecurity: .plaintext, config: config)
        }
        let client = GRPCClient(transport: transport, interceptors: [DepartureWatch()])
        self.client = client
        runner = Task { try? await client.runConnections() }
    }

    deinit {
        client.beginGracefulShutdown()
        runner.cancel()
    }
}

/// One connection for each endpoint, shared.
public final class ConnectionPool: Sendable {
    private let connections = Mutex<[Address: Connection]>([:])

    public init() {}

    public func connection(to endpoint: Address) throws -> Connection {
        if let found = connections.withLock({ $0[endpoint] }) { return found }
        let made = try Connection(endpoint)
        return connections.withLock { connections in
            if let found = connections[endpoint] { return found }
            connections[endpoint] = made
            return made
        }
    }

    /// Closes what nobody asks any more.
    public func keepOnly(_ endpoints: Set<Address>) {
        connections.withLock { connections in connections = connections.filter { endpoints.contains($0.key) } }
    }

    /// The next use opens a new one.
    public func drop(_ endpoint: Address) { connections.withLock { $0[endpoint] = nil } }
}
