internal import Bytes
internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Telemetry

/// What controller and group nodes have in common: a directory, an engine, one replica, and how it comes to
/// take part. See `docs/architecture.md`, "Life of a node".
final class Node<Machine: StateMachine>: Sendable {
    let options: ServeOptions
    let directory: NodeDirectory
    let engine: any StorageEngine
    let families: FamilyTable
    let layout: GroupLayout
    let links: PeerLinks
    let log: Logger
    let id: ReplicaID
    let incarnation: Incarnation
    private let makeMachine: @Sendable () -> Machine
    private let state: Mutex<State>
    /// Addresses of peers that the membership doesn't name (yet): whom a new member answers.
    private let learned = Mutex<[ReplicaID: String]>([:])
    let calls = PeerCalls()
    let exports = ExportDesk()
    let space: SpaceGuard
    let metrics = NodeMetrics()
    let probe = PeerProbe()
    private let spaceTask: Task<Void, Never>
    private let probeTask = Mutex<Task<Void, Never>?>(nil)
    private let reliefTask = Mutex<Task<Void, Never>?>(nil)

    private struct State {
        var core: NodeCore
        var host: ReplicaHost<Machine>?
        var failure: NodeFailure?
        var httpAddress = ""
        var followers: [UInt64: @Sendable () -> Void] = [:]
        var lastFollower: UInt64 = 0
        /// Whoever waits for what `core` may do next: the start, or the end.
        var wake: AsyncStream<Input>.Continuation?
    }

    private enum Input: Sendable {
        case cluster([UInt8]?)
        case heard(NodeCore.Identified?, from: ReplicaID)
        case asked(by: ReplicaID)
        case roleChanged
        case alarm
    }

    private func take(_ input: Input) -> [NodeCore.Step] {
        let (now, leads) = (HostClock.monotonic(), host?.status.role == .leader)
        return state.withLock { state in
            switch input {
            case .cluster(let id): state.core.heardOfCluster(id, now: now)
            case .heard(let found, let founder): state.core.heard(found, from: founder, now: now)
            case .asked(let founder): state.core.wasAsked(by: founder, now: now)
            case .roleChanged: state.core.observe(leads: leads)
            case .alarm: state.core.woken(now: now)
            }
        }
    }

    init(_ options: ServeOptions, log: Logger, makeMachine: @escaping @Sendable () -> Machine) throws(EngineError) {
        self.options = options
        self.makeMachine = makeMachine
        var random = SystemRandomNumberGenerator()
        let fresh = Incarnation(high: random.next(), low: random.next())
        directory = try NodeDirectory.open(
            options.directory, engine: options.engine, role: options.role, groupId: options.gid.rawValue,
            nodeId: options.id,
            incarnation: fresh.description)
        guard let incarnation = Incarnation(hex: directory.identity.incarnation) else {
            throw .corruption(place: "\(options.directory)/FLOTILLA: incarnation")
        }
        self.incarnation = incarnation
        id = ReplicaID(options.id)
        state = Mutex(
            State(
                core: NodeCore(
                    NodeCore.Configuration(
                        id: ReplicaID(options.id), incarnation: incarnation, gid: options.gid,
                        address: options.address, founders: options.cluster, controllers: options.controllers,
                        directory: options.directory))))
        engine = try directory.openEngine()
        families = try FamilyTable(engine: engine)
        try families.sweepUnmapped()
        layout = try families.layout(of: options.gid.rawValue)
        var log = log
        log[metadataKey: "node"] = "\(options.role) \(options.gid)/\(options.id)"
        self.log = log
        links = PeerLinks(gid: options.gid, ownAddress: options.address, log: log)
        let space = SpaceGuard(directory, engine, log: log)
        self.space = space
        spaceTask = Task { await space.run() }
    }

    var host: ReplicaHost<Machine>? { state.withLock { $0.host } }
    var clusterID: [UInt8] { state.withLock { $0.core.cluster } }
    /// Why this node doesn't take part, or its replica doesn't work, in a sentence; `nil`: it does.
    var obstacle: String? {
        state.withLock { $0.core.condition }?.sentence ?? host?.status.condition?.description
    }
    /// Set when the replica has stopped for good.
    var failure: NodeFailure? { state.withLock { $0.failure } }

