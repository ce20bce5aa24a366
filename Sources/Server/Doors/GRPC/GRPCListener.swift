package import Admission
package import GRPCCore
internal import GRPCNIOTransportHTTP2Posix
internal import HTTPService
public import Keyspace
internal import NIOCore

/// A gRPC server on one address.
public final class GRPCListener: Sendable {
    private let server: GRPCServer<HTTP2ServerTransport.Posix>
    private let runner: Task<Void, any Error>
    /// Where it listens, with the port that the system chose for port 0.
    public let endpoint: Address

    /// Binds and begins to serve.
    /// - Parameters:
    ///   - connectionsMax: connections at once.
    ///   - memory: what calls are counted in.
    package init(
        _ endpoint: Address, services: [any RegistrableRPCService], connectionsMax: Int, memory: MemoryBudget
    ) async throws {
        try endpoint.checkIsFree()
        let gate = ConnectionGate(countMax: connectionsMax)
        let desk = StreamDesk()
        let transport = HTTP2ServerTransport.Posix(
            address: .ipv4(host: endpoint.numericHost, port: endpoint.port),
            transportSecurity: .plaintext,
            config: .flotilla(gate: gate, memory: memory, desk: desk))
        let server = GRPCServer(
            transport: transport, services: services, interceptors: [StreamAccountInterceptor(desk: desk)])
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

extension HTTP2ServerTransport.Posix.Config {
    /// A client that is gone without a word is found out, and one that has asked nothing for long makes room; it comes
    /// back by itself when it has something to ask.
    private static var pingAfter: Duration { .seconds(60) }
    private static var pingTimeout: Duration { .seconds(20) }
    private static var idleMax: Duration { .seconds(600) }
    private static var graceMax: Duration { .seconds(30) }
    /// Calls of one connection at once; more wait at the client.
    private static var streamsMax: Int { 1_024 }

    fileprivate static func flotilla(gate: ConnectionGate, memory: MemoryBudget, desk: StreamDesk) -> Self {
        .defaults { config in
            config.http2.maxFrameSize = 1 << 18
            // The default of 64 KiB throttles appends; what is granted must be held, for each stream.
            config.http2.targetWindowSize = MemoryBudget.windowBytes
            config.http2.maxConcurrentStreams = streamsMax
            config.rpc.maxRequestPayloadSize = Limits.requestBytesMax
            // Answers are gathered in outboxes; a flush that waits for more would only come later.
            config.connection.flushCoalescing = nil
            config.connection.maxIdleTime = idleMax
            config.connection.maxGraceTime = graceMax
            config.connection.keepalive.time = pingAfter
            config.connection.keepalive.timeout = pingTimeout
            config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
            config.connection.keepalive.clientBehavior.allowWithoutCalls = true
            // The only hooks that the transport has at a listener and at a stream.
            config.channelDebuggingCallbacks.onBindTCPListener = { listener in
                listener.eventLoop.makeCompletedFuture {
                    // Before those of the transport: what isn't let in is none of their business.
                    try listener.pipeline.syncOperations.addHandler(AcceptHandler(gate: gate), position: .first)
                }
            }
            config.channelDebuggingCallbacks.onAcceptHTTP2Stream = { stream in
                stream.eventLoop.makeCompletedFuture {
                    guard let number = stream.parent.flatMap({ gate.number(of: $0) }) else { return }
                    gate.begin(number)
                    stream.closeFuture.whenComplete { _ in gate.end(number) }
                    let meter = StreamMeter(
                        budget: memory, desk: desk, gate: gate, holder: number,
                        messageBytesMax: Limits.requestBytesMax)
                    try stream.pipeline.syncOperations.addHandler(meter, position: .first)
                }
            }
        }
    }
}
