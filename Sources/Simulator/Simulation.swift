internal import Bytes
internal import Engines
internal import RaftLog

/// A seeded group of replica drivers under virtual time: a network that loses, repeats, delays, reorders and
/// partitions; disks that stall and lose what was not synced; processes that crash, pause and lose their disk.
///
/// One seed decides everything; the same seed gives the same trace, byte for byte. After a phase of faults
/// everything heals, and the group must converge; then it is tried with one fault at a time (`Simulation+Trials.swift`).
/// `Simulation+Invariants.swift`, `Simulation+Promises.swift` and `Simulation+Liveness.swift` say what is checked.
public struct Simulation {
    public struct Options: Sendable, Codable, Equatable {
        public var seed: UInt64
        public var plant: Plant?
        /// Virtual milliseconds with faults.
        public var faultyTime: UInt64 = 20_000
        /// Virtual milliseconds in which everything must have converged afterwards.
        public var healingTime: UInt64 = 14_000
        /// How many begin as members; `nil`: as drawn from the seed, 3 or 5.
        public var nodes: Int?
        /// Faults after so many don't happen; nor do those of these numbers, counted from 0.
        public var faultsMax: Int?
        public var skippedFaults: [Int] = []
        /// Clients ask for nothing more after so many writes and reads.
        public var requestsMax: Int?
        /// Members are added and removed; `nil`: as drawn from the seed.
        public var changesMembers: Bool?

        public init(seed: UInt64, plant: Plant? = nil) {
            self.seed = seed
            self.plant = plant
        }
    }

    /// What a run found.
    public struct Report: Sendable, Codable {
        public var seed: UInt64
        public var violation: String?
        public var events: UInt64 = 0
        public var virtualTime: UInt64 = 0
        public var elections: Int = 0
        public var acknowledged: Int = 0
        public var reads: Int = 0
        public var faults: Int = 0
        public var crashes: Int = 0
        public var snapshots: Int = 0
        /// Families that were mapped from beside the log, and replicas that had to wait for one.
        public var stages: Int = 0
        public var blocked: Int = 0
        public var wipes: Int = 0
        /// Bits that flipped on disks, and disks that were replaced for it.
        public var damaged: Int = 0
        public var replaced: Int = 0
        /// Members added and removed.
        public var changes: Int = 0
        /// Proposals that found too much waiting.
        public var busy: Int = 0

        init(seed: UInt64) { self.seed = seed }

        /// Counts another run in.
        public mutating func add(_ other: Report) {
            events += other.events
            virtualTime += other.virtualTime
            elections += other.elections
            acknowledged += other.acknowledged
            reads += other.reads
            faults += other.faults
            crashes += other.crashes
            snapshots += other.snapshots
            stages += other.stages
            blocked += other.blocked
            wipes += other.wipes
            damaged += other.damaged
            replaced += other.replaced
            changes += other.changes
            busy += other.busy
        }

        public var summary: String {
            "\(virtualTime / 1_000) virtual seconds, \(events) events, \(elections) elections, \(acknowledged) writes "
                + "acknowledged, \(busy) refused as too many, \(reads) reads, \(faults) faults, \(crashes) crashes, "
                + "\(damaged) bits flipped, \(replaced) found and \(wipes) disks lost, \(changes) changes of members, \(snapshots) snapshots, \(stages) families "
                + "staged, \(blocked) waits for one"
        }
    }

    enum Event {
        case tick(node: Int, life: UInt64)
        case round(node: Int, life: UInt64)
        /// `isLate`: it is a repetition, which may be very old.
        case deliver(Message, isLate: Bool)
        case input(node: Int, life: UInt64, ReplicaShell.Input)
        case written(node: Int, life: UInt64)
        case completed(node: Int, life: UInt64)
        case snapshotArrives(from: Int, fromLife: UInt64, to: Int, SnapshotHeader, [[(key: [UInt8], value: [UInt8])]])
        case restart(node: Int)
        case client
        case fault(number: Int)
        case `operator`
        case heal
        case watch
        case converged
        case trial(Trial)
        case trialWrite(until: UInt64)
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
    let knobs: GroupKnobs
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
    var trial = TrialState()
    var nextNumber: UInt64 = 1
    var requests = 0
    var layoutGroup: UInt64 { 7 }
    var electionTimeout: UInt64 { knobs.driver.core.electionTimeout }

