internal import Bytes
internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// The receiver's side of families in motion: the shell of a `TransferPlan`. It asks for an export, and reads its files over
/// connections of its own, so that heartbeats never wait behind them.
final class ExportFetch: Sendable {
    private static let openTimeout: Duration = .seconds(600)
    private static let closeTimeout: Duration = .seconds(2)

    /// What is asked for, and of whom.
    struct Order: Sendable {
        var party: Party
        var what: ExportQuestion
        /// Forms in which the receiver takes families.
        var formats: [String]

        fileprivate var wire: Flotilla_V1_OpenExportRequest {
            var request = Flotilla_V1_OpenExportRequest()
            request.clusterID = Data(party.clusterID)
            request.gid = party.gid.rawValue
            request.identity = Data(party.identity)
            request.formats = formats
            switch what {
            case .snapshot(let life): request.snapshotFor = Data(life.bytes)
            case .shard(let shard): request.shard = Flotilla_V1_ShardEpoch(shard)
            case .copy(let fromLeader): request.copy.fromLeader = fromLeader
            }
            return request
        }
    }

    /// What has come: family `n` lies in `n/`.
    struct Fetched: Sendable {
        var header: [UInt8]
        var manifests: [FamilyManifest]
    }

    private enum Input: Sendable {
        case opened(TransferPlan.Offer, turn: UInt64)
        case notOpened(String, turn: UInt64)
        case ended(turn: UInt64)
        case broke(String, isForgotten: Bool, turn: UInt64)
        case probed(Bool, address: String)
        case alarm, unwanted
    }

    private struct State {
        var plan: TransferPlan
        var connections: [String: Connection] = [:]
        /// What is under way.
        var tasks: [UInt64: Task<Void, Never>] = [:]
    }

    private let order: Order
    private let directory: String
    private let liveness: Liveness
    private let room: @Sendable () -> UInt64
    private let progress: TransferProgress
    private let isWanted: @Sendable () -> Bool
    private let state: Mutex<State>
    private let inputs: AsyncStream<Input>
    private let post: AsyncStream<Input>.Continuation

    /// - Parameters:
    ///   - addresses: of those who have it, in the order in which they are asked.
    ///   - subject: whose it is, for people.
    ///   - directory: an empty one, which the files come into.
    ///   - room: bytes that may be used on its disk.
    ///   - rate: bytes a second; `nil`: as fast as they come.
    ///   - isWanted: asked now and then; ends the fetch.
    init(
        _ order: Order, from addresses: [String], of subject: String, into directory: String, liveness: Liveness,
        rate: UInt64?, room: @escaping @Sendable () -> UInt64, progress: TransferProgress = TransferProgress(),
        isWanted: @escaping @Sendable () -> Bool = { true }
    ) {
        self.order = order
        self.directory = directory
        self.liveness = liveness
        self.room = room
        self.progress = progress
        self.isWanted = isWanted
        state = Mutex(State(plan: TransferPlan(from: addresses, of: subject, rate: rate)))
        (inputs, post) = AsyncStream.makeStream(of: Input.self)
    }

    /// Returns when everything is here; throws a `MoveObstacle` if nobody has it all.
    func run() async throws -> Fetched {
        defer { end() }
        var steps = state.withLock { $0.plan.begin(now: HostClock.monotonic()) }
        var next = inputs.makeAsyncIterator()
        while true {
            for step in steps {
                switch step {
                case .done(let header, let manifests): return Fetched(header: header, manifests: manifests)
                case .failed(let sentence): throw MoveObstacle(text: sentence)
                case .arrange(let families, let keeping): try arrange(families, keeping)
                default: carryOut(step)
                }
            }
            let alarm = Alarm.ring(at: state.withLock { $0.plan.wakeAt }) { [post] in post.yield(.alarm) }
            let input = await next.next()
            alarm?.cancel()
            guard let input else { throw CancellationError() }
            steps = take(isWanted() ? input : .unwanted)
        }
    }

    private func take(_ input: Input) -> [TransferPlan.Step] {
        let (now, room) = (HostClock.monotonic(), room())
        return state.withLock { state in
            defer { progress.set(state.plan.copied, of: state.plan.total) }
            switch input {
            case .opened(let offer, let turn): return state.plan.opened(offer, turn: turn, room: room, now: now)
            case .notOpened(let reason, let turn): return state.plan.notOpened(reason, turn: turn, now: now)
            case .ended(let turn): return state.plan.ended(turn: turn, now: now)
            case .broke(let reason, let isForgotten, let turn):
                return state.plan.broke(reason, isForgotten: isForgotten, turn: turn, now: now)
            case .probed(let isAlive, let address): return state.plan.probed(isAlive: isAlive, at: address, now: now)
            case .alarm: return state.plan.woken(now: now)
            case .unwanted: return state.plan.cancelled("another transfer took its place")
            }
        }
    }

    private func carryOut(_ step: TransferPlan.Step) {
        switch step {
        case .open(let turn, let address): begin(turn) { try await $0.open(turn, at: address) }
        case .read(let part): begin(part.turn) { try await $0.read(part) }
        case .stop(let turn): state.withLock { $0.tasks.removeValue(forKey: turn) }?.cancel()
        case .probe(let address):
            Task { [liveness, post] in
                guard let endpoint = Address(toCall: address) else { return }
                post.yield(.probed(await liveness.isAlive(endpoint), address: address))
            }
        case .close(let address, let export): close(export, at: address)
        case .arrange, .done, .failed: invariantFailure("\(step) is carried out by the fetch itself")
        }
    }

