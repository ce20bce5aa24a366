import Engines
import Keyspace
import RaftLog
import Sharding

/// Groups that move shards among themselves: the drivers, desks and machines of production over disks in memory, one
/// seed for everything that happens. A group's log is agreed on by itself here; who leads, who has applied how much, who
/// is restarted, and which questions and answers are lost, is drawn.
final class MoveWorld {
    static let shardCount = 8
    static let clusterID: [UInt8] = [1, 2]

    final class Replica {
        let id: ReplicaID
        let gid: GroupID
        let engine = MemoryEngine()
        let families: FamilyTable
        let layout: GroupLayout
        var storage: GroupStorage<GroupMachine>
        /// Goes up with each start of the process: what an earlier one has begun comes to nothing.
        var life = 0
        var serial: UInt64 = 0
        var waitsFor: String?
        var driver: MoveDriver
        var source = SourceDesk()
        var target = TargetDesk()
        var alarm: Milliseconds?

        init(_ gid: GroupID, _ id: UInt64, _ membership: Membership) throws {
            self.gid = gid
            self.id = ReplicaID(id)
            families = try FamilyTable(engine: engine)
            layout = try families.layout(of: gid.rawValue)
            var batch = WriteBatch()
            BootstrapRecord(clusterID: MoveWorld.clusterID, gid: gid.rawValue, membership: membership).write(
                to: layout, in: &batch)
            try engine.write(batch, durability: .synced)
            storage = try GroupStorage.open(layout, machine: GroupMachine(), in: engine.snapshot()).storage
            driver = MoveDriver(
                group: gid, clusterID: MoveWorld.clusterID, MoveDriver.Standing(id: self.id), now: 0)
        }

        func restart(now: Milliseconds) throws {
            life += 1
            engine.crash(keepingUnsynced: 0)
            storage = try GroupStorage.open(layout, machine: GroupMachine(), in: engine.snapshot()).storage
            waitsFor = nil
            driver = MoveDriver(group: gid, clusterID: MoveWorld.clusterID, MoveDriver.Standing(id: id), now: now)
            (source, target, alarm) = (SourceDesk(), TargetDesk(), nil)
        }

        var reader: GroupReader { get throws { GroupReader(layout, in: try engine.snapshot()) } }
        var applied: LogIndex { storage.applied.position.index }

        /// The reply; `nil`: it lacks what the entry maps.
        func apply(_ entry: Entry) throws -> GroupReply? {
            serial += 1
            var request = WriteRequest(serial: serial)
            request.entries = [entry]
            request.commands = [WriteRequest.Command(entry: entry, token: entry.index)]
            var batch = StorageBatch(view: try engine.snapshot()) {
                [families] () throws(EngineError) in try families.take()
            }
            let outcome = try storage.execute(request, in: &batch)
            try engine.write(batch.batch, durability: .synced)
            for family in batch.unmapped { try engine.dropFamily(family) }
            waitsFor = outcome.completion.waitsFor
            return outcome.replies.first?.reply
        }

        func stage(_ shard: ShardEpoch, _ rows: [(key: [UInt8], value: [UInt8])], through: LogIndex) throws {
            var batch = WriteBatch()
            let copy = StagedShard(hashes: MoveWorld.hashes(rows), sessions: 0, through: through)
            var staged = StagedFamily(family: nil, note: copy.encoded)
            if !rows.isEmpty {
                let family = try families.take()
                for row in rows { batch.put(family, key: row.key, value: row.value) }
                staged.family = family
            }
            layout.putStaged(StagedShard.name(shard), staged, in: &batch)
            try engine.write(batch, durability: .synced)
        }
    }

    final class Group {
        let gid: GroupID
        let membership: Membership
        var replicas: [Replica] = []
        var log: [Entry] = []
        var leader: Replica?
        var term: Term = 1

        init(_ gid: GroupID, members: Int) throws {
            self.gid = gid
            membership = Membership(
                members: (1...UInt64(members)).map {
                    Member(
                        id: ReplicaID($0), address: "\(gid)/\($0)",
                        incarnation: Incarnation(high: gid.rawValue, low: $0), standing: .voter)
                })
            for member in membership.members {
                replicas.append(try Replica(gid, member.id.rawValue, membership))
            }
        }

        /// The replica that has applied most: what the group is.
        var front: Replica { replicas.max { $0.applied < $1.applied } ?? replicas[0] }
    }

    enum Broken: Error { case rule(String) }