    init(_ options: Options, trace: ((String) -> Void)?) {
        self.options = options
        self.trace = trace
        random = SplitMix64(seed: options.seed)
        report = Report(seed: options.seed)
        knobs = GroupKnobs(options, &random)
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

    func violate(_ sentence: String) throws -> Never { throw Violation(sentence: sentence) }

    mutating func chance(_ percent: UInt64) -> Bool { UInt64.random(in: 0..<100, using: &random) < percent }

    /// Milliseconds from 1 to so many.
    mutating func delay(_ most: UInt64) -> UInt64 { UInt64.random(in: 1...most, using: &random) }

    func note(_ node: Int?, _ text: @autoclosure () -> String) {
        guard let trace else { return }
        let digits = String(now)
        let place = node.map { "n\(nodes[$0].id)" } ?? "--"
        trace(String(repeating: " ", count: max(0, 6 - digits.count)) + digits + " " + place + " " + text())
    }

    // MARK: - The run

    /// Everything must have converged by then; what comes after is one fault at a time.
    var convergedAt: UInt64 { options.faultyTime + options.healingTime }

    mutating func run() throws {
        try found(knobs.nodes)
        for node in nodes.indices { queue.schedule(.tick(node: node, life: nodes[node].life), at: 0) }
        queue.schedule(.client, at: 300)
        queue.schedule(.fault(number: 0), at: 1_000)
        queue.schedule(.operator, at: 500)
        queue.schedule(.heal, at: options.faultyTime)
        queue.schedule(.converged, at: convergedAt)
        while let (time, event) = queue.next() {
            now = time
            report.events += 1
            if case .end = event { break }
            try handle(event)
        }
        try checkConvergence()
    }

    /// Every node gets a directory with an incarnation, and all but the spare ones the same bootstrap record.
    private mutating func found(_ count: Int) throws {
        for number in 0..<count + (knobs.changesMembers ? 2 : 0) {
            let incarnation = Incarnation(high: random.next(), low: random.next())
            nodes.append(SimulatedNode(id: ReplicaID(UInt64(number)), incarnation: incarnation))
        }
        let members = nodes.prefix(count).map {
            Member(id: $0.id, address: "n\($0.id)", incarnation: $0.incarnation, standing: .voter)
        }
        knowledge.firstMembership = Membership(members: members)
        for node in 0..<count {
            try bootstrap(node)
            try start(node)
        }
        note(nil, "start \(count) nodes, seed \(options.seed)")
    }

    mutating func bootstrap(_ node: Int) throws {
        let layout = try FamilyTable(engine: nodes[node].engine).layout(of: layoutGroup)
        let record = BootstrapRecord(clusterID: [1], gid: layoutGroup, membership: knowledge.firstMembership)
        var batch = WriteBatch()
        record.write(to: layout, in: &batch)
        try nodes[node].engine.write(batch, durability: .synced)
    }

    mutating func start(_ node: Int) throws {
        try checkDirectory(node)
        let shell: SimulatedReplica<JournalMachine>
        do {
            shell = try SimulatedReplica(
                gid: layoutGroup, engine: nodes[node].engine, machine: JournalMachine(), id: nodes[node].id,
                incarnation: nodes[node].incarnation, configuration: knobs.driver, seed: random.next(), now: now,
                isSynced: options.plant != .openWithoutSync
            ) { .bytes(bigEndianBytes($0)) }
        } catch {
            // It can't start, and says why.
            return try noticeDamage(node, error)
        }
        nodes[node].life += 1
        nodes[node].pausedUntil = 0
        nodes[node].shell = shell
        try checkFound(shell.driver.core.lastPosition, node)
        queue.schedule(.tick(node: node, life: nodes[node].life), at: now + 1)
    }

    private mutating func handle(_ event: Event) throws {
        switch event {
        case .tick(let node, let life):
            guard isAwake(node, life, event) else { return }
            queue.schedule(event, at: now + knobs.tickInterval)
            try round(node)
            try checkOffice(node)
            try fetchIfBlocked(node)
        case .round(let node, let life):
            guard isAwake(node, life, event) else { return }
            try round(node)
        case .deliver(let message, let isLate):
            // What a leader once said holds back elections, however old it is: a network that goes on repeating what
            // is seconds old isn't whole.
            if isLate, isHealed { return }
            let node = Int(message.to.rawValue)
            guard isAwake(node, nodes[node].life, event) else { return }
            note(node, "receive \(describe(message))")
            heard(message, node)
            post(.message(message), to: node)
        case .input(let node, let life, let input):
            guard isAwake(node, life, event) else { return }
            post(input, to: node)
        case .written(let node, let life):
            // The disk goes on while a process stands still.
            guard nodes[node].shell != nil, nodes[node].life == life else { return }
            if nodes[node].diskStandsUntil > now { return queue.schedule(event, at: nodes[node].diskStandsUntil) }
            // Tried again and again, as `ReplicaHost` does.
            if nodes[node].fullUntil > now { return queue.schedule(event, at: now + 200) }
            try write(node)
        case .completed(let node, let life):
            guard isAwake(node, life, event), !nodes[node].completions.isEmpty else { return }
            post(.completed(nodes[node].completions.removeFirst()), to: node)
        case .snapshotArrives(let from, let fromLife, let to, let header, let contents):
            try snapshotArrives(from: from, fromLife: fromLife, to: to, header, contents)
        case .restart(let node):
            if nodes[node].shell == nil {
                note(node, "restart")
                try start(node)
            }
        case .client: try client()
        case .fault(let number): try fault(number)
        case .operator: try operate()
        case .heal: heal()
        case .watch: try watch()
        case .converged:
            try checkConvergence()
            scheduleTrials()
        case .trial(let trial): try carryOut(trial)
        case .trialWrite(let end): writeInTrial(until: end)
        case .end: break
        }
    }

    /// The process is there and of this life; what comes to one that stands still comes when it wakes.
    private mutating func isAwake(_ node: Int, _ life: UInt64, _ event: Event) -> Bool {
        guard nodes[node].shell != nil, nodes[node].life == life else { return false }
        guard nodes[node].pausedUntil > now else { return true }
        queue.schedule(event, at: nodes[node].pausedUntil)
        return false
    }

    /// When a run begins, in Unix milliseconds.
    static let epoch: Int64 = 1_700_000_000_000

    /// What a node's clock shows.
    func wall(_ node: Int) -> UInt64 { UInt64(Self.epoch + Int64(now) + nodes[node].clockOffset) }

    func isAlive(_ node: Int, _ life: UInt64) -> Bool { nodes[node].shell != nil && nodes[node].life == life }
}