    /// Where `/metrics` is served; empty if nowhere.
    var httpAddress: String { state.withLock { $0.httpAddress } }

    func servesHTTP(at address: Address) { state.withLock { $0.httpAddress = "\(address)" } }

    /// Called once, by whoever has called `start`.
    func failToStart(_ error: any Error) {
        log.critical("can't start: \(error)")
        state.withLock { $0.failure = .cannotStart("\(error)") }
    }

    /// The shard map knows this group by its own founders, or by others: then it must not serve.
    func isKnown(_ isKnown: Bool) { tell(state.withLock { $0.core.isKnown(isKnown) }) }

    // MARK: - Coming to life

    /// Finds out who the group is and starts the replica. Returns when it runs; waits for as long as it takes.
    /// - Parameter controllers: who knows which cluster this is; `nil` in a controller's node.
    func start(_ controllers: ControllerLink?) async throws {
        let holdings = try holdings()
        if !holdings.cluster.isEmpty { links.setCluster(holdings.cluster) }
        let (inputs, post) = AsyncStream.makeStream(of: Input.self)
        state.withLock { $0.wake = post }
        defer { state.withLock { $0.wake = nil } }
        try await withThrowingDiscardingTaskGroup { group in
            var steps = state.withLock { $0.core.begin(holdings, now: HostClock.monotonic()) }
            var next = inputs.makeAsyncIterator()
            var alarm: Task<Void, Never>?
            defer {
                alarm?.cancel()
                group.cancelAll()
            }
            while true {
                for step in steps {
                    switch step {
                    case .askController:
                        group.addTask { post.yield(.cluster(await controllers?.clusterID())) }
                    case .ask(let founder, let address):
                        group.addTask { post.yield(.heard(await self.founder(at: address), from: founder)) }
                    default: try carryOut(step)
                    }
                }
                let (isRunning, isEnded) = state.withLock { ($0.core.isRunning, $0.core.isEnded) }
                if isEnded { throw CancellationError() }
                if isRunning { return }
                alarm?.cancel()
                alarm = Alarm.ring(at: state.withLock { $0.core.wakeAt }) { post.yield(.alarm) }
                guard let input = await next.next() else { throw CancellationError() }
                steps = take(input)
            }
        }
    }

    private func holdings() throws -> NodeCore.Holdings {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        return NodeCore.Holdings(
            record: try layout.bootstrapRecord(in: snapshot),
            membership: try GroupStorageRows.load(layout, in: snapshot).membership,
            recoveries: try layout.recoveries(in: snapshot),
            cluster: directory.identity.clusterId.flatMap { Incarnation(hex: $0)?.bytes } ?? [],
            hasJoined: directory.identity.hasJoined == true)
    }

    /// What a founder says of itself; `nil` if nobody of this group answers.
    private func founder(at address: String) async -> NodeCore.Identified? {
        await identify(address).map { NodeCore.Identified(id: $0.id, cluster: $0.cluster, answer: $0.answer) }
    }

    /// Asks the node at an address who it is; `nil` if it doesn't answer.
    func identify(_ address: String) async -> Identified? {
        await calls.identify(address, gid: options.gid, from: id, incarnation)
    }

    /// What needs no waiting.
    private func carryOut(_ step: NodeCore.Step) throws(EngineError) {
        switch step {
        case .write(let record, let founds):
            var batch = WriteBatch()
            if founds { record.write(to: layout, in: &batch) } else { record.writeAlone(to: layout, in: &batch) }
            try engine.write(batch, durability: .synced)
        case .recordCluster(let id):
            try directory.record(clusterId: id.hexadecimal)
            links.setCluster(id)
        case .recordJoined: try directory.recordJoined()
        case .run: if !state.withLock({ $0.core.isEnded }) { try run() }
        case .fail(let error): throw error
        case .say(let note): say(note)
        case .handOver: host?.handOver()
        case .dismissWaiters: host?.dismissWaiters()
        case .close: close()
        case .askController, .ask, .endListening: invariantFailure("\(step) is carried out by whoever waits for it")
        }
    }

