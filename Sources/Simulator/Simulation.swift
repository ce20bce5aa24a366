internal import Engines
internal import RaftLog

/// A seeded group of replica drivers under virtual time: a network that loses, repeats, delays, reorders and
/// partitions; disks that stall and lose what was not synced; processes that crash, pause and lose their disk.
///
/// One seed decides everything; the same seed gives the same trace, byte for byte. After a phase of faults
/// everything heals, and the group must converge. `Simulation+Invariants.swift` says what is checked.
public struct Simulation {
    /// Known bugs that can be put back on purpose, to see that they are found.
    public enum Plant: String, CaseIterable, Sendable {
        /// The disk says "done" before anything is synced.
        case acknowledgeBeforeSync = "ack-before-sync"
        /// A wiped disk takes part as if nothing had happened.
        case wipedDiskVotes = "wiped-disk-votes"
        /// Reads are answered without asking whether the replica still leads.
        case unconfirmedReads = "unconfirmed-reads"
        /// What a killed process left in the system's cache counts as durable.
        case openWithoutSync = "open-without-sync"
        /// After a restart a replica with committed changes of members in its log campaigns by the members before them.
        case forgetsCommittedChanges = "forgets-committed-changes"
        /// A replica takes a snapshot from a later term and goes on answering the leader of its own.
        case snapshotKeepsTerm = "snapshot-keeps-term"
        /// The leader's own clock stamps the log.
        case trustsOwnClock = "trusts-own-clock"

        /// Those that are put into the core itself.
        var inCore: RaftCore.Plant? {
            switch self {
            case .forgetsCommittedChanges: .forgetsCommittedChanges
            case .snapshotKeepsTerm: .snapshotKeepsTerm
            case .trustsOwnClock: .trustsOwnClock
            case .acknowledgeBeforeSync, .wipedDiskVotes, .unconfirmedReads, .openWithoutSync: nil
            }
        }
    }

    public struct Options: Sendable {
        public var seed: UInt64
        public var plant: Plant?
        /// Virtual milliseconds with faults.
        public var faultyTime: UInt64 = 20_000
        /// Virtual milliseconds in which everything must have converged afterwards.
        public var healingTime: UInt64 = 20_000

        public init(seed: UInt64, plant: Plant? = nil) {
            self.seed = seed
            self.plant = plant
        }
    }

    /// What a run found.
    public struct Report: Sendable {
        public var seed: UInt64
        public var violation: String?
        public var events: UInt64 = 0
        public var virtualTime: UInt64 = 0
        public var elections: Int = 0
        public var acknowledged: Int = 0
        public var reads: Int = 0
        public var crashes: Int = 0
        public var snapshots: Int = 0
        /// Families that were mapped from beside the log, and replicas that had to wait for one.
        public var stages: Int = 0
        public var blocked: Int = 0
        public var wipes: Int = 0
        /// Members added and removed.
        public var changes: Int = 0
    }

    enum Event {
        case tick(node: Int, life: UInt64)
        case deliver(Message)
        case written(node: Int, life: UInt64)
        case entriesRead(node: Int, life: UInt64, peer: ReplicaID, entries: [Entry])
        case snapshotArrives(from: Int, fromLife: UInt64, to: Int, SnapshotHeader, [[(key: [UInt8], value: [UInt8])]])
        case snapshotFailed(node: Int, life: UInt64, peer: ReplicaID)
        case restart(node: Int)
        case client
        case fault
        case `operator`
        case heal
        case check
        case end
    }

    /// A partition: messages from one to the other are lost.
    struct Link: Hashable {
        var from: ReplicaID
        var to: ReplicaID
    }

    /// Raised by an invariant.
    struct Violation: Error { var sentence: String }