    private func begin(_ turn: UInt64, _ body: @escaping @Sendable (ExportFetch) async throws -> Input) {
        let task = Task {
            do { post.yield(try await body(self)) } catch {
                let isForgotten = KvError(carriedBy: error)?.code == .notFound
                post.yield(.broke(reason(of: error), isForgotten: isForgotten, turn: turn))
                post.yield(.notOpened(reason(of: error), turn: turn))
            }
            state.withLock { _ = $0.tasks.removeValue(forKey: turn) }
        }
        state.withLock { $0.tasks[turn] = task }
    }

    private func peer(at address: String) throws -> Flotilla_V1_Peer.Client<Connection.Transport> {
        guard let endpoint = Address(toCall: address) else { throw MoveObstacle(text: "\(address) is not an address") }
        let connection = try state.withLock { state throws -> Connection in
            if let known = state.connections[address] { return known }
            let made = try Connection(endpoint)
            state.connections[address] = made
            return made
        }
        return Flotilla_V1_Peer.Client(wrapping: connection.client)
    }

    private func open(_ turn: UInt64, at address: String) async throws -> Input {
        let export = try await peer(at: address).openExport(order.wire, options: .flotilla(timeout: Self.openTimeout))
        let manifests = try export.manifests.map { try JSONDecoder().decode(FamilyManifest.self, from: $0) }
        return .opened(
            TransferPlan.Offer(export: export.id, header: export.header.array, manifests: manifests), turn: turn)
    }

    private func path(_ place: TransferPlan.Place) -> String { "\(directory)/\(place.family)/\(place.name)" }

    private func arrange(_ families: Int, _ keeping: Set<TransferPlan.Place>) throws {
        let manager = FileManager.default
        for family in try manager.contentsOfDirectory(atPath: directory) {
            for name in try manager.contentsOfDirectory(atPath: "\(directory)/\(family)")
            where Int(family).map({ !keeping.contains(TransferPlan.Place(family: $0, name: name)) }) ?? true {
                try manager.removeItem(atPath: "\(directory)/\(family)/\(name)")
            }
        }
        for family in 0..<families {
            try manager.createDirectory(atPath: "\(directory)/\(family)", withIntermediateDirectories: true)
        }
    }

    private func read(_ part: TransferPlan.Part) async throws -> Input {
        var request = Flotilla_V1_ReadExportRequest()
        request.gid = order.party.gid.rawValue
        request.id = part.export
        request.family = UInt32(part.place.family)
        request.file = UInt32(part.file)
        request.offset = part.offset
        let path = path(part.place)
        if part.offset == 0 {
            guard FileManager.default.createFile(atPath: path, contents: nil) else {
                throw MoveObstacle(text: "can't create \(path)")
            }
        }
        if part.offset < part.bytes {
            try await peer(at: part.address).readExport(request, options: .flotilla()) { [self] response in
                let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
                defer { try? handle.close() }
                try handle.truncate(atOffset: part.offset)
                try handle.seek(toOffset: part.offset)
                for try await piece in response.messages {
                    // Somebody else may be at the file by now.
                    guard state.withLock({ $0.plan.awaits(part.turn) }) else { return }
                    try handle.write(contentsOf: piece.data)
                    let wait = received(UInt64(piece.data.count), part.turn)
                    await Failpoint.reach("piece-fetched")
                    guard let wait else { return }
                    guard isWanted() else {
                        post.yield(.unwanted)
                        return
                    }
                    if wait > 0 { try await Task.sleep(for: .milliseconds(Int64(clamping: wait))) }
                }
            }
        }
        return .ended(turn: part.turn)
    }

    private func received(_ bytes: UInt64, _ turn: UInt64) -> Milliseconds? {
        state.withLock { state in
            let wait = state.plan.received(bytes, turn: turn, now: HostClock.monotonic())
            progress.set(state.plan.copied, of: state.plan.total)
            return wait
        }
    }

    private func close(_ export: UInt64, at address: String) {
        guard let peer = try? peer(at: address) else { return }
        var request = Flotilla_V1_CloseExportRequest()
        request.gid = order.party.gid.rawValue
        request.id = export
        let connection = state.withLock { $0.connections.removeValue(forKey: address) }
        // If this is lost, the export goes by itself.
        Task { [request] in
            _ = try? await peer.closeExport(request, options: .flotilla(timeout: Self.closeTimeout))
            withExtendedLifetime(connection) {}
        }
    }

    private func end() {
        post.finish()
        let (tasks, steps) = state.withLock { state in
            defer { state.tasks = [:] }
            return (state.tasks.values, state.plan.cancelled("the fetch was cancelled"))
        }
        for task in tasks { task.cancel() }
        for step in steps { if case .close(let address, let export) = step { close(export, at: address) } }
        state.withLock { $0.connections = [:] }
    }
}

/// How far a fetch has come, for those who watch.
final class TransferProgress: Sendable {
    private let bytes = Mutex((copied: UInt64(0), total: UInt64(0)))

    func set(_ copied: UInt64, of total: UInt64) { bytes.withLock { $0 = (copied, total) } }

    var copied: UInt64 { bytes.withLock { $0.copied } }
    var total: UInt64 { bytes.withLock { $0.total } }
}