    var random: SplitMix64
    private(set) var now: Milliseconds = 1_000
    /// Questions and answers are lost, leaders change, processes end.
    var isFaulty = false
    let controller: MachineBench<ControllerMachine>
    var groups: [GroupID: Group] = [:]
    var notes: [String] = []
    /// Groups that nobody will ever hear of again.
    var lost: Set<GroupID> = []
    private var queue: [(due: Milliseconds, serial: Int, body: () throws -> Void)] = []
    private var serial = 0
    private var parked: [(newerThan: UInt64?, answer: (MoveAnswer) throws -> Void)] = []
    private(set) var activations = 0
    private(set) var rejections = 0

    init(seed: UInt64, groups count: Int = 3, members: Int = 3) throws {
        random = SplitMix64(seed: seed)
        controller = try MachineBench<ControllerMachine>.controller(shards: Self.shardCount)
        for gid in 1...UInt64(count) { groups[GroupID(gid)] = try Group(GroupID(gid), members: members) }
        try controller.run(.join(groups.mapValues { $0.membership.members.map(\.address) }))
        for group in inOrder {
            elect(group)
            for replica in group.replicas { try pump(replica) }
        }
    }

    var inOrder: [Group] { groups.values.sorted { $0.gid < $1.gid } }

    func chance(_ one: UInt64, in many: UInt64) -> Bool { random.next() % many < one }
    func delay(_ most: UInt64) -> Milliseconds { 1 + random.next() % most }

    func after(_ delay: Milliseconds, _ body: @escaping () throws -> Void) {
        serial += 1
        queue.append((now + delay, serial, body))
    }

    /// Runs until it holds; false: it didn't within so many milliseconds.
    func run(for most: Milliseconds, until isReached: () throws -> Bool) throws -> Bool {
        let end = now + most
        for _ in 0..<400_000 {
            if try isReached() { return true }
            guard
                let next = queue.indices.min(by: {
                    (queue[$0].due, queue[$0].serial) < (queue[$1].due, queue[$1].serial)
                }), queue[next].due <= end
            else { return false }
            let event = queue.remove(at: next)
            now = max(now, event.due)
            try event.body()
            try check()
        }
        return false
    }

    /// At most one group serves a shard.
    private func check() throws {
        var owners: [ShardID: GroupID] = [:]
        for group in inOrder where !lost.contains(group.gid) {
            for (shard, record) in group.front.storage.machine.shards where record.state == .serving {
                if let other = owners[shard] { throw Broken.rule("\(other) and \(group.gid) serve shard \(shard)") }
                owners[shard] = group.gid
            }
        }
    }

    // MARK: - Faults

    func elect(_ group: Group) {
        guard group.leader == nil, !lost.contains(group.gid) else { return }
        let able = group.replicas.filter { $0.waitsFor == nil }
        guard !able.isEmpty else { return after(200) { self.elect(group) } }
        let leader = able[Int(random.next() % UInt64(able.count))]
        group.term += 1
        group.leader = leader
        after(0) {
            try self.catchUp(leader, group)
            for replica in group.replicas { try self.pump(replica) }
        }
    }

    func depose(_ group: Group) {
        group.leader = nil
        after(delay(300)) { self.elect(group) }
        after(0) { for replica in group.replicas { try self.pump(replica) } }
    }

    /// All of its processes end, for good.
    func lose(_ group: Group) throws {
        lost.insert(group.gid)
        group.leader = nil
        for replica in group.replicas { try replica.restart(now: now) }
    }

    func restart(_ replica: Replica, _ group: Group) throws {
        if group.leader === replica { depose(group) }
        try replica.restart(now: now)
        try catchUp(replica, group)
        try pump(replica)
    }

    /// Applies what is committed; a leader that lacks something leads no more.
    func catchUp(_ replica: Replica, _ group: Group) throws {
        let before = replica.waitsFor
        while let entry = group.log.first(where: { $0.index == replica.applied + 1 }) {
            let applied = replica.applied
            _ = try replica.apply(entry)
            if replica.applied == applied { break }
        }
        if replica.waitsFor != nil, group.leader === replica { depose(group) }
        if replica.waitsFor != before { after(0) { try self.pump(replica) } }
    }

    // MARK: - A driver

    private func standing(_ replica: Replica, _ group: Group) -> MoveDriver.Standing {
        MoveDriver.Standing(
            id: replica.id, leads: group.leader === replica, term: group.term, leader: group.leader?.id,
            membership: group.membership, waitsFor: replica.waitsFor, identity: [UInt8(group.gid.rawValue)])
    }