    let options: Options
    var random: SplitMix64
    var now: UInt64 = 0
    var queue = EventQueue<Event>()
    var nodes: [SimulatedNode] = []
    var cut: Set<Link> = []
    var lossPercent: UInt64 = 0
    var repeatPercent: UInt64 = 0
    var delayMax: UInt64 = 5
    var diskDelayMax: UInt64 = 4
    var isHealed = false
    var report: Report
    var trace: ((String) -> Void)?
    var knowledge = Knowledge()
    var nextNumber: UInt64 = 1
    var layoutGroup: UInt64 { 7 }
    let driverConfiguration: ReplicaDriver.Configuration
    /// The operator adds and removes members, and at most so many milliseconds pass before the next step.
    let changesMembers: Bool
    let operatorPace: UInt64
    /// How readily a replica that lacks something fetches it.
    let fetchPercent: UInt64

    init(_ options: Options, trace: ((String) -> Void)?) {
        self.options = options
        self.trace = trace
        random = SplitMix64(seed: options.seed)
        report = Report(seed: options.seed)
        var configuration = ReplicaDriver.Configuration()
        configuration.core.electionTimeout = 200
        configuration.core.heartbeatInterval = 40
        // Small limits, drawn anew for each seed, so that every path of flow control is walked.
        configuration.core.appendBytesMax = [48, 200, 4096][Int.random(in: 0..<3, using: &random)]
        configuration.core.inflightMessagesMax = [1, 3, 64][Int.random(in: 0..<3, using: &random)]
        configuration.core.memoryBytesMax = [0, 400, 1 << 20][Int.random(in: 0..<3, using: &random)]
        configuration.retainedEntries = [4, 20, 10_000][Int.random(in: 0..<3, using: &random)]
        configuration.applyBytesMax = [48, 1 << 20][Int.random(in: 0..<2, using: &random)]
        configuration.logBytesMax = [48, 4 << 20][Int.random(in: 0..<2, using: &random)]
        configuration.core.plant = options.plant?.inCore
        driverConfiguration = configuration
        changesMembers = Bool.random(using: &random)
        operatorPace = [300, 4_000][Int.random(in: 0..<2, using: &random)]
        fetchPercent = [1, 10][Int.random(in: 0..<2, using: &random)]
    }

    /// Runs one seed. `trace` gets one line for each event.
    public static func run(_ options: Options, trace: ((String) -> Void)? = nil) -> Report {
        var simulation = Simulation(options, trace: trace)
        do {
            try simulation.run()
        } catch let violation as Violation {
            simulation.report.violation = violation.sentence
            for node in simulation.nodes.indices { simulation.note(node, simulation.summary(node)) }
            simulation.note(nil, "VIOLATION \(violation.sentence)")
        } catch {
            simulation.report.violation = "unexpected error: \(error)"
        }
        simulation.report.virtualTime = simulation.now
        return simulation.report
    }

    mutating func chance(_ percent: UInt64) -> Bool { UInt64.random(in: 0..<100, using: &random) < percent }

    func note(_ node: Int?, _ text: @autoclosure () -> String) {
        guard let trace else { return }
        let digits = String(now)
        let place = node.map { "n\(nodes[$0].id)" } ?? "--"
        trace(String(repeating: " ", count: max(0, 6 - digits.count)) + digits + " " + place + " " + text())
    }

    // MARK: - The run

    mutating func run() throws {
        let count = [3, 3, 5][Int.random(in: 0..<3, using: &random)]
        try found(count)
        for node in nodes.indices { queue.schedule(.tick(node: node, life: nodes[node].life), at: 0) }
        queue.schedule(.client, at: 300)
        queue.schedule(.fault, at: 1_000)
        queue.schedule(.operator, at: 500)
        queue.schedule(.heal, at: options.faultyTime)
        queue.schedule(.end, at: options.faultyTime + options.healingTime)
        while let (time, event) = queue.next() {
            now = time
            report.events += 1
            if case .end = event { break }
            try handle(event)
        }
        try checkConvergence()
    }

