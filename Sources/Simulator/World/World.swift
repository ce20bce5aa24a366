internal import ClientCore
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// A seeded cluster under virtual time: a controller, data groups, and clients that write and read through it, over a
/// network, disks and clocks that fail.
///
/// Everything that decides is production's: drivers and storages under `ReplicaShell`, the machines of the controller and
/// the groups, `GroupReader`, and the clients' cores. The world carries out what they say. One seed decides everything;
/// the same seed gives the same trace, byte for byte. `World+Checks.swift` says what is checked.
public struct World {
    /// Known defects above Raft that can be put back on purpose, to see that they are found.
    public enum Plant: String, CaseIterable, Sendable, Codable {
        /// A group forgets answers that a client may still ask for.
        case answersForgottenEarly = "answers-forgotten-early"
        /// The rows of sessions go before the sessions end.
        case liveSessionsEvicted = "live-sessions-evicted"
        /// A session's later answers are not written to the disk.
        case answersInMemoryOnly = "answers-in-memory-only"
        /// A delete is executed and not recorded in its session.
        case deletesNotRecorded = "deletes-not-recorded"
        /// A session that was closed is forgotten at once.
        case closedSessionsForgotten = "closed-sessions-forgotten"
        /// A leader answers reads without asking whether it still leads.
        case unconfirmedReads = "world-unconfirmed-reads"
        /// Whoever is asked answers reads from what it has.
        case followerReads = "follower-reads"
        /// A client repeats a lost write in a new session.
        case retriesInNewSession = "retries-in-new-session"
        /// A client takes a request that had no answer for one that was never sent.
        case lostTakenForNotSent = "lost-taken-for-not-sent"
        /// A client calls a write failed whose outcome is unknown.
        case unknownCalledFailed = "unknown-called-failed"
        /// Requests don't say which cluster they mean.
        case clusterUnsaid = "cluster-unsaid"

        /// A shard is activated as soon as one member has staged it.
        case activatesUnstaged = "activate-without-staged-quorum"
        /// The source removes its copy before anybody has activated the shard.
        case collectsBeforeActivation = "collect-before-activation"
        /// A source that has waited for long serves again.
        case unfreezesOnTimeout = "unfreeze-on-timeout"
        /// The rows of sessions don't come with a shard.
        case leavesSessionsBehind = "sessions-left-behind"
        /// Blank shards are adopted again.
        case adoptsTwice = "adopt-twice"
        /// A group answers reads of a shard that its old map gives it.
        case servesByOldMap = "stale-map-served"
        /// The epoch of a move is not used up by it.
        case reusesEpochs = "epoch-reused"
        /// Nothing ends a hold but its holder.
        case outlivesHolds = "hold-outlived"
        /// Moves begin while they are held.
        case ignoresHolds = "hold-ignored"
        /// A frozen shard is read.
        case readsFrozen = "read-after-freeze"
        /// Nobody looks whether what has arrived is what was frozen.
        case skipsHashes = "content-hash-skipped"
        /// A snapshot holds what the log has made, and not what was staged beside it.
        case snapshotWithoutStaged = "snapshot-without-staged"
        /// The source removes its copy without a look at it.
        case collectsUncompared = "collect-without-comparing"
        /// A frozen shard is written.
        case writesWhileFrozen = "write-while-frozen"
        /// A source ends a move alone though it has frozen the shard for it.
        case abandonsFrozen = "abandon-frozen"
        /// A group that has handed a shard over serves it further.
        case servesAfterCollect = "serving-after-leaving"
        /// What clients have waiting keeps the group's own commands out.
        case ownCommandsWait = "own-commands-wait"
        /// A shard counts as staged when it is half loaded.
        case activatesHalfLoaded = "half-loaded-activated"
        /// What a member has answered in an earlier round of copying counts for the last.
        case earlierRoundsCount = "earlier-rounds-count"
        /// Rows that go while their shard is being copied are not noted.
        case deletesNotNoted = "deletes-not-noted"
        /// The rows of sessions that change while their shard is being copied are not noted.
        case sessionsNotNoted = "sessions-not-noted"
        /// What a write from before a new try says of waiting counts for the new one.
        case goesBackForOldTries = "goes-back-for-old-tries"

