internal import ClientCore
internal import GRPCCore
internal import Keyspace
internal import Synchronization
internal import Wire

/// One pipelined Kv session with one node: whatever has queued goes into one frame; answers are matched by id.
/// `SessionWindow` decides who is told what.
final class SessionStream: Sendable {
    private struct State {
        var window = SessionWindow<UnsafeContinuation<AskOutcome, Never>>()
        var alarm: Task<Void, Never>?
    }

    private let state = Mutex(State())
    private let outbox = Outbox<KvRequest>(countMax: 65_536, bytesMax: 256 << 20)
    private let task: Mutex<Task<Void, Never>?>

    init(_ connection: Connection) {
        task = Mutex(nil)
        let running = Task { [self] in await run(connection) }
        task.withLock { $0 = running }
    }

    var isBroken: Bool { state.withLock { $0.window.isBroken } }

    /// Sends the request under an id of the stream's, and waits for the answer.
    func send(_ request: KvRequest, _ patience: Patience) async -> AskOutcome {
        var request = request
        return await withUnsafeContinuation { continuation in
            let id = state.withLock { state -> UInt64? in
                guard let ticket = state.window.send(continuation, patience, now: ClientClock.now) else { return nil }
                if let alarm = ticket.alarm { set(alarm, &state) }
                return ticket.id
            }
            guard let id else { return continuation.resume(returning: .notSent) }
            request.id = id
            if !outbox.push(request, bytes: request.payloadBytes) {
                state.withLock { $0.window.refused(id) }?.resume(returning: .notSent)
            }
        }
    }

    private func run(_ connection: Connection) async {
        let kv = Flotilla_V1_Kv.Client(wrapping: connection.client)
        try? await kv.session(options: .flotilla()) { writer in
            while let queued = await self.outbox.drain() {
                // Frame by frame: what its caller has given up while others were written needn't be sent any more.
                for slice in Self.slices(queued) {
                    let requests = self.state.withLock { $0.window.taken(slice) }
                    if requests.isEmpty { continue }
                    var frame = Flotilla_V1_SessionRequest()
                    frame.requests = requests.map(\.wire)
                    try await writer.write(frame)
                }
            }
        } onResponse: { response in
            for try await frame in response.messages {
                let responses = frame.responses.map { KvResponse($0) }
                Self.tell(self.state.withLock { $0.window.received(responses, now: ClientClock.now) })
            }
        }
        outbox.close()
        Self.tell(
            state.withLock { state in
                state.alarm?.cancel()
                return state.window.failed()
            })
    }

    private static let alarmsApart: Duration = .milliseconds(20)
    private static let frameBytesMax = 1 << 20

    /// What goes into one frame each: so many requests as fit, at least one.
    private static func slices(_ queued: [KvRequest]) -> [[KvRequest]] {
        var slices: [[KvRequest]] = []
        var start = 0
        var bytes = 0
        for (place, request) in queued.enumerated() {
            let size = request.payloadBytes
            if place > start, bytes + size > frameBytesMax {
                slices.append(Array(queued[start..<place]))
                (start, bytes) = (place, 0)
            }
            bytes += size
        }
        slices.append(start == 0 ? queued : Array(queued[start...]))
        return slices
    }

    /// The window's one alarm. Under the lock, so that an earlier one is never replaced by a later one.
    private func set(_ alarm: Duration, _ state: inout State) {
        state.alarm?.cancel()
        state.alarm = Task { [weak self] in
            guard await ClientClock.sleep(until: alarm) else { return }
            self?.tellTime()
        }
    }

    private func tellTime() {
        Self.tell(
            state.withLock { state in
                let (told, alarm) = state.window.time(ClientClock.now)
                // Not for each of many deadlines that are near each other.
                if let alarm { set(max(alarm, ClientClock.now + Self.alarmsApart), &state) }
                return told
            })
    }

    private static func tell(_ told: [SessionWindow<UnsafeContinuation<AskOutcome, Never>>.Told]) {
        for (continuation, outcome) in told { continuation.resume(returning: outcome) }
    }

    func close() {
        outbox.close()
        task.withLock { $0?.cancel() }
    }
}