    /// As the shell does after each input.
    func pump(_ replica: Replica, _ answer: MoveAnswer? = nil, to id: UInt64 = 0) throws {
        guard let group = groups[replica.gid], !lost.contains(group.gid) else { return }
        replica.driver.observe(standing(replica, group))
        if let answer { replica.driver.heard(answer, to: id, now: now) }
        let effects = replica.driver.effects(now: now)
        notes += effects.notes.map { "\(now) \(replica.gid)/\(replica.id): \($0)" }
        for ask in effects.asks { send(ask, from: replica, of: group) }
        let (alarm, life) = (replica.driver.wakeAt, replica.life)
        guard alarm > now else { throw Broken.rule("an alarm in the past") }
        guard replica.alarm != alarm else { return }
        replica.alarm = alarm
        after(alarm - now) {
            guard replica.life == life, replica.alarm == alarm else { return }
            replica.alarm = nil
            try self.pump(replica)
        }
    }

    private func send(_ ask: MoveDriver.Ask, from replica: Replica, of group: Group) {
        let life = replica.life
        var fate = isFaulty ? random.next() % 16 : 15
        switch ask.question {
        // A transfer ends when its sender falls silent: this is never lost without a word. Nor is what a process does by
        // itself.
        case .fetch, .snapshot, .sweep: if fate < 2 { fate = 2 }
        default: if fate == 0 { return }
        }
        let answer: (MoveAnswer) throws -> Void = { answer in
            if fate == 1 { return }
            self.after(self.delay(20)) {
                guard replica.life == life else { return }
                try self.pump(replica, answer, to: ask.id)
            }
        }
        after(delay(20)) {
            if fate == 2 { return try answer(.failed(.init("unlucky"))) }
            guard replica.life == life else { return }
            try self.carryOut(ask.question, for: replica, of: group, answer)
        }
    }

    private func carryOut(
        _ question: MoveQuestion, for replica: Replica, of group: Group,
        _ answer: @escaping (MoveAnswer) throws -> Void
    ) throws {
        let unled = MoveAnswer.failed(.init("the node doesn't lead"))
        switch question {
        case .map(let number):
            if number.map({ controller.map.number > $0 }) ?? true { return try answer(.map(controller.map)) }
            let (life, map) = (replica.life, controller.map)
            parked.append((number, answer))
            // The controller answers after a while, whether there is news or not.
            after(5_000) { if replica.life == life { try answer(.map(map)) } }
        case .records:
            guard group.leader === replica else { return try answer(unled) }
            try catchUp(replica, group)
            try answer(.records(try replica.reader.records()))
        case .decision(let shard):
            guard group.leader === replica else { return try answer(unled) }
            try catchUp(replica, group)
            try answer(.decision(try replica.reader.decision(shard)))
        case .command(let command):
            switch try propose(command, replica, group) {
            case .stepped?: try answer(.done)
            case .outOfStep(let why)?: try answer(.failed(.init(why, isForGood: true)))
            default: try answer(unled)
            }
        case .leader(let addresses):
            let theirs = groups.values.first { $0.membership.members.first?.address == addresses.first }
            try answer(.leader(theirs?.leader.flatMap { theirs?.membership[$0.id]?.address }))
        case .prepare(let shard, let source, let pace):
            try answer(try ask(source.party.gid, .prepare(shard, for: group.gid, pace)))
        case .freeze(let shard, let source):
            try answer(try ask(source.party.gid, .freeze(shard, for: group.gid)))
        case .collect(let shard, let decision, let source):
            try answer(try ask(source.party.gid, .collect(shard, decision)))
        case .stage(let order, let member):
            guard let other = group.replicas.first(where: { $0.id == member.id }) else { return }
            try stage(order, at: other, group, answer)
        case .fetch(let order): try stage(order, at: replica, group, answer)
        case .report(let shard, let event):
            try change(.report(shard: shard.shard, epoch: shard.epoch, event: event))
            try answer(.done)
        case .reportGroup(let addresses, let index, let identity):
            try change(.relocate(group.gid, addresses, membershipIndex: index, identity: identity))
            try answer(.done)
        case .snapshot(let id, _, _):
            guard let other = group.replicas.first(where: { $0.id == id }), other.waitsFor == nil,
                other.applied > replica.applied
            else { return try answer(.failed(.init("it has nothing newer"))) }
            // Nobody writes while shards move, so that what is mapped there now is what was staged once.
            let upTo = other.applied
            while let name = replica.waitsFor, replica.applied < upTo, let shard = StagedShard.shard(ofName: name) {
                let rows = contents[shard.shard] ?? []
                try replica.stage(shard, rows, through: 0)
                try catchUp(replica, group)
            }
            try answer(.done)
        case .sessions: try answer(.sessionIsDue(false))
        case .sweep:
            for shard in replica.target.removable(try replica.reader.staleStagedShards()) {
                var batch = WriteBatch()
                replica.layout.deleteStaged(StagedShard.name(shard), in: &batch)
                try replica.engine.write(batch, durability: .synced)
            }
            try answer(.undecided(try replica.reader.undecided()))
        }
    }