        /// Those that are put into Raft.
        var inRaft: RaftCore.Plant? { self == .goesBackForOldTries ? .goesBackForOldTries : nil }

        /// Those that are put into the machine itself.
        var inGroup: GroupMachine.Plant? {
            switch self {
            case .answersForgottenEarly: .forgetsAnswersEarly
            case .liveSessionsEvicted: .evictsLiveSessions
            case .answersInMemoryOnly: .keepsAnswersInMemoryOnly
            case .deletesNotRecorded: .forgetsDeletes
            case .closedSessionsForgotten: .forgetsClosedSessions
            case .activatesUnstaged: .activatesUnstaged
            case .leavesSessionsBehind: .leavesSessionsBehind
            case .adoptsTwice: .adoptsTwice
            case .writesWhileFrozen: .writesWhileFrozen
            case .abandonsFrozen: .abandonsFrozen
            case .servesAfterCollect: .servesAfterCollect
            case .deletesNotNoted: .notesNoDeletes
            case .sessionsNotNoted: .notesNoSessions
            default: nil
            }
        }

        /// Those that are put into what decides about moves.
        var inMoves: MovePlant? {
            switch self {
            case .activatesUnstaged: .activatesUnstaged
            case .collectsBeforeActivation: .collectsBeforeActivation
            case .unfreezesOnTimeout: .unfreezesOnTimeout
            case .adoptsTwice: .adoptsTwice
            case .abandonsFrozen: .abandonsFrozen
            case .skipsHashes: .skipsHashes
            case .earlierRoundsCount: .countsEarlierRounds
            case .collectsUncompared: .collectsUncompared
            default: nil
            }
        }

        /// What it is found in, if not in any run.
        var scenario: Scenario? { self == .ownCommandsWait ? .hotShard : nil }

        var inController: ControllerMachine.Plant? {
            switch self {
            case .reusesEpochs: .reusesEpochs
            case .outlivesHolds: .outlivesHolds
            case .ignoresHolds: .ignoresHolds
            default: nil
            }
        }
    }

    /// A run that is about one thing.
    public enum Scenario: String, CaseIterable, Sendable, Codable {
        /// Everybody writes into one shard as fast as it goes, which is moved to and fro.
        case hotShard = "hot-shard"
    }

    public struct Options: Sendable, Codable {
        public var seed: UInt64
        public var plant: Plant?
        public var scenario: Scenario?
        /// Virtual milliseconds with faults.
        public var faultyTime: UInt64 = 12_000
        /// Virtual milliseconds in which everything must have converged afterwards.
        public var healingTime: UInt64 = 8_000
        /// At most so many of each, whatever the seed draws: for whoever looks for a smaller run that fails alike.
        public var clientsMax = Int.max
        /// Data groups.
        public var groupsMax = Int.max
        /// What goes wrong, counted from the beginning.
        public var faultsMax = Int.max
        /// What administrators and operators do after the first groups have joined, likewise.
        public var actionsMax = Int.max

        /// Where the nodes' disks are; `nil`: in memory.
        public var disks: RealDisks?

        public init(seed: UInt64, plant: Plant? = nil) {
            self.seed = seed
            self.plant = plant
            if let scenario = plant?.scenario { use(scenario) }
        }
    }

    /// What a run found.
    public struct Report: Sendable, Codable {
        public var seed: UInt64
        public var violation: String?
        public var events: UInt64 = 0
        public var virtualTime: UInt64 = 0
        public var nodes = 0
        public var elections = 0
        public var crashes = 0
        public var snapshots = 0
        /// Members added and removed.
        public var changes = 0
        public var maps = 0
        /// Shards that were activated by the group that they moved to.
        public var moves = 0
        /// 1 if there was one.
        public var runsWithMoves = 0
        /// Fetches that went on where they had broken off, and copies that were refused for what had happened to them.
        public var resumed = 0
        /// Bits that flipped on disks, and disks that were lost, for that or another reason.
        public var bitsFlipped = 0
        public var disksLost = 0
        public var damaged = 0
        /// Operations of clients, by what they heard.
        public var answered = 0
        public var failed = 0
        public var unknown = 0
        /// Requests that found too much waiting.
        public var busy = 0
        /// Writes that were executed.
        public var executed = 0
        /// Attempts that got the answer of an earlier one.
        public var repeats = 0
        public var sessions = 0
        public var clientCrashes = 0
        /// Keys whose history was too much for the checker.
        public var undecided = 0

