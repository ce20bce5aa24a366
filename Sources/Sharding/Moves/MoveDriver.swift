internal import Bytes
public import Keyspace
public import RaftLog

/// What one replica of a group does about the shard map: it follows the map, brings what its log has mapped and its disk
/// lacks, and, while it leads, adopts shards that nobody had, brings home those that move here, and tells the controller
/// who is in the group.
///
/// A value without time or I/O. The shell says what has changed (`observe`, `heard`), asks for `effects(now:)` after each
/// input and when `wakeAt` has come, carries the questions out, at once and side by side, and hands the answers back by
/// their numbers. An answer that comes after its question was given up is ignored.
///
/// Everything that must survive is in the logs: a driver that was just made begins at the top, and so does a leader that
/// was just elected. Nothing waits without end: every question has its patience, every round its own.
///
/// Invariants, of which the tests keep an eye:
/// - `activate` is proposed only after a quorum of voters of one membership has said that it has staged the shard.
/// - `collect` is asked for only after the log was read and has decided; for an activation after a quorum has applied it.
/// - Of one shard and epoch one try is under way; of one source at most `movesAtOnce`.
public struct MoveDriver: Sendable {
    /// From one source: its shards wait for each other, so that few are frozen at a time. Other sources' don't.
    public static let movesAtOnce = 4

    /// Commands that adopt shards, before their answers are awaited.
    private static let adoptionsAtOnce = 256
    private static let restAfterFailure: Milliseconds = 500
    private static let mapRest: Milliseconds = 200
    private static let foreignRest: Milliseconds = 10_000
    private static let recordsRest: Milliseconds = 100
    private static let reportRest: Milliseconds = 1_000
    private static let sweepInterval: Milliseconds = 5_000
    private static let sessionsInterval: Milliseconds = 10_000

    /// What a replica knows of itself.
    public struct Standing: Sendable, Equatable {
        public var id: ReplicaID
        /// It leads, and an entry of its term is committed.
        public var leads: Bool
        public var term: Term
        public var leader: ReplicaID?
        /// Where the leader was last heard, which the membership here may not know; `nil`: it hasn't been heard.
        public var leaderAddress: String?
        public var membership: Membership
        /// A committed entry can't be applied before this is staged here.
        public var waitsFor: String?
        /// Of the group, as its bootstrap record has it; empty if it isn't known.
        public var identity: [UInt8]

        public init(
            id: ReplicaID, leads: Bool = false, term: Term = 0, leader: ReplicaID? = nil,
            leaderAddress: String? = nil, membership: Membership = .none, waitsFor: String? = nil,
            identity: [UInt8] = []
        ) {
            self.id = id
            self.leads = leads
            self.term = term
            self.leader = leader
            self.leaderAddress = leaderAddress
            self.membership = membership
            self.waitsFor = waitsFor
            self.identity = identity
        }
    }

    /// A question with its number.
    public struct Ask: Sendable, Equatable {
        public var id: UInt64
        public var question: MoveQuestion
    }

    public struct Effects: Sendable, Equatable {
        public var asks: [Ask] = []
        public var notes: [MoveNote] = []
        /// A newer map of this cluster has come.
        public var map: ShardMap?
        /// In a leader: whether the map knows this group by its own founders, or by others (then it must not serve).
        public var isKnown: Bool?
    }

    private enum Owner: Hashable {
        case map, records, upkeep, group, missing, sessions, sweep, endings, move(ShardEpoch, UInt64)
    }

    private let own: GroupID
    private let clusterID: [UInt8]
    private var standing: Standing
    public private(set) var map: ShardMap?
    /// The map's moves into this group.
    private var homeward: [(shard: ShardID, move: ShardMap.Move)] = []
    /// The map's moves out of this group that are to end without arriving.
    private var ending: [(shard: ShardID, move: ShardMap.Move)] = []
    private var effects = Effects()

