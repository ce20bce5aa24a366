internal import GRPCCore
internal import Keyspace
internal import Synchronization
internal import Wire

/// One pipelined Kv session with one node: whatever has queued goes into one frame; answers are matched by id.
final class SessionStream: Sendable {
    /// What became of a request that was handed to the stream.
    enum Outcome: Sendable {
        case answered(KvResponse)
        /// Never left this process.
        case notSent
        /// Left, or may have left; no answer came.
        case lost
    }

    private struct Waiting {
        var continuation: UnsafeContinuation<Outcome, Never>
        var deadline: ContinuousClock.Instant
    }

    private struct State {
        var nextID: UInt64 = 1
        var waiting: [UInt64: Waiting] = [:]
        var isBroken = false
        /// Requests up to this id may have been handed to the network: callers take ids and queue in any order, so
        /// what counts is the largest id that was taken from the queue.
        var takenThrough: UInt64 = 0
    }

    private let state = Mutex(State())
    private let outbox = Outbox<KvRequest>(countMax: 65_536, bytesMax: 256 << 20)
    private let task: Mutex<Task<Void, Never>?>
    /// A node that doesn't answer for this long is given up for the request; the next attempt may go elsewhere.
    private let patience: Duration

    init(_ connection: Connection, patience: Duration) {
        self.patience = patience
        task = Mutex(nil)
        let running = Task { [self] in await run(connection) }
        task.withLock { $0 = running }
    }

    var isBroken: Bool { state.withLock { $0.isBroken } }

    func send(_ request: KvRequest) async -> Outcome {
        var request = request
        return await withUnsafeContinuation { continuation in
            let deadline = ContinuousClock.now + patience
            let id = state.withLock { state -> UInt64? in
                guard !state.isBroken else { return nil }
                defer { state.nextID += 1 }
                // An answer goes to whoever asked, and to nobody else.
                precondition(state.waiting[state.nextID] == nil, "request \(state.nextID) of a session waits already")
                state.waiting[state.nextID] = Waiting(continuation: continuation, deadline: deadline)
                return state.nextID
            }
            guard let id else { return continuation.resume(returning: .notSent) }
            request.id = id
            if !outbox.push(request, bytes: request.payloadBytes) {
                if let waiting = state.withLock({ $0.waiting.removeValue(forKey: id) }) {
                    waiting.continuation.resume(returning: .notSent)
                }
            }
        }
    }

    private func run(_ connection: Connection) async {
        let kv = Flotilla_V1_Kv.Client(wrapping: connection.client)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .milliseconds(100))
                    self.giveUpLate()
                }
            }
            group.addTask {
                try? await kv.session(options: .flotilla()) { writer in
                    while let queued = await self.outbox.drain() {
                        let requests = self.taken(queued)
                        if requests.isEmpty { continue }
                        for frame in Self.frames(requests) { try await writer.write(frame) }
                    }
                } onResponse: { response in
                    for try await frame in response.messages { self.received(frame.responses.map { KvResponse($0) }) }
                }
            }
            await group.next()
            group.cancelAll()
        }
        fail()
    }

    /// What is still waited for; the rest was given up, and its callers were told that it never left.
    private func taken(_ queued: [KvRequest]) -> [KvRequest] {
        state.withLock { state in
            let requests = queued.filter { state.waiting[$0.id] != nil }
            state.takenThrough = max(state.takenThrough, requests.map(\.id).max() ?? 0)
            return requests
        }
    }

    private static func frames(_ requests: [KvRequest]) -> [Flotilla_V1_SessionRequest] {
        var frames: [Flotilla_V1_SessionRequest] = []
        var frame = Flotilla_V1_SessionRequest()
        var bytes = 0
        for request in requests {
            let size = request.payloadBytes
            if bytes > 0, bytes + size > 1 << 20 {
                frames.append(frame)
                frame = Flotilla_V1_SessionRequest()
                bytes = 0
            }
            frame.requests.append(request.wire)
            bytes += size
        }
        frames.append(frame)
        return frames
    }

    private func received(_ responses: [KvResponse]) {
        let done = state.withLock { state in
            responses.compactMap { response in
                state.waiting.removeValue(forKey: response.id).map { ($0.continuation, response) }
            }
        }
        for (continuation, response) in done { continuation.resume(returning: .answered(response)) }
    }

    private func giveUpLate() {
        let now = ContinuousClock.now
        let late = state.withLock { state -> [(Waiting, Outcome)] in
            let ids = state.waiting.filter { $0.value.deadline <= now }.map(\.key)
            return ids.compactMap { id in
                state.waiting.removeValue(forKey: id).map { ($0, id <= state.takenThrough ? .lost : .notSent) }
            }
        }
        for (waiting, outcome) in late { waiting.continuation.resume(returning: outcome) }
    }

    private func fail() {
        outbox.close()
        let (lost, taken) = state.withLock { state in
            state.isBroken = true
            defer { state.waiting = [:] }
            return (state.waiting, state.takenThrough)
        }
        for (id, waiting) in lost { waiting.continuation.resume(returning: id <= taken ? .lost : .notSent) }
    }

    func close() {
        outbox.close()
        task.withLock { $0?.cancel() }
    }
}