        /// Counts another run in.
        public mutating func add(_ other: Report) {
            events += other.events
            virtualTime += other.virtualTime
            nodes += other.nodes
            elections += other.elections
            crashes += other.crashes
            snapshots += other.snapshots
            changes += other.changes
            maps += other.maps
            moves += other.moves
            runsWithMoves += other.runsWithMoves
            resumed += other.resumed
            bitsFlipped += other.bitsFlipped
            disksLost += other.disksLost
            damaged += other.damaged
            answered += other.answered
            failed += other.failed
            unknown += other.unknown
            busy += other.busy
            executed += other.executed
            repeats += other.repeats
            sessions += other.sessions
            clientCrashes += other.clientCrashes
            undecided += other.undecided
        }

        public var summary: String {
            let cluster =
                "\(virtualTime / 1_000) virtual seconds, \(nodes) nodes, \(events) events, \(elections) elections, "
                + "\(crashes) crashes, \(bitsFlipped) bits flipped, \(disksLost) disks lost, \(snapshots) snapshots, \(changes) changes of members, \(maps) maps, "
                + "\(moves) moves in \(runsWithMoves) runs, \(resumed) fetches resumed, \(damaged) copies damaged"
            let clients =
                "\(answered) operations answered, \(unknown) with an unknown outcome, \(failed) failed, \(busy) requests refused as too many, \(executed) "
                + "writes executed, \(repeats) repeated, \(sessions) sessions, \(clientCrashes) clients crashed, "
                + "\(undecided) histories undecided"
            return cluster + ", " + clients
        }
    }

    enum Event {
        case tick(node: Int, life: UInt64)
        case round(node: Int, life: UInt64)
        /// `isLate`: it is a repetition, which may be very old.
        case deliver(node: Int, Message, isLate: Bool)
        case input(node: Int, life: UInt64, ReplicaShell.Input)
        case written(node: Int, life: UInt64)
        case completed(node: Int, life: UInt64)
        case snapshotArrives(SnapshotParcel)
        case restart(node: Int)
        case request(Request)
        case answer(Answer)
        case step(node: Int, life: UInt64)
        case alarm(node: Int, life: UInt64)
        case moveAnswer(node: Int, life: UInt64, MoveAnswer, to: UInt64)
        case peerQuestion(call: UInt64, to: Int, life: UInt64, PeerQuestion)
        case peerAnswer(call: UInt64, PeerResult)
        case liveness(call: UInt64)
        case later(node: Int, life: UInt64, (inout World) throws -> Void)
        case streamSends(StreamID)
        case streamAlarm(StreamID)
        case streamBreaks(StreamID)
        case attemptEnds(client: Int, life: UInt64, operation: Int, attempt: Int)
        case callEnds(call: Int, attempt: Int)
        case client(Int, life: UInt64)
        case administrator
        case starve(node: Int, life: UInt64)
        case fault
        case `operator`
        case heal
        case leadersAreDue
        case end
    }

    /// Raised by a check.
    struct Violation: Error { var sentence: String }

    let options: Options
    let knobs: Knobs
    var random: SplitMix64
    var now: UInt64 = 0
    var queue = EventQueue<Event>()
    var network = Network()
    var nodes: [WorldNode] = []
    var groups: [WorldGroup] = []
    var nodesByAddress: [String: Int] = [:]
    var clients: [WorldClient] = []
    var administrator = Administrator()
    var calls: [Int: PendingCall] = [:]
    /// Questions of nodes to each other that are under way.
    var peerCalls: [UInt64: PeerCall] = [:]
    /// Nodes that were asked who leads, and have not answered.
    var surveys: [UInt64: Int] = [:]
    var history = ClusterHistory()
    /// Every map that the controller has made.
    var maps: [ShardMap] = []
    /// Who has served a shard under an epoch.
    var served: [ShardEpoch: GroupID] = [:]
    /// What all logs mean together.
    var model: ClusterModel
    /// What a source has frozen for a move: its hashes, and its keys with their values.
    var frozen: [ShardEpoch: ShardHashes] = [:]
    var frozenValues: [ShardEpoch: [[UInt8]: [UInt8]]] = [:]
    /// The members of a target, by their index, when it activated a shard.
    var activatedBy: [ShardEpoch: LogIndex] = [:]
    var holds = HoldModel()
    /// Every move that a map has had.
    var moved: Set<ShardEpoch> = []
    var isHealed = false
    /// What has gone wrong, and what operators have done, so far.
    var faults = 0
    var operations = 0
    var report: Report
    var trace: ((String) -> Void)?
    private var lastNumber: UInt64 = 0