    private var asked: [UInt64: (question: MoveQuestion, owner: Owner, until: Milliseconds)] = [:]
    private var lastID: UInt64 = 0

    private var mapAt: Milliseconds = 0
    /// As of the last look in this term; `nil`: to be read.
    private var records: [ShardID: ShardRecord]?
    private var recordsAt: Milliseconds = 0
    private var upkeepFailed = false
    /// The membership that the controller was last told.
    private var reported: LogIndex = 0
    private var reportAt: Milliseconds = 0
    private var moves: [ShardEpoch: (move: ShardMove, attempt: UInt64)] = [:]
    /// Moves that failed lately, and when to try again.
    private var resting: [ShardEpoch: Milliseconds] = [:]
    /// Staged here, or on their way here by an earlier map, and not decided.
    private var undecided: Set<ShardEpoch> = []
    /// The map of whose endings the controller was last told, and when to look again.
    private var endedMap: UInt64?
    private var endingsAt: Milliseconds = 0
    /// Shards that have gone from here, and the map gives back: said once.
    private var gone: Set<ShardEpoch> = []
    private var missing: MissingShard?
    private var missingTried: String?
    private var missingAt: Milliseconds = 0
    private var sweepAt: Milliseconds
    private var sessionsAt: Milliseconds
    /// When to go on, as of the last `effects`.
    private var alarm: Milliseconds = 0
    package var limits = CopyLimits()
    /// A known defect that is put back, for the simulator to find.
    package var plant: MovePlant?

    public init(group: GroupID, clusterID: [UInt8], _ standing: Standing, now: Milliseconds) {
        own = group
        self.clusterID = clusterID
        self.standing = standing
        sweepAt = now + Self.sweepInterval
        sessionsAt = now + Self.sessionsInterval
    }

    // MARK: - Inputs

    /// The replica is this now. A leader of another term begins at the top.
    public mutating func observe(_ standing: Standing) {
        if standing.leads != self.standing.leads || standing.term != self.standing.term { forgetLeadership() }
        // Something else is lacking. (Whatever is staged here lets the same entry be tried again: no news.)
        if let name = standing.waitsFor, name != missingTried, missing == nil { missingAt = 0 }
        self.standing = standing
    }

    /// What came of a question. Later answers to the same one are ignored.
    public mutating func heard(_ answer: MoveAnswer, to id: UInt64, now: Milliseconds) {
        guard let asked = asked.removeValue(forKey: id) else { return }
        switch asked.owner {
        case .map: mapAnswered(answer, now)
        case .records:
            if case .records(let found) = answer { records = found } else { recordsAt = now + Self.recordsRest }
        case .upkeep:
            if answer != .done { upkeepFailed = true }
            guard !isAsked(.upkeep) else { return }
            // What it has changed is looked up: whatever was void is not tried again at once.
            records = nil
            recordsAt = upkeepFailed ? now + Self.restAfterFailure : now
            upkeepFailed = false
        case .group: groupReported(answer, to: asked.question, now)
        case .missing:
            if var missing {
                let step = missing.heard(answer)
                self.missing = missing
                take(step, now)
            }
        case .sessions:
            if answer == .sessionIsDue(true) { ask(.command(.passTime), .sessions, now) }
        case .sweep:
            guard case .undecided(let found) = answer else { return }
            // Whoever leads looks at each; others only report what lies here now.
            undecided = standing.leads ? undecided.union(found) : Set(found)
        case .endings: endingsAt = now + Self.restAfterFailure
        case .move(let shard, let attempt):
            guard var running = moves[shard], running.attempt == attempt else { return }
            let step = running.move.heard(answer, to: asked.question, standing.membership, now: now)
            moves[shard] = running
            take(step, of: shard, now)
        }
    }