    // MARK: - The own log, the source, the members, the controller

    func propose(_ command: GroupCommand, _ replica: Replica, _ group: Group) throws -> GroupReply? {
        guard group.leader === replica else { return nil }
        try catchUp(replica, group)
        guard group.leader === replica else { return nil }
        try judge(command, group)
        let entry = Entry(
            index: replica.applied + 1, term: group.term, kind: .command, stamp: now, payload: command.encoded)
        group.log.append(entry)
        let applied = replica.applied
        let reply = try replica.apply(entry)
        for other in group.replicas where other !== replica {
            after(delay(isFaulty ? 1_500 : 40)) { try self.catchUp(other, group) }
        }
        guard replica.applied > applied else {
            depose(group)
            return nil
        }
        if case .activate = command, reply == .stepped { activations += 1 }
        switch command {
        case .reject where reply == .stepped, .abandon where reply == .stepped: rejections += 1
        default: break
        }
        return reply
    }

    /// What must hold whenever a command is proposed.
    private func judge(_ command: GroupCommand, _ group: Group) throws {
        switch command {
        case .activate(let shard, let activation):
            let have = try group.replicas.count { replica in
                try replica.reader.staged(shard)?.hashes == activation.hashes || replica.reader.decision(shard) != nil
            }
            guard have >= group.membership.quorum else {
                throw Broken.rule("\(shard) is to be activated, and \(have) members of \(group.gid) have it")
            }
        case .collect(let shard):
            let have = try groups.values.map { other in
                try other.replicas.count { try $0.reader.decision(shard) != nil }
            }.max()
            guard let have, have >= group.membership.quorum else {
                throw Broken.rule("\(shard) is to be collected, and \(have ?? 0) members have applied its activation")
            }
        default: break
        }
    }

    private func ask(_ gid: GroupID, _ question: SourceQuestion) throws -> MoveAnswer {
        guard let group = groups[gid], let leader = group.leader else { return .failed(.init("no leader")) }
        var call = SourceCall(question)
        var step = call.begin()
        while true {
            let finding: SourceCall.Finding
            switch step {
            case .prepared(let prepared): return .prepared(prepared, by: group.membership[leader.id]?.address)
            case .frozen(let frozen): return .frozen(frozen, by: group.membership[leader.id]?.address)
            case .done: return .done
            case .refused(let error, let alarm):
                if let alarm { throw Broken.rule(alarm) }
                return .failed(.init(error.message))
            case .propose(let command):
                switch try propose(command, leader, group) {
                case .stepped?: finding = .stepped
                case .outOfStep(let why)?: finding = .outOfStep(why)
                default: return .failed(.init("the node doesn't lead"))
                }
            case .look(let shard): finding = .looked(try SourceCall.Sight(shard, in: leader.reader))
            case .scan(let shard):
                finding = .looked(
                    try SourceCall.Sight(shard.shard, scannedUnder: shard.epoch, in: leader.reader))
            }
            step = call.heard(finding, &leader.source, now: now)
            if isFaulty, chance(1, in: 20), group.leader === leader { depose(group) }
        }
    }

    private func stage(
        _ order: StageOrder, at member: Replica, _ group: Group, _ answer: @escaping (MoveAnswer) throws -> Void
    ) throws {
        try stage(StageCall(order), at: member, group, answer)
    }

