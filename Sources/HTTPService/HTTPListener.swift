public import Admission
internal import HTTPTypes
internal import HummingbirdCore
public import Keyspace
public import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// An HTTP/1.1 server on one address. Whoever needs TLS puts a proxy before it.
public final class HTTPListener: Sendable {
    public typealias Handler = @Sendable (HTTPQuestion) async -> HTTPAnswer

    /// Larger bodies are refused: nothing here takes files.
    public static let bodyBytesMax = 64 << 10
    /// A connection that asks nothing for so long is closed.
    private static let idleMax: TimeAmount = .seconds(75)
    /// Of one field of a request's head, and of all of them. What has more is answered with 400.
    private static let headerFieldBytesMax = 16 << 10
    private static let headerBytesMax = 32 << 10

    /// Where it listens, with the port that the system chose for port 0.
    public let endpoint: Address
    private let runner: Task<Void, any Error>

    /// Binds and begins to serve. Throws `ListenError`.
    /// - Parameters:
    ///   - connectionsMax: how many there are at once; browsers take six each.
    ///   - memory: what the process may hold; long answers are counted in it, and refused with 503 while it is taken.
    ///   - refuse: the answer to what is no proper request, with its status and reason.
    public init(
        _ endpoint: Address, connectionsMax: Int = DescriptorBudget.httpMax, memory: MemoryLedger? = nil, log: Logger,
        refuse: @escaping @Sendable (_ status: Int, _ reason: String) -> HTTPAnswer = { .text($0, $1 + "\n") },
        handler: @escaping Handler
    ) async throws {
        try endpoint.checkIsFree()
        let gate = ConnectionGate(countMax: connectionsMax)
        let desk = Desk(memory: memory, refuse: refuse, handler: handler)
        let http = HTTP1Channel(
            responder: { request, writer, channel in try await desk.respond(request, writer, channel) },
            configuration: .init(
                additionalChannelHandlers: [RequestClock(gate: gate, idleMax: Self.idleMax)],
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: Self.headerFieldBytesMax, maxHeaderListSize: Self.headerBytesMax)))
        let listening: NIOAsyncChannel<HTTP1Channel.Value, Never>
        do {
            listening = try await gate.listen(
                host: endpoint.numericHost, port: endpoint.port, group: MultiThreadedEventLoopGroup.singleton
            ) { channel in
                // A client may end its side before it has its answer.
                channel.setOption(.allowRemoteHalfClosure, value: true).flatMap {
                    http.setup(channel: channel, logger: log)
                }
            }
        } catch {
            throw ListenError(description: "can't listen on \(endpoint): \(error)")
        }
        runner = Task {
            try await withThrowingDiscardingTaskGroup { group in
                try await listening.executeThenClose { connections in
                    for try await connection in connections {
                        group.addTask { await http.handle(value: connection, logger: log) }
                    }
                }
            }
        }
        self.endpoint = Address(host: endpoint.host, port: listening.channel.localAddress?.port ?? endpoint.port)
    }

    public func stop() { runner.cancel() }
}

/// Answers the requests of one listener.
private struct Desk: Sendable {
    /// Who takes nothing of an answer for so long is gone.
    private static let stallMax: Duration = .seconds(30)
    private static let pieceBytes = 256 << 10
    /// A shorter answer costs less than to count it; whether a node is healthy must always be said.
    private static let countedBytesMin = 16 << 10

    let memory: MemoryLedger?
    let refuse: @Sendable (_ status: Int, _ reason: String) -> HTTPAnswer
    let handler: HTTPListener.Handler

    func respond(_ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel) async throws {
        let method = request.method.rawValue
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        // HTTPTypes has taken Host out of the fields.
        if let authority = request.head.authority { headers["host"] = authority }
        var answer: HTTPAnswer
        do {
            let body = Array(buffer: try await request.body.collect(upTo: HTTPListener.bodyBytesMax))
            let question = HTTPQuestion(
                method: method == "HEAD" ? "GET" : method, target: request.head.path ?? "", headers: headers, body: body
            )
            if let question {
                answer = await handler(question)
            } else {
                answer = refuse(400, "the address can't be decoded")
            }
        } catch is NIOTooManyBytesError {
            answer = refuse(413, "a body has at most \(HTTPListener.bodyBytesMax) bytes")
        }
        // Beside the numbers of a gRPC port's connections, which count up from 1.
        let holder = 1 << 63 | UInt64(UInt(bitPattern: ObjectIdentifier(channel).hashValue) >> 1)
        var lease: MemoryLease?
        if let memory, case .bytes(let bytes) = answer.body, bytes.count >= Self.countedBytesMin {
            if memory.isFull(for: holder) {
                answer = refuse(503, "too much is held for others; try again")
            } else {
                memory.charge(bytes.count, for: holder)
                lease = MemoryLease(of: memory, holder: holder, bytes: bytes.count)
            }
        }
        defer { withExtendedLifetime(lease) {} }
        let watch = WriteWatch(limit: Self.stallMax) { channel.close(promise: nil) }
        defer { watch.end() }
        try await Self.send(answer, method, writer, watch)
    }

    private static func send(
        _ answer: HTTPAnswer, _ method: String, _ writer: consuming ResponseWriter, _ watch: WriteWatch
    ) async throws {
        var fields = HTTPFields()
        for (name, value) in answer.headers {
            guard let name = HTTPField.Name(name) else { continue }
            fields[name] = value
        }
        var head = HTTPResponse(status: .init(code: answer.status), headerFields: fields)
        switch answer.body {
        case .bytes(let bytes): head.headerFields[.contentLength] = "\(bytes.count)"
        // Without a length the end of the body would be written, which has none.
        case .pieces where method == "HEAD": head.headerFields[.contentLength] = "0"
        case .pieces: break
        }
        if method == "HEAD" { return try await writer.writeResponse(head) }
        var body = try await writer.writeHead(head)
        switch answer.body {
        case .bytes(let bytes):
            for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
                watch.begin()
                try await body.write(ByteBuffer(bytes: bytes[start..<min(start + pieceBytes, bytes.count)]))
                watch.pause()
            }
        case .pieces(let pieces):
            for await piece in pieces {
                watch.begin()
                try await body.write(ByteBuffer(bytes: piece))
                watch.pause()
            }
        }
        try await body.finish(nil)
    }
}

/// Ends a connection whose other side has taken nothing for too long: a write waits for it without an end.
private final class WriteWatch: Sendable {
    private struct State {
        var since: ContinuousClock.Instant?
        var task: Task<Void, Never>?
    }

    private let limit: Duration
    private let close: @Sendable () -> Void
    private let state = Mutex(State())

    init(limit: Duration, close: @escaping @Sendable () -> Void) {
        self.limit = limit
        self.close = close
    }

    func begin() {
        state.withLock { state in
            state.since = .now
            guard state.task == nil else { return }
            state.task = Task { [weak self] in
                while !Task.isCancelled, let self {
                    try? await Task.sleep(for: self.limit / 4)
                    self.look()
                }
            }
        }
    }

    func pause() { state.withLock { $0.since = nil } }

    func end() { state.withLock { $0.task }?.cancel() }

    private func look() {
        let isStalled = state.withLock { state in state.since.map { ContinuousClock.now - $0 > limit } ?? false }
        if isStalled { close() }
    }
}