    /// What follows from everything so far. `wakeAt` lies ahead afterwards.
    public mutating func effects(now: Milliseconds) -> Effects {
        for id in asked.filter({ $0.value.until <= now }).keys.sorted() {
            heard(.failed(MoveAnswer.Failure("no answer in time")), to: id, now: now)
        }
        follow(now)
        bringMissing(now)
        if now >= sweepAt {
            sweepAt = now + Self.sweepInterval
            if !isAsked(.sweep) { ask(.sweep, .sweep, now) }
        }
        if now >= sessionsAt {
            sessionsAt = now + Self.sessionsInterval
            if standing.leads, !isAsked(.sessions) { ask(.sessions, .sessions, now) }
        }
        // Those that end make room for others of their source.
        wakeMoves(now)
        if standing.leads, let map { lead(map, now) }
        setAlarm(now)
        defer { effects = Effects() }
        return effects
    }

    /// When `effects` is to be asked for, unless an input comes before.
    public var wakeAt: Milliseconds { alarm }

    /// Moves that are under way here.
    public var running: Set<ShardEpoch> { Set(moves.keys) }

    // MARK: - The map

    private mutating func follow(_ now: Milliseconds) {
        guard now >= mapAt, !isAsked(.map) else { return }
        ask(.map(newerThan: map?.number), .map, now)
    }

    private mutating func mapAnswered(_ answer: MoveAnswer, _ now: Milliseconds) {
        guard case .map(let next) = answer else {
            // Without a controller the group serves what it has.
            mapAt = now + Self.mapRest
            return
        }
        guard next.clusterID == clusterID else {
            // Controllers that know nothing of this cluster have nothing to say here.
            effects.notes.append(.foreignControllers(theirs: next.clusterID, own: clusterID))
            mapAt = now + Self.foreignRest
            return
        }
        // One with a lower number, or the same and other contents, is of controllers that were recovered by force: theirs is
        // the word from now on.
        guard next != map else {
            mapAt = now + Self.mapRest
            return
        }
        map = next
        undecided.formUnion(homeward.map { ShardEpoch(shard: $0.shard, epoch: $0.move.epoch) })
        homeward = next.moves.filter { $0.move.to == own }
        ending = next.moves.filter { $0.move.from == own && $0.move.phase.isEnding }
        effects.map = next
        // What was read before the map came isn't judged by it.
        asked = asked.filter { $0.value.owner != .records }
        effects.asks.removeAll { asked[$0.id] == nil }
        records = nil
        recordsAt = now
    }

    // MARK: - A leader

    private mutating func forgetLeadership() {
        moves = [:]
        resting = [:]
        records = nil
        recordsAt = 0
        upkeepFailed = false
        let kept: Set<Owner> = [.map, .missing, .sweep]
        asked = asked.filter { kept.contains($0.value.owner) }
        effects.asks.removeAll { asked[$0.id] == nil }
    }

    private mutating func lead(_ map: ShardMap, _ now: Milliseconds) {
        guard let known = map.groups[own] else {
            // It may join again as it first did.
            reported = 0
            keepUp(map, isCertain: false, now)
            // What it was copying when it left is over.
            return endMoves(map, now)
        }
        let identity = standing.identity
        guard known.identity.isEmpty || identity.isEmpty || known.identity == identity else {
            // Its disks were all lost. To begin with empty shards would answer "absent" for what was acknowledged.
            effects.isKnown = false
            return
        }
        effects.isKnown = true
        let isCertain = known.identity == identity || identity.isEmpty
        keepUp(map, isCertain: isCertain, now)
        reportGroup(known, now)
        // What the map knows nothing of yet takes no part in moves: it may be forgotten again.
        if isCertain {
            endMoves(map, now)
            beginMoves(map, now)
        }
    }

    /// What the map wants of the records here, once they have been read. What these commands change is looked up again.
    private mutating func keepUp(_ map: ShardMap, isCertain: Bool, _ now: Milliseconds) {
        guard !isAsked(.upkeep) else { return }
        guard let records else {
            if now >= recordsAt, !isAsked(.records) { ask(.records, .records, now) }
            return
        }
        freezeOverruled(map, records, now)
        if isCertain { adopt(map, records, now) }
        if plant == .unfreezesOnTimeout { unfreeze(records, now) }
    }