    private func stage(
        _ begun: StageCall, at member: Replica, _ group: Group, _ answer: @escaping (MoveAnswer) throws -> Void
    ) throws {
        var call = begun
        let order = call.order
        while true {
            let known: StageCall.Known
            switch try member.reader.decision(order.shard) {
            case .activated: known = .activated
            case .rejected: known = .rejected
            case nil: known = try member.reader.staged(order.shard).map { .staged($0) } ?? .absent
            }
            switch call.heard(known, &member.target) {
            case .look: continue
            case .activated:
                call.end(&member.target)
                return try answer(.staged(isActivated: true))
            case .staged:
                call.end(&member.target)
                try catchUp(member, group)
                return try answer(.staged(isActivated: false))
            case .refused(let error):
                call.end(&member.target)
                return try answer(.failed(.init(error.message, isBusy: error.code == .busy)))
            case .fetch:
                let life = member.life
                return after(delay(isFaulty ? 2_000 : 100)) {
                    guard member.life == life else { return try answer(.failed(.init("the connection broke"))) }
                    if let failure = try self.fetch(call, member) {
                        call.end(&member.target)
                        return try answer(failure)
                    }
                    try self.stage(call, at: member, group, answer)
                }
            case .follow(let index):
                // Nothing changes here: a page says how far it is.
                let pages = try (groups[order.source.gid]?.replicas ?? []).compactMap {
                    try $0.reader.changes(of: order.shard, after: index, bytesMax: 1)
                }
                guard
                    let page = pages.max(by: { ($0.isFrozen ? 1 : 0, $0.through) < ($1.isFrozen ? 1 : 0, $1.through) }),
                    case .take(_, let copy) = call.changed(page)
                else {
                    call.end(&member.target)
                    return try answer(.failed(.init("nobody has more")))
                }
                let rows = try rows(of: order.shard, at: member)
                guard Self.hashes(rows) == copy.hashes else { throw Broken.rule("a copy isn't what is noted of it") }
                try member.stage(order.shard, rows, through: call.noted(copy, with: page).through)
            case .take: throw Broken.rule("a page was taken in before it came")
            case .discard(let error): throw Broken.rule(error.message)
            }
        }
    }

    /// What is staged.
    private func rows(of shard: ShardEpoch, at member: Replica) throws -> [(key: [UInt8], value: [UInt8])] {
        let view = try member.engine.snapshot()
        var rows: [(key: [UInt8], value: [UInt8])] = []
        guard let family = try member.layout.staged(StagedShard.name(shard), in: view)?.family else { return rows }
        try view.scan(family) { key, value in
            rows.append((Array(key), Array(value)))
            return true
        }
        return rows
    }

    /// What has gone wrong, if anything.
    private func fetch(_ call: StageCall, _ member: Replica) throws -> MoveAnswer? {
        let (order, gid) = (call.order, call.order.source.gid)
        for replica in groups[gid]?.replicas ?? [] {
            guard let moving = try replica.reader.moving(order.shard) else { continue }
            var rows: [(key: [UInt8], value: [UInt8])] = []
            if case .family(let family) = moving.rows {
                try replica.engine.snapshot().scan(family) { key, value in
                    rows.append((Array(key), Array(value)))
                    return true
                }
            }
            try member.stage(order.shard, rows, through: moving.through)
            return nil
        }
        return .failed(.init("group \(gid) has it no more"))
    }

    static func hashes(_ rows: [(key: [UInt8], value: [UInt8])]) -> ShardHashes {
        var hashes = ShardHashes()
        for row in rows {
            row.key.withUnsafeBytes { key in
                row.value.withUnsafeBytes { ShardRows.add(key: key, value: $0, to: &hashes) }
            }
        }
        return hashes
    }

    func change(_ command: ControllerCommand) throws {
        let before = controller.map.number
        try controller.run(command)
        guard controller.map.number != before else { return }
        let waiting = parked
        parked = []
        for poll in waiting { try poll.answer(.map(controller.map)) }
    }

    // MARK: - Contents

    /// The rows of every shard, which don't change any more.
    private(set) var contents: [ShardID: [(key: [UInt8], value: [UInt8])]] = [:]

    /// Writes so many keys, through the logs of their owners.
    func fill(_ count: Int) throws {
        for number in 0..<count {
            let key = bytes("key \(number)")
            let shard = Slot.shard(of: key, shardCount: Self.shardCount)
            guard let group = groups[controller.map[shard].gid], let leader = group.leader else { continue }
            _ = try propose(.write(key: key, .put(value: bytes("value \(number)")), nil), leader, group)
            contents[shard, default: []].append(
                (ShardRows.userKey(key), [0] + bytes("value \(number)")))
        }
    }
}