    private func say(_ note: NodeNote) {
        switch note.level {
        case .info: log.info("\(note)")
        case .warning: log.warning("\(note)")
        case .error: log.error("\(note)")
        case .critical: log.critical("\(note)")
        }
    }

    /// Steps of a node that runs.
    private func tell(_ steps: [NodeCore.Step]) {
        for step in steps {
            do throws(EngineError) { try carryOut(step) } catch { log.error("\(error)") }
        }
    }

    private func run() throws(EngineError) {
        var configuration = ReplicaHost<Machine>.Configuration(staging: directory.staging)
        configuration.driver.retainedEntries = options.retainedEntries
        var random = SystemRandomNumberGenerator()
        let host = try ReplicaHost(
            configuration: configuration, engine: engine, families: families, layout: layout,
            machine: makeMachine(), id: id, incarnation: incarnation, seed: random.next(), transport: self,
            observe: { [weak self] event in self?.observe(event) })
        let isEnded = state.withLock { state -> Bool in
            if !state.core.isEnded { state.host = host }
            return state.core.isEnded
        }
        // Stopped meanwhile.
        if isEnded { return host.stop() }
        let task = Task { [probe] in
            await probe.run { [weak self] in
                guard let status = self?.host?.status else { return [] }
                return status.membership.members.filter { $0.id != status.id }
            } ask: { [weak self] member in
                await self?.identify(member.address)?.id == member.id
            }
        }
        probeTask.withLock { $0 = task }
        let relief = Task { [weak self] in
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(1))
                await self?.handOverForWantOfRoom()
            }
        }
        reliefTask.withLock { $0 = relief }
    }

    /// A leader that must refuse new values gives way to a member that need not.
    private func handOverForWantOfRoom() async {
        guard space.isShort, let host, case let replica = host.status, replica.role == .leader else { return }
        let candidates = RoomSuccessor.candidates(
            for: id, in: replica.membership, live: replica.live, matches: replica.matches)
        let successor = await RoomSuccessor.first(among: candidates) { member in
            guard let found = await identify(member.address) else { return false }
            return found.id == member.id && !found.isShortOfSpace
        }
        guard let successor else { return }
        log.info("node \(successor.id) has room on its disk, this one has none left: it is to lead")
        host.transferLeadership(to: successor.id)
    }

    /// `body` is called after each change of the replica's role, term, leader or members, and of what it waits for, from
    /// a thread that must not be blocked. By the time of the call the replica's status has the change.
    /// - Returns: What `unfollow` takes.
    @discardableResult
    func follow(_ body: @escaping @Sendable () -> Void) -> UInt64 {
        state.withLock { state in
            state.lastFollower += 1
            state.followers[state.lastFollower] = body
            return state.lastFollower
        }
    }

    func unfollow(_ number: UInt64) { state.withLock { $0.followers[number] = nil } }

    /// A node of this group has asked who this one is.
    func wasAsked(by peer: ReplicaID) { state.withLock { $0.wake }?.yield(.asked(by: peer)) }

    private func observe(_ event: ReplicaEvent) {
        defer {
            switch event {
            case .roleChanged, .termBegan, .snapshotInstalled, .membershipChanged, .waits:
                for (_, body) in state.withLock({ $0.followers }) { body() }
            case .snapshotSending, .synced, .noSpace, .damaged, .clockJumped, .failed: break
            }
        }
        switch event {
        case .roleChanged(let role, let term, let leader):
            metrics.led(by: leader)
            state.withLock { $0.wake }?.yield(.roleChanged)
            log.info("\(role) in term \(term)", metadata: ["leader": "\(leader.map { "\($0)" } ?? "none")"])
        case .termBegan: break
        case .snapshotSending(let peer, let position): log.info("sending a snapshot at \(position) to node \(peer)")
        case .snapshotInstalled(let position):
            log.info("installed a snapshot at \(position)")
            tell(state.withLock { $0.core.installedSnapshot() })
        case .membershipChanged(let membership):
            log.info(
                "members: \(membership.members.map { "\($0.id) \($0.address) \($0.standing)" }.joined(separator: "; "))"
            )
            tell(state.withLock { $0.core.observe(membership) })
        case .waits(let name?): log.warning("applies nothing more until \(name) is here; fetching it")
        case .waits(nil): log.info("goes on applying")
        case .synced(let nanoseconds): metrics.diskSync.record(nanoseconds)
        case .noSpace(let place):
            log.error("no space left: \(place); writes wait until there is room")
            space.noteFull()
        case .damaged(let error):
            log.critical("\(error); replace this member once the group is whole: `flotilla group member replace`")
        case .clockJumped(let ahead):
            if ahead > 0 {
                log.error(
                    "this machine's clock has jumped ahead by \(ahead / 1000) s; sessions and holds go by the clocks of the group's majority, and by this one only as it is followed slowly: set it right"
                )
            } else {
                log.info("this machine's clock is what it should be again")
            }
        case .failed(let error):
            log.critical("the replica has stopped: \(error)")
            state.withLock { $0.failure = .stopped(error) }
        }
    }

    /// Hands leadership over, ends what waits, and closes the engine.
    ///
    /// - Parameter endListening: carried out before the engine is closed; `nil` in a process that exits at once. Its connections end with
    ///   it, and a call that comes in while they are being closed can trap in the transport (a stream's writer that
    ///   nobody took).
    func stop(_ endListening: (() async -> Void)?) async {
        let (inputs, post) = AsyncStream.makeStream(of: Input.self)
        var steps = state.withLock { state in
            state.wake = post
            return state.core.stop(
                leads: state.host?.status.role == .leader, listens: endListening != nil, now: HostClock.monotonic())
        }
        // It may have changed before anybody listened.
        post.yield(.roleChanged)
        var next = inputs.makeAsyncIterator()
        while true {
            for step in steps {
                if case .endListening = step { await endListening?() } else { tell([step]) }
            }
            let wakeAt = state.withLock { $0.core.wakeAt }
            if steps.contains(.close) || wakeAt == nil { return }
            let alarm = Alarm.ring(at: wakeAt) { post.yield(.alarm) }
            let input = await next.next() ?? .alarm
            alarm?.cancel()
            steps = take(input)
        }
    }

    private func close() {
        host?.stop()
        links.stop()
        spaceTask.cancel()
        probeTask.withLock { $0 }?.cancel()
        reliefTask.withLock { $0 }?.cancel()
        do throws(EngineError) { try engine.close() } catch { log.error("closing the engine: \(error)") }
    }

    // MARK: - What peers ask

    /// Who this node is, for others that look for their group.
    var identity: (cluster: [String], record: BootstrapRecord?) {
        state.withLock { ($0.core.spelledFounders, $0.core.record) }
    }

    /// Whether what claims to be of this cluster may be heard: a node that knows no cluster yet hears everybody.
    func isOfOwnCluster(_ other: [UInt8]) -> Bool {
        let own = clusterID
        return own.isEmpty || other.isEmpty || own == other
    }

    /// Messages of the group's replicas, from the node at `address`.
    func receive(_ messages: [Message], from address: String) {
        guard let host else { return }
        if let first = messages.first {
            let known = host.status.membership[first.from]?.address
            learned.withLock { $0[first.from] = known == address ? nil : address }
        }
        host.receive(messages)
    }

    func address(of peer: ReplicaID, in membership: Membership) -> String? {
        membership[peer]?.address ?? learned.withLock { $0[peer] }
    }

    /// Where a peer has sent from last: newer than what is applied here knows.
    func lastAddress(of peer: ReplicaID) -> String? {
        learned.withLock { $0[peer] } ?? host?.status.membership[peer]?.address
    }

    var leaderAddress: String {
        guard let host else { return "" }
        let status = host.status
        guard let leader = status.leader else { return "" }
        return address(of: leader, in: status.membership) ?? ""
    }

    /// One snapshot at a time; see `NodeCore.beginReceiving`.
    func beginReceiving(_ term: Term) -> UInt64? {
        state.withLock { $0.host == nil ? nil : $0.core.beginReceiving(term) }
    }

    /// Whether the turn is still whose it was.
    func isReceiving(_ turn: UInt64) -> Bool { state.withLock { $0.core.isReceiving(turn) } }

    func endReceiving(_ turn: UInt64) { state.withLock { $0.core.endReceiving(turn) } }
}
