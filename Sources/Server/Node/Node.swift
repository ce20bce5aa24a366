internal import Bytes
internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
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
    private let state = Mutex(State())
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
        var host: ReplicaHost<Machine>?
        var record: BootstrapRecord?
        /// `nil`: it takes part.
        var condition: NodeCondition? = .starting
        var clusterID: [UInt8] = []
        /// The snapshot that is being received, and the term of the leader that offered it.
        var receiving: (turn: UInt64, term: Term)?
        var turns: UInt64 = 0
        var failure: NodeFailure?
        var httpAddress = ""
        var follower: (@Sendable () -> Void)?
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
    var clusterID: [UInt8] { state.withLock { $0.clusterID } }
    /// Why this node doesn't take part, or its replica doesn't work, in a sentence; `nil`: it does.
    var obstacle: String? { state.withLock { $0.condition }?.sentence ?? host?.status.condition?.description }
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

    /// The shard map knows this group by other founders: it must not serve, and people must hear of it.
    func foundedAnew() {
        let condition = NodeCondition.foundedAnew(options.gid)
        let isNews = state.withLock { state -> Bool in
            defer { state.condition = condition }
            return state.condition != condition
        }
        if isNews { log.critical("\(condition.sentence)") }
    }

    /// The shard map knows this group.
    func isKnown() {
        state.withLock { if $0.condition == .foundedAnew(options.gid) { $0.condition = nil } }
    }

    // MARK: - Coming to life

    /// Finds out who the group is and starts the replica. Returns when it runs; waits for as long as it takes.
    /// - Parameter known: the cluster that the controller answers for; empty if this node knows it already, or is
    ///   the controller.
    func start(clusterID known: [UInt8]) async throws {
        let snapshot = try engine.snapshot()
        let record = try layout.bootstrapRecord(in: snapshot)
        let rows = try GroupStorageRows.load(layout, in: snapshot)
        let recoveries = try layout.recoveries(in: snapshot)
        snapshot.close()
        try note(recoveries, rows.membership)
        if let stored = directory.identity.clusterId.flatMap(Self.bytes(ofHex:)) { adoptCluster(stored) }
        state.withLock { $0.record = record }
        if !rows.membership.members.isEmpty {
            // A member, by founding or by a snapshot in an earlier life of the process.
            if let record { try setCluster(cluster(of: record)) } else { try setCluster(known) }
            try directory.recordJoined()
            state.withLock { $0.condition = nil }
            checkAddress(rows.membership)
        } else if directory.identity.hasJoined == true {
            throw EngineError.corruption(
                place: "\(options.directory)/engine holds nothing of \(options.role) \(options.gid), of which this "
                    + "node was a member: its files were lost or replaced; restore them, or remove the directory "
                    + "and start the node anew, whose log then names the `member replace` command")
        } else if let record {
            try waitForReplacement(record)
        } else {
            try await bootstrap(clusterID: known.isEmpty ? clusterID : known)
        }
        try run()
    }

    /// A member that was started under another address can't be found by the others.
    private func checkAddress(_ membership: Membership) {
        guard let own = membership[id], own.incarnation == incarnation else { return }
        let condition = NodeCondition.movedAway(
            known: own.address, own: options.address,
            command: "flotilla group member update \(id) \(options.address) --node "
                + (membership.members.first { $0.id != id }?.address ?? options.address))
        guard Self.spelledAlike([own.address]) != Self.spelledAlike([options.address]) else { return }
        log.error("\(condition.sentence)")
        state.withLock { $0.condition = condition }
    }

    /// A group that went on without its quorum may have lost what it acknowledged: said at every start.
    private func note(_ recoveries: [RecoveryNote], _ membership: Membership) throws(EngineError) {
        for note in recoveries {
            let lost = note.before.members.filter { $0.id != id }.map { "\($0.id) \($0.address)" }
            log.warning(
                "this replica was made its group's only member by force, at index \(note.index); what only nodes \(lost.joined(separator: ", ")) had is lost, and their old directories must never be started"
            )
        }
        guard let last = recoveries.last, last.isUnfinished(in: membership, id: id, incarnation: incarnation) else {
            return
        }
        throw .mismatch(
            "the recovery of \(options.directory) was interrupted; repeat `flotilla group recover "
                + "--force-new-membership --db \(options.directory)`")
    }

    private static func bytes(ofHex text: String) -> [UInt8]? { Incarnation(hex: text)?.bytes }

    private func cluster(of record: BootstrapRecord) -> [UInt8] {
        options.isController ? record.hash : record.clusterID
    }

    /// Not a founder of this group: runs without a vote until the leader's log names this directory's incarnation.
    private func waitForReplacement(_ record: BootstrapRecord) throws(EngineError) {
        let verb = record.membership[id] == nil ? "add" : "replace"
        let command =
            "flotilla group member \(verb) \(id) \(options.address) --node "
            + (record.membership.members.first { $0.id != id }?.address ?? "HOST:PORT")
        let condition = NodeCondition.awaitsMembership(command: command)
        log.warning("\(condition.sentence)")
        state.withLock {
            $0.condition = condition
            $0.record = record
        }
        try setCluster(cluster(of: record))
    }

    private func become(_ record: BootstrapRecord) throws(EngineError) {
        state.withLock {
            $0.record = record
            $0.condition = nil
        }
        try setCluster(cluster(of: record))
        try directory.recordJoined()
    }

    private func setCluster(_ id: [UInt8]) throws(EngineError) {
        guard !id.isEmpty else { return }
        try directory.record(clusterId: id.hexadecimal)
        adoptCluster(id)
    }

    private func adoptCluster(_ id: [UInt8]) {
        links.setCluster(id)
        state.withLock { $0.clusterID = id }
    }

    private func bootstrap(clusterID: [UInt8]) async throws {
        // A group that were founded without a cluster could never follow one.
        guard options.isController || !clusterID.isEmpty else { throw CancellationError() }
        var addresses: [ReplicaID: String] = [:]
        for (number, address) in options.cluster.enumerated() { addresses[ReplicaID(UInt64(number))] = address }
        var core = BootstrapCore(
            own: id, incarnation: incarnation, addresses: addresses, clusterID: clusterID, gid: options.gid.rawValue,
            parameters: [])
        var decision = core.decision
        var announced: [ReplicaID] = []
        while true {
            switch decision {
            case .adopt(let record):
                var batch = WriteBatch()
                record.write(to: layout, in: &batch)
                try engine.write(batch, durability: .synced)
                log.info(
                    "founded the group with nodes \(record.membership.members.map { "\($0.id)" }.joined(separator: ", "))"
                )
                return try become(record)
            case .waitForReplacement(let record):
                // Kept, so that this node too can show it when others ask.
                var batch = WriteBatch()
                record.writeAlone(to: layout, in: &batch)
                try engine.write(batch, durability: .synced)
                return try waitForReplacement(record)
            case .await(let missing):
                if missing != announced {
                    announced = missing
                    let condition = NodeCondition.awaitsFounders(
                        missing.map { .init(id: $0, address: addresses[$0] ?? "?") })
                    log.info("\(condition.sentence)")
                    state.withLock { $0.condition = condition }
                }
                for peer in missing {
                    guard let address = addresses[peer], let answer = await founder(peer, at: address) else { continue }
                    decision = core.answered(peer, answer)
                    if case .await = decision { continue }
                    break
                }
                if case .await = decision { try await Task.sleep(for: .milliseconds(100)) }
            }
        }
    }

    /// Asks the node at an address who it is; `nil` if it doesn't answer.
    func identify(_ address: String) async -> Identified? {
        await calls.identify(address, gid: options.gid, from: id, incarnation)
    }

    /// What a peer says of itself while this node looks for its group; `nil` if it can't count.
    private func founder(_ peer: ReplicaID, at address: String) async -> BootstrapCore.Answer? {
        guard let found = await identify(address) else { return nil }
        var obstacle: NodeCondition?
        if found.id != peer {
            obstacle = .founderIsAnother(id: found.id.rawValue, address: address, expected: peer)
        } else if found.answer.record == nil, found.cluster != Self.spelledAlike(options.cluster) {
            obstacle = .founderHasAnotherList(peer, theirs: found.cluster, own: options.cluster)
        }
        guard let obstacle else { return found.answer }
        if state.withLock({ state -> Bool in
            defer { state.condition = obstacle }
            return state.condition != obstacle
        }) {
            log.error("\(obstacle.sentence)")
        }
        return nil
    }

    private static func spelledAlike(_ addresses: [String]) -> [String] {
        addresses.map { text in Address(text).map { "\($0.numericHost):\($0.port)" } ?? text }
    }

    private func run() throws(EngineError) {
        var configuration = ReplicaHost<Machine>.Configuration(staging: directory.staging)
        configuration.driver.retainedEntries = options.retainedEntries
        var random = SystemRandomNumberGenerator()
        let host = try ReplicaHost(
            configuration: configuration, engine: engine, families: families, layout: layout,
            machine: makeMachine(), id: id, incarnation: incarnation, seed: random.next(), transport: self,
            observe: { [weak self] event in self?.observe(event) })
        state.withLock { $0.host = host }
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
    func follow(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.follower = body } }

    private func observe(_ event: ReplicaEvent) {
        defer {
            switch event {
            case .roleChanged, .termBegan, .snapshotInstalled, .membershipChanged, .waits:
                state.withLock { $0.follower }?()
            case .snapshotSending, .synced, .noSpace, .damaged, .clockJumped, .failed: break
            }
        }
        switch event {
        case .roleChanged(let role, let term, let leader):
            metrics.led(by: leader)
            log.info("\(role) in term \(term)", metadata: ["leader": "\(leader.map { "\($0)" } ?? "none")"])
        case .termBegan: break
        case .snapshotSending(let peer, let position): log.info("sending a snapshot at \(position) to node \(peer)")
        case .snapshotInstalled(let position):
            log.info("installed a snapshot at \(position)")
            state.withLock { $0.condition = nil }
            do throws(EngineError) { try directory.recordJoined() } catch { log.error("\(error)") }
        case .membershipChanged(let membership):
            log.info(
                "members: \(membership.members.map { "\($0.id) \($0.address) \($0.standing)" }.joined(separator: "; "))"
            )
            if membership[id]?.incarnation == incarnation {
                state.withLock { $0.condition = nil }
                checkAddress(membership)
            }
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
        let isLeading = host?.status.role == .leader
        // To whoever could take over soonest; a member that is down couldn't.
        if isLeading { host?.handOver() }
        // Calls that wait for a disk would keep the listener from ending.
        host?.dismissWaiters()
        if let endListening {
            await endListening()
        } else if isLeading {
            // Leadership goes with a message or two; who doesn't get it has an election timeout to wait.
            for _ in 0..<50 where host?.status.role == .leader { try? await Task.sleep(for: .milliseconds(10)) }
        }
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
        (Self.spelledAlike(options.cluster), state.withLock { $0.record })
    }

    /// Whether what claims to be of this cluster may be heard: a node that knows no cluster yet hears everybody.
    func isOfOwnCluster(_ other: [UInt8]) -> Bool {
        let own = clusterID
        return own.isEmpty || other.isEmpty || own == other
    }

    /// Messages of the group's replicas, from the node at `address`.
    func receive(_ messages: [Message], from address: String) {
        guard let host else { return }
        if let first = messages.first, host.status.membership[first.from] == nil {
            learned.withLock { $0[first.from] = address }
        }
        host.receive(messages)
    }

    func address(of peer: ReplicaID, in membership: Membership) -> String? {
        membership[peer]?.address ?? learned.withLock { $0[peer] }
    }

    var leaderAddress: String {
        guard let host else { return "" }
        let status = host.status
        guard let leader = status.leader else { return "" }
        return address(of: leader, in: status.membership) ?? ""
    }

    /// One snapshot at a time: `nil` if one is being received that a leader of this term or a later one has offered. (One
    /// whose sender falls silent ends by itself.)
    func beginReceiving(_ term: Term) -> UInt64? {
        state.withLock { state in
            guard state.host != nil else { return nil }
            if let receiving = state.receiving, receiving.term >= term { return nil }
            state.turns += 1
            state.receiving = (turn: state.turns, term: term)
            return state.turns
        }
    }

    /// Whether the turn is still whose it was.
    func isReceiving(_ turn: UInt64) -> Bool { state.withLock { $0.receiving?.turn == turn } }

    func endReceiving(_ turn: UInt64) {
        state.withLock { if $0.receiving?.turn == turn { $0.receiving = nil } }
    }
}
