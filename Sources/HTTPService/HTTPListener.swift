internal import HTTPTypes
internal import HummingbirdCore
public import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization
public import Wire

/// An HTTP/1.1 server on one address. Whoever needs TLS puts a proxy before it.
public final class HTTPListener: Sendable {
    public typealias Handler = @Sendable (HTTPQuestion) async -> HTTPAnswer

    /// Larger bodies are refused: nothing here takes files.
    public static let bodyBytesMax = 64 << 10
    /// A connection that asks nothing for so long is closed.
    private static let idleMax: TimeAmount = .seconds(75)

    /// Where it listens, with the port that the system chose for port 0.
    public let endpoint: Address
    private let runner: Task<Void, any Error>

    /// Binds and begins to serve. Throws `ListenError`.
    public init(_ endpoint: Address, log: Logger, handler: @escaping Handler) async throws {
        try endpoint.checkIsFree()
        // The library's own lines on every start are no news.
        var quiet = log
        quiet.logLevel = max(log.logLevel, .warning)
        let (bound, announce) = AsyncStream<Int?>.makeStream()
        let server = HummingbirdCore.Server(
            childChannelSetup: HTTP1Channel(
                responder: { request, writer, _ in try await Self.respond(request, writer, handler) },
                configuration: .init(
                    idleTimeout: Self.idleMax,
                    httpDecoderConfiguration: .init(maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10))),
            configuration: ServerConfiguration(
                address: .hostname(endpoint.numericHost, port: endpoint.port), serverName: nil),
            onServerRunning: { channel in announce.yield(channel.localAddress?.port) },
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: quiet)
        runner = Task {
            defer { announce.finish() }
            try await server.run()
        }
        var port: Int?
        for await found in bound {
            port = found
            break
        }
        guard let port else {
            var reason = "it ended at once"
            do { try await runner.value } catch { reason = "\(error)" }
            throw ListenError(description: "can't listen on \(endpoint): \(reason)")
        }
        self.endpoint = Address(host: endpoint.host, port: port)
    }

    public func stop() { runner.cancel() }

    private static func respond(
        _ request: Request, _ writer: consuming ResponseWriter, _ handler: Handler
    ) async throws {
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        // HTTPTypes has taken Host out of the fields.
        if let authority = request.head.authority { headers["host"] = authority }
        var body: [UInt8] = []
        do { body = Array(buffer: try await request.body.collect(upTo: bodyBytesMax)) } catch is NIOTooManyBytesError {
            return try await send(.text(413, "a body has at most \(bodyBytesMax) bytes\n"), "GET", writer)
        }
        let method = request.method.rawValue
        guard
            let question = HTTPQuestion(
                method: method == "HEAD" ? "GET" : method, target: request.head.path ?? "", headers: headers, body: body
            )
        else { return try await send(.text(400, "the address can't be decoded\n"), method, writer) }
        try await send(await handler(question), method, writer)
    }

    private static func send(
        _ answer: HTTPAnswer, _ method: String, _ writer: consuming ResponseWriter
    ) async throws {
        var fields = HTTPFields()
        for (name, value) in answer.headers {
            guard let name = HTTPField.Name(name) else { continue }
            fields[name] = value
        }
        var head = HTTPResponse(status: .init(code: answer.status), headerFields: fields)
        switch answer.body {
        case .bytes(let bytes):
            head.headerFields[.contentLength] = "\(bytes.count)"
            if method == "HEAD" { return try await writer.writeResponse(head) }
            var body = try await writer.writeHead(head)
            try await body.write(ByteBuffer(bytes: bytes))
            try await body.finish(nil)
        case .pieces(let pieces):
            if method == "HEAD" { return try await writer.writeResponse(head) }
            var body = try await writer.writeHead(head)
            for await piece in pieces { try await body.write(ByteBuffer(bytes: piece)) }
            try await body.finish(nil)
        }
    }
}