    init(_ options: Options, trace: ((String) -> Void)?) {
        self.options = options
        self.trace = trace
        random = SplitMix64(seed: options.seed)
        knobs = Knobs(&random, options)
        model = ClusterModel(shardCount: knobs.shardCount)
        report = Report(seed: options.seed)
    }

    /// Runs one seed. `trace` gets one line for each event.
    public static func run(_ options: Options, trace: ((String) -> Void)? = nil) -> Report {
        var world = World(options, trace: trace)
        do {
            try world.run()
        } catch let violation as Violation {
            world.report.violation = violation.sentence
            for node in world.nodes.indices { world.note(node, world.summary(node)) }
            world.note(nil, "VIOLATION \(violation.sentence)")
        } catch {
            world.report.violation = "unexpected error: \(error)"
        }
        for node in world.nodes { node.disk.remove() }
        world.report.virtualTime = world.now
        world.report.runsWithMoves = min(1, world.report.moves)
        return world.report
    }

    /// Nothing goes wrong: not any more, or not in this run.
    var isCalm: Bool { isHealed || options.scenario != nil }

    func violate(_ sentence: String) throws -> Never { throw Violation(sentence: sentence) }

    mutating func chance(_ percent: UInt64) -> Bool { UInt64.random(in: 0..<100, using: &random) < percent }

    /// Milliseconds from 1 to so many.
    mutating func delay(_ most: UInt64) -> UInt64 { UInt64.random(in: 1...most, using: &random) }

    mutating func pick(_ values: [UInt64]) -> UInt64 { values[Int.random(in: values.indices, using: &random)] }

    /// Numbers that are used once: tokens of requests, moments of histories.
    mutating func takeNumber() -> UInt64 {
        lastNumber += 1
        return lastNumber
    }

    func note(_ node: Int?, _ text: @autoclosure () -> String) {
        guard trace != nil else { return }
        note(at: node.map { nodes[$0].name } ?? "--", text())
    }

    func note(at place: String, _ text: @autoclosure () -> String) {
        guard let trace else { return }
        let digits = String(now)
        trace(
            String(repeating: " ", count: max(0, 6 - digits.count)) + digits + " " + place
                + String(repeating: " ", count: max(1, 6 - place.count)) + text())
    }

    // MARK: - The run

    private mutating func run() throws {
        try found()
        for client in clients.indices {
            queue.schedule(.client(client, life: clients[client].life), at: 200 + delay(300))
        }
        queue.schedule(.administrator, at: 50)
        if options.scenario == .hotShard {
            network.diskDelayMax = pick([4, 20, 60])
            note(nil, "disks take up to \(network.diskDelayMax) ms")
        } else {
            queue.schedule(.fault, at: 1_500)
        }
        queue.schedule(.operator, at: 1_000)
        queue.schedule(.heal, at: options.faultyTime)
        queue.schedule(.leadersAreDue, at: options.faultyTime + options.healingTime / 2)
        queue.schedule(.end, at: options.faultyTime + options.healingTime)
        while let (time, event) = queue.next() {
            now = time
            report.events += 1
            if case .end = event { break }
            let place = place(of: event)
            do { try handle(event) } catch let error as EngineError {
                guard let place else { throw error }
                try stop(place, error)
            }
        }
        try checkConvergence()
        try checkScenario()
        try checkHistories()
    }