    /// Shards that were given to this group with nothing in them: nothing to copy. Others come by a move.
    private mutating func adopt(_ map: ShardMap, _ records: [ShardID: ShardRecord], _ now: Milliseconds) {
        let given = map.shardIDs.lazy.filter { [own, plant] shard in
            map[shard].gid == own && map[shard].isBlank && (records[shard] == nil || plant == .adoptsTwice)
        }
        for shard in given.prefix(Self.adoptionsAtOnce) {
            let epoch = ShardEpoch(shard: shard, epoch: map[shard].epoch)
            ask(.command(.adopt(epoch, shardCount: map.shardCount)), .upkeep, now)
        }
    }

    /// A planted defect: what is frozen here for longer than a failure rests is served again.
    private mutating func unfreeze(_ records: [ShardID: ShardRecord], _ now: Milliseconds) {
        for (shard, record) in records.sorted(by: { $0.key < $1.key }) {
            guard case .frozen(_, let epoch) = record.state else { continue }
            ask(.command(.unfreeze(ShardEpoch(shard: shard, epoch: epoch))), .upkeep, now)
        }
        // Looked at again, so that what was frozen meanwhile is seen.
        if !isAsked(.upkeep) {
            self.records = nil
            recordsAt = now + Self.restAfterFailure
        }
    }

    /// Two groups must not answer for one shard. The frozen copy stays, for an operator to look at.
    private mutating func freezeOverruled(
        _ map: ShardMap, _ records: [ShardID: ShardRecord], _ now: Milliseconds
    ) {
        for (shard, record) in records.sorted(by: { $0.key < $1.key }) {
            guard let row = map.row(shard), record.isOverruled(by: row.gid, epoch: row.epoch, own: own) else {
                continue
            }
            let epoch = ShardEpoch(shard: shard, epoch: row.epoch)
            effects.notes.append(.overruled(epoch, by: row.gid))
            ask(.command(.freeze(epoch, to: row.gid)), .upkeep, now)
        }
    }

    /// Clients find the group by the map: after a change of members the map must follow.
    private mutating func reportGroup(_ known: ShardMap.Group, _ now: Milliseconds) {
        guard now >= reportAt, !isAsked(.group) else { return }
        let (membership, identity) = (standing.membership, standing.identity)
        let isNew = known.identity != identity && !identity.isEmpty
        guard isNew || (membership.index > 0 && reported < membership.index) else { return }
        let addresses = membership.members.map(\.address)
        guard isNew || known.addresses != addresses else {
            reported = membership.index
            return
        }
        ask(
            .reportGroup(addresses: addresses, membershipIndex: membership.index, identity: identity), .group, now)
    }

    private mutating func groupReported(_ answer: MoveAnswer, to question: MoveQuestion, _ now: Milliseconds) {
        guard case .reportGroup(let addresses, let index, _) = question else { return }
        if answer == .done {
            effects.notes.append(.mapNames(addresses))
            reported = index
            // The map that says so is on its way.
            reportAt = now + Self.mapRest
            return
        }
        effects.notes.append(.addressesRefused(answer.failure))
        // Not again at once; a later membership, or a later leader, tries anew.
        if answer.failure.isForGood { reported = index }
        reportAt = now + Self.reportRest
    }

    // MARK: - Moves

    private mutating func beginMoves(_ map: ShardMap, _ now: Milliseconds) {
        resting = resting.filter { $0.value > now }
        for (number, move) in homeward {
            let shard = ShardEpoch(shard: number, epoch: move.epoch)
            guard resting[shard] == nil, moves[shard] == nil, let source = source(of: move, map),
                moves.values.count(where: { $0.move.from == move.from }) < Self.movesAtOnce
            else { continue }
            let begun = ShardMove(
                shard, from: source, shardCount: map.shardCount, isEnding: move.phase.isEnding, limits: limits,
                plant: plant)
            lastID += 1
            moves[shard] = (begun, lastID)
            ask(begun.first, .move(shard, lastID), now)
        }
    }