    /// Every node gets a directory with an incarnation, and all but the spare ones the same bootstrap record.
    mutating func found(_ count: Int) throws {
        defer {
            if changesMembers {
                for number in count..<count + 2 {
                    let incarnation = Incarnation(high: random.next(), low: random.next())
                    nodes.append(SimulatedNode(id: ReplicaID(UInt64(number)), incarnation: incarnation))
                }
            }
        }
        for number in 0..<count {
            let incarnation = Incarnation(high: random.next(), low: random.next())
            nodes.append(SimulatedNode(id: ReplicaID(UInt64(number)), incarnation: incarnation))
        }
        let members = nodes.map {
            Member(id: $0.id, address: "n\($0.id)", incarnation: $0.incarnation, standing: .voter)
        }
        let record = BootstrapRecord(clusterID: [1], gid: layoutGroup, membership: Membership(members: members))
        for node in nodes.indices {
            let families = try FamilyTable(engine: nodes[node].engine)
            let layout = try families.layout(of: layoutGroup)
            var batch = WriteBatch()
            record.write(to: layout, in: &batch)
            try nodes[node].engine.write(batch, durability: .synced)
            try start(node)
        }
        note(nil, "start \(count) nodes, seed \(options.seed)")
    }

    mutating func start(_ node: Int) throws {
        let engine = nodes[node].engine
        // As every engine does when it is opened.
        if options.plant != .openWithoutSync { try engine.sync() }
        let families = try FamilyTable(engine: engine)
        let layout = try families.layout(of: layoutGroup)
        let view = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: JournalMachine(), in: view)
        view.close()
        try families.sweepUnmapped()
        let driver = ReplicaDriver(
            id: nodes[node].id, incarnation: nodes[node].incarnation, configuration: driverConfiguration,
            state: opened.state, seed: random.next(), now: now)
        try checkFound(driver.core.lastPosition, node)
        nodes[node].life += 1
        nodes[node].pausedUntil = 0
        nodes[node].process = SimulatedNode.Process(driver: driver, storage: opened.storage, families: families)
        let wall = wall(node)
        nodes[node].process?.driver.observe(wall: wall, now: now)
        queue.schedule(.tick(node: node, life: nodes[node].life), at: now + 1)
    }

    mutating func handle(_ event: Event) throws {
        switch event {
        case .tick(let node, let life):
            guard isAlive(node, life) else { return }
            if nodes[node].pausedUntil > now { return queue.schedule(event, at: nodes[node].pausedUntil) }
            queue.schedule(event, at: now + 10)
            let wall = wall(node)
            nodes[node].process?.driver.observe(wall: wall, now: now)
            nodes[node].process?.driver.tick(now: now)
            try settle(node)
            try fetchIfBlocked(node)
        case .deliver(let message):
            let node = Int(message.to.rawValue)
            guard nodes[node].process != nil else { return }
            if nodes[node].pausedUntil > now { return queue.schedule(event, at: nodes[node].pausedUntil) }
            note(node, "receive \(describe(message))")
            nodes[node].process?.driver.receive(message, now: now)
            try settle(node)
        case .written(let node, let life):
            guard isAlive(node, life) else { return }
            nodes[node].process?.isWriting = false
            try write(node, reportCompletion: true)
            try settle(node)
        case .entriesRead(let node, let life, let peer, let entries):
            guard isAlive(node, life) else { return }
            nodes[node].process?.driver.provideEntries(entries, to: peer)
            try settle(node)
        case .snapshotArrives(let from, let fromLife, let to, let header, let contents):
            try snapshotArrives(from: from, fromLife: fromLife, to: to, header, contents)
        case .snapshotFailed(let node, let life, let peer):
            guard isAlive(node, life) else { return }
            nodes[node].process?.driver.snapshotEnded(to: peer, index: nil)
            try settle(node)
        case .restart(let node):
            if nodes[node].process == nil {
                note(node, "restart")
                try start(node)
            }
        case .client: try client()
        case .fault: try fault()
        case .operator: try operate()
        case .heal: try heal()
        case .check, .end: break
        }
    }

    /// When a run begins, in Unix milliseconds.
    static let epoch: Int64 = 1_700_000_000_000

    /// What a node's clock shows.
    func wall(_ node: Int) -> UInt64 { UInt64(Self.epoch + Int64(now) + nodes[node].clockOffset) }

    func isAlive(_ node: Int, _ life: UInt64) -> Bool { nodes[node].process != nil && nodes[node].life == life }

    // MARK: - Shell

    /// Carries out what a driver says, as `ReplicaHost` does.
    mutating func settle(_ node: Int) throws {
        while let effects = nodes[node].process?.driver.effects(now: now) {
            try observe(node)
            if effects.isEmpty { return }
            for message in effects.messages { try send(message, from: node) }
            if let request = effects.write {
                nodes[node].process?.queue.append(request)
                beginWriting(node)
            }
            for token in effects.readyReads { try readIsReady(node, token) }
            for token in effects.failedReads { knowledge.reads[token] = nil }
            for token in effects.unknownProposals { knowledge.proposals[token] = nil }
            for needed in effects.neededEntries { try readEntries(node, needed.peer, needed.from, needed.through) }
            for member in effects.neededSnapshots { try sendSnapshot(node, to: member) }
            if nodes[node].process?.driver.hasMoreToWrite != true { return }
        }
    }

    mutating func send(_ message: Message, from node: Int) throws {
        try checkPromise(message, node)
        let target = Int(message.to.rawValue)
        guard nodes.indices.contains(target) else { return }
        if cut.contains(Link(from: message.from, to: message.to)) || chance(lossPercent) {
            note(node, "lose \(describe(message))")
            return
        }
        queue.schedule(.deliver(message), at: now + UInt64.random(in: 1...delayMax, using: &random))
        if chance(repeatPercent) {
            // Sometimes very old.
            let late = chance(20) ? UInt64.random(in: 100...5_000, using: &random) : delayMax * 3
            queue.schedule(.deliver(message), at: now + late)
        }
    }

    mutating func beginWriting(_ node: Int) {
        guard let process = nodes[node].process, !process.isWriting, !process.queue.isEmpty else { return }
        nodes[node].process?.isWriting = true
        let stall = !isHealed && chance(1) ? UInt64.random(in: 100...1_500, using: &random) : 0
        let delay = UInt64.random(in: 1...diskDelayMax, using: &random) + stall
        queue.schedule(.written(node: node, life: nodes[node].life), at: now + delay)
    }

    /// The disk takes everything that has queued: one batch, one sync.
    /// `inCacheOnly`: the process is killed before the sync.
    mutating func write(_ node: Int, reportCompletion: Bool, inCacheOnly: Bool = false) throws {
        guard var process = nodes[node].process, !process.queue.isEmpty else { return }
        let engine = nodes[node].engine
        let view = try engine.snapshot()
        let families = process.families
        var batch = StorageBatch(view: view) { () throws(EngineError) in try families.take() }
        var outcomes: [GroupStorage<JournalMachine>.Outcome] = []
        let requests = process.queue
        process.queue = []
        for request in requests { outcomes.append(try process.storage.execute(request, in: &batch)) }
        view.close()
        let isUnsynced = inCacheOnly || options.plant == .acknowledgeBeforeSync
        let durability = isUnsynced ? .buffered : batch.durability
        try engine.write(batch.batch, durability: durability)
        nodes[node].process = process
        let applied = process.storage.applied.position.index
        for request in requests {
            for command in request.commands where command.entry.index <= applied {
                try noteApplied(command.entry, node)
            }
        }
        guard reportCompletion else { return }
        for outcome in outcomes {
            nodes[node].process?.driver.completed(outcome.completion)
            for answer in outcome.replies { acknowledge(answer.token, answer.position) }
            for token in outcome.abandoned { knowledge.proposals[token] = nil }
        }
        for family in batch.unmapped { try engine.dropFamily(family) }
        beginWriting(node)
    }

    /// A replica that can't apply its next entry stages what it lacks, as long as the source has it, which is until a
    /// quorum has applied the entry; or it fetches a snapshot from any replica that could. As `ShardMover` does.
    private mutating func fetchIfBlocked(_ node: Int) throws {
        guard let process = nodes[node].process, let name = process.driver.waitsFor,
            chance(isHealed ? 10 : fetchPercent)
        else { return }
        report.blocked += 1
        let next = process.storage.applied.position.index + 1
        let members = process.driver.core.membership
        let applied = nodes.count {
            members[$0.id]?.incarnation == $0.incarnation && ($0.process?.storage.applied.position.index ?? 0) >= next
        }
        if applied < process.driver.core.membership.quorum, chance(50),
            let number = UInt64(name.split(separator: "/").last ?? "")
        {
            let view = try nodes[node].engine.snapshot()
            if try process.storage.layout.staged(name, in: view) == nil {
                note(node, "stage \(number) from the source")
                try stage(number, on: node)
                nodes[node].process?.driver.staged()
                try settle(node)
            }
            return
        }
        guard let peer = nodes.indices.randomElement(using: &random), peer != node, nodes[peer].pausedUntil <= now,
            let other = nodes[peer].process, other.driver.waitsFor == nil,
            let member = other.driver.core.membership[nodes[node].id], member.incarnation == nodes[node].incarnation
        else { return }
        note(node, "fetch a snapshot from n\(nodes[peer].id)")
        try sendSnapshot(peer, to: member)
    }

    mutating func readEntries(_ node: Int, _ peer: ReplicaID, _ from: LogIndex, _ through: LogIndex) throws {
        guard let process = nodes[node].process else { return }
        let view = try nodes[node].engine.snapshot()
        let entries = try process.storage.layout.readEntries(
            from: from, through: through, bytesMax: driverConfiguration.core.appendBytesMax, in: view)
        let later = now + UInt64.random(in: 1...diskDelayMax, using: &random)
        queue.schedule(
            .entriesRead(node: node, life: nodes[node].life, peer: peer, entries: entries), at: later)
    }

    mutating func sendSnapshot(_ node: Int, to member: Member) throws {
        guard let process = nodes[node].process else { return }
        let view = try nodes[node].engine.snapshot()
        let (header, families) = try SnapshotHeader.read(process.storage.layout, in: view)
        var contents: [[(key: [UInt8], value: [UInt8])]] = []
        for family in families {
            var rows: [(key: [UInt8], value: [UInt8])] = []
            try view.scan(family) { key, value in
                rows.append((Array(key), Array(value)))
                return true
            }
            contents.append(rows)
        }
        note(node, "snapshot at \(header.applied.position) to n\(member.id)")
        nodes[node].process?.driver.snapshotStarted(to: member.id, index: header.applied.position.index)
        // Late enough for the receiver to lose its disk meanwhile: whoever it is then has to find out.
        let arrival = now + UInt64.random(in: 5...(isHealed ? 200 : 2_500), using: &random)
        let target = Int(member.id.rawValue)
        guard nodes.indices.contains(target), !cut.contains(Link(from: nodes[node].id, to: member.id)),
            isHealed || !chance(20)
        else {
            queue.schedule(.snapshotFailed(node: node, life: nodes[node].life, peer: member.id), at: arrival)
            return
        }
        queue.schedule(
            .snapshotArrives(from: node, fromLife: nodes[node].life, to: target, header, contents), at: arrival)
    }

    mutating func snapshotArrives(
        from: Int, fromLife: UInt64, to node: Int, _ header: SnapshotHeader,
        _ contents: [[(key: [UInt8], value: [UInt8])]]
    ) throws {
        let position = header.applied.position
        if let process = nodes[node].process {
            var loaded: [FamilyID] = []
            for rows in contents {
                let family = try process.families.take()
                var batch = WriteBatch()
                for row in rows { batch.put(family, key: row.key, value: row.value) }
                try nodes[node].engine.write(batch, durability: .synced)
                loaded.append(family)
            }
            note(node, "loaded snapshot at \(position)")
            report.snapshots += 1
            nodes[node].process?.driver.install(SnapshotInstall(header: header, families: loaded), now: now)
            try settle(node)
        }
        if isAlive(from, fromLife) {
            let receiver = nodes[node].id
            let delivered = nodes[node].process == nil ? nil : position.index
            nodes[from].process?.driver.snapshotEnded(to: receiver, index: delivered)
            try settle(from)
        }
    }
}