    private mutating func handle(_ event: Event) throws {
        switch event {
        case .tick(let node, let life):
            guard isAwake(node, life, event) else { return }
            queue.schedule(event, at: now + knobs.tickInterval)
            try round(node)
        case .round(let node, let life):
            guard isAwake(node, life, event) else { return }
            try round(node)
        case .deliver(let node, let message, let isLate):
            // What a leader once said holds back elections, however old it is: a network that goes on repeating
            // what is seconds old isn't whole.
            if isLate, isHealed { return }
            guard isAwake(node, nodes[node].life, event) else { return }
            // A closure that is passed on would be given a copy of the world.
            if trace != nil { note(node, "receive \(describe(message, of: nodes[node].group))") }
            post(.message(message), to: node)
        case .input(let node, let life, let input):
            guard isAwake(node, life, event) else { return }
            post(input, to: node)
        case .written(let node, let life):
            // The disk goes on while a process stands still.
            guard nodes[node].shell != nil, nodes[node].life == life else { return }
            try write(node)
        case .completed(let node, let life):
            guard isAwake(node, life, event) else { return }
            completionArrives(node)
        case .snapshotArrives(let parcel):
            if sleeps(parcel.to, event) { return }
            try snapshotArrives(parcel)
        case .restart(let node):
            if !nodes[node].isUp {
                note(node, nodes[node].life == 0 ? "start" : "restart")
                try start(node)
            }
        case .request(let request):
            let node = request.to
            if nodes[node].isUp, nodes[node].pausedUntil > now {
                return queue.schedule(event, at: nodes[node].pausedUntil)
            }
            try receive(request)
        case .answer(let answer): try receive(answer)
        case .step(let node, let life):
            guard isAwake(node, life, event) else { return }
            queue.schedule(event, at: now + knobs.stepInterval)
            try step(node)
        case .alarm(let node, let life):
            guard isAwake(node, life, event) else { return }
            try alarmRings(node)
        case .moveAnswer(let node, let life, let answer, let id):
            guard isAwake(node, life, event) else { return }
            try pump(node, answer, to: id)
        case .peerQuestion(let call, let node, let life, let question):
            if nodes[node].life == life, sleeps(node, event) { return }
            try peerQuestionArrives(call, node, life, question)
        case .peerAnswer(let call, let result):
            if let node = peerCalls[call]?.from, sleeps(node, event) { return }
            try peerAnswerArrives(call, result)
        case .liveness(let call):
            if let node = peerCalls[call]?.from, sleeps(node, event) { return }
            try livenessIsDue(call)
        case .later(let node, let life, let body):
            guard isAwake(node, life, event) else { return }
            try body(&self)
        case .streamSends(let stream): try streamSends(stream)
        case .streamAlarm(let stream): try streamAlarm(stream)
        case .streamBreaks(let stream): try streamBreaks(stream)
        case .attemptEnds(let client, let life, let operation, let attempt):
            try attemptEnds(client, life, operation, attempt)
        case .callEnds(let call, let attempt): try callEnds(call, attempt)
        case .client(let client, let life): try clientActs(client, life)
        case .administrator: try administrate()
        case .starve(let node, let life): starve(node, life)
        case .fault: try fault()
        case .operator: try operate()
        case .heal: heal()
        case .leadersAreDue: try checkLeaders()
        case .end: break
        }
    }

    /// At which node something happens.
    private func place(of event: Event) -> Int? {
        switch event {
        case .tick(let node, _), .round(let node, _), .deliver(let node, _, _), .input(let node, _, _),
            .written(let node, _), .completed(let node, _), .restart(let node), .step(let node, _),
            .alarm(let node, _), .moveAnswer(let node, _, _, _), .peerQuestion(_, let node, _, _),
            .later(let node, _, _):
            node
        case .snapshotArrives(let parcel): parcel.to
        case .request(let request): request.to
        case .peerAnswer(let call, _), .liveness(let call): peerCalls[call]?.from
        case .streamSends, .streamAlarm, .streamBreaks, .answer, .attemptEnds, .callEnds, .client, .administrator,
            .starve, .fault, .operator, .heal, .leadersAreDue, .end:
            nil
        }
    }

    /// The process is there and of this life; what comes to one that stands still comes when it wakes.
    private mutating func isAwake(_ node: Int, _ life: UInt64, _ event: Event) -> Bool {
        guard nodes[node].isUp, nodes[node].life == life else { return false }
        return !sleeps(node, event)
    }

    private mutating func sleeps(_ node: Int, _ event: Event) -> Bool {
        guard nodes[node].isUp, nodes[node].pausedUntil > now else { return false }
        queue.schedule(event, at: nodes[node].pausedUntil)
        return true
    }
}