    /// Moves that end without arriving (docs/adr/0028-a-move-ends-where-it-is-decided.md). What this group is to bring home
    /// its log rejects, on a try of its own. What it is to hand over it keeps by its own word, as long as it isn't frozen.
    private mutating func endMoves(_ map: ShardMap, _ now: Milliseconds) {
        for (number, move) in homeward where move.phase.isEnding {
            let shard = ShardEpoch(shard: number, epoch: move.epoch)
            guard let running = moves[shard], !running.move.isEnding else { continue }
            // What a source that was given up had may be here: then it is not for us to reject it.
            if move.from == .none, running.move.knowsFrozen { continue }
            moves[shard] = nil
            resting[shard] = nil
        }
        guard let records, !isAsked(.upkeep) else { return }
        for command in endings(map, records).prefix(Self.adoptionsAtOnce) { ask(.command(command), .upkeep, now) }
        guard !isAsked(.upkeep), !isAsked(.endings), now >= endingsAt || endedMap != map.number else { return }
        endedMap = map.number
        var isWaiting = false
        for (number, move) in ending {
            let shard = ShardEpoch(shard: number, epoch: move.epoch)
            guard let record = records[number], record.state == .serving, record.rejectedEpoch >= move.epoch else {
                isWaiting = true
                continue
            }
            ask(.report(shard, move.phase == .aborting ? .rejected : .collected), .endings, now)
        }
        guard isWaiting else { return }
        // Its target has the last word, and may have said it to this log, and to nobody else.
        endingsAt = now + Self.reportRest
        self.records = nil
        recordsAt = endingsAt
    }

    /// What the log must say of moves that the map ends or has ended.
    private mutating func endings(_ map: ShardMap, _ records: [ShardID: ShardRecord]) -> [GroupCommand] {
        var commands: [GroupCommand] = []
        for (number, move) in ending {
            let shard = ShardEpoch(shard: number, epoch: move.epoch)
            switch records[number]?.state {
            case .serving where records[number]?.rejectedEpoch ?? 0 < move.epoch: commands.append(.abandon(shard))
            case .frozen where plant == .abandonsFrozen: commands.append(.abandon(shard))
            // The controller has heard of the target's word.
            case .frozen(_, shard.epoch) where move.phase == .rejected: commands.append(.unfreeze(shard))
            default: break
            }
        }
        for (number, record) in records.sorted(by: { $0.key < $1.key }) {
            guard let row = map.row(number), row.gid == own else { continue }
            let shard = ShardEpoch(shard: number, epoch: row.epoch)
            switch record.state {
            // Also if the next move has begun: it can't be prepared before.
            case .frozen(_, let epoch) where epoch < row.epoch: commands.append(.thaw(shard))
            case _ where row.move != nil: break
            // So that a try of the overruled target that comes late finds the epoch used up.
            case .serving where max(record.epoch, record.rejectedEpoch) < row.epoch: commands.append(.thaw(shard))
            case .gone where record.epoch < row.epoch && gone.insert(shard).inserted:
                effects.notes.append(.goneFromHere(shard))
            default: break
            }
        }
        // Whatever is staged for them goes once the log has rejected them, on every member.
        for shard in undecided.sorted(by: { ($0.shard, $0.epoch) < ($1.shard, $1.epoch) }) {
            guard let row = map.row(shard.shard), max(row.epoch, row.move?.epoch ?? 0) >= shard.epoch else { continue }
            if row.move?.epoch == shard.epoch, row.move?.to == own { continue }
            undecided.remove(shard)
            if row.gid != own || row.epoch != shard.epoch { commands.append(.reject(shard)) }
        }
        return commands
    }

    /// Where the shard comes from; nobody, if what that group had was given up. `nil`: the map doesn't know the group.
    private func source(of move: ShardMap.Move, _ map: ShardMap) -> SourceGroup? {
        guard move.from != .none else {
            return SourceGroup(party: Party(clusterID: clusterID, gid: .none, identity: []), addresses: [])
        }
        return map.groups[move.from].map { source(move.from, $0) }
    }

    private mutating func wakeMoves(_ now: Milliseconds) {
        let due = moves.filter { $0.value.move.wakeAt(standing.membership).map { $0 <= now } ?? false }.keys
        for shard in due.sorted(by: { ($0.shard, $0.epoch) < ($1.shard, $1.epoch) }) {
            guard var running = moves[shard] else { continue }
            let step = running.move.woken(standing.membership, now: now)
            moves[shard] = running
            take(step, of: shard, now)
        }
    }

    private func source(_ gid: GroupID, _ group: ShardMap.Group) -> SourceGroup {
        SourceGroup(
            party: Party(clusterID: clusterID, gid: gid, identity: group.identity), addresses: group.addresses)
    }

    private mutating func take(_ step: ShardMove.Step, of shard: ShardEpoch, _ now: Milliseconds) {
        guard let (move, attempt) = moves[shard] else { return }
        switch step {
        case .wait: break
        case .ask(let questions):
            if let note = move.note { effects.notes.append(note) }
            for question in questions { ask(question, .move(shard, attempt), now) }
        case .done(let hashes):
            if let hashes { effects.notes.append(.arrived(shard, hashes)) }
            moves[shard] = nil
            // The map that no longer has it is on its way.
            resting[shard] = now + Self.restAfterFailure
        case .failed(let failure):
            effects.notes.append(.waits(shard, from: move.from, failure))
            moves[shard] = nil
            // Its place goes to another one meanwhile.
            resting[shard] = now + Self.restAfterFailure
        }
    }

    // MARK: - A replica that lacks a shard

    private mutating func bringMissing(_ now: Milliseconds) {
        guard missing == nil, now >= missingAt, let name = standing.waitsFor,
            let shard = StagedShard.shard(ofName: name)
        else { return }
        var from: SourceGroup?
        if let map, let move = map.row(shard.shard)?.move, move.epoch == shard.epoch,
            let group = map.groups[move.from]
        {
            from = source(move.from, group)
        }
        missingTried = name
        var begun = MissingShard(shard, from: from, standing)
        let step = begun.begin()
        missing = begun
        take(step, now)
    }

    private mutating func take(_ step: MissingShard.Step, _ now: Milliseconds) {
        switch step {
        case .ask(let question, let note):
            if let note { effects.notes.append(note) }
            ask(question, .missing, now)
        case .over(let note):
            if let note { effects.notes.append(note) }
            missing = nil
            // A snapshot that doesn't reach beyond the entry comes to nothing: not again at once.
            missingAt = now + Self.restAfterFailure
        }
    }

    // MARK: - Questions and time

    private mutating func ask(_ question: MoveQuestion, _ owner: Owner, _ now: Milliseconds) {
        lastID += 1
        asked[lastID] = (question, owner, now + question.patience)
        effects.asks.append(Ask(id: lastID, question: question))
    }

    private func isAsked(_ owner: Owner) -> Bool { asked.values.contains { $0.owner == owner } }

    private mutating func setAlarm(_ now: Milliseconds) {
        var next = min(sweepAt, sessionsAt)
        // What is due by now has been seen to, or waits for an input.
        func at(_ time: Milliseconds) { if time > now { next = min(next, time) } }
        for asked in asked.values { at(asked.until) }
        at(mapAt)
        at(missingAt)
        if standing.leads {
            at(recordsAt)
            at(reportAt)
            if !ending.isEmpty { at(endingsAt) }
            for time in resting.values { at(time) }
            for running in moves.values { if let time = running.move.wakeAt(standing.membership) { at(time) } }
        }
        alarm = next
        invariant(alarm > now, "the alarm of group \(own) rings in the past: \(alarm), and it is \(now)")
    }
}
