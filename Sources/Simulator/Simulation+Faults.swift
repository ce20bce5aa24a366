internal import Bytes
internal import Engines
internal import RaftLog

/// What goes wrong, and what clients and the operator do meanwhile.
extension Simulation {
    mutating func fault() throws {
        guard !isHealed else { return }
        queue.schedule(.fault, at: now + UInt64.random(in: 100...900, using: &random))
        let node = Int.random(in: nodes.indices, using: &random)
        switch Int.random(in: 0..<13, using: &random) {
        case 0, 1: try crash(node, powerFails: true)
        case 2: try crash(node, powerFails: false)
        case 3:
            let pause = UInt64.random(in: 50...1_500, using: &random)
            note(node, "pause \(pause) ms")
            nodes[node].pausedUntil = now + pause
        case 4:
            for other in nodes.indices where other != node { sever(node, other, bothWays: true) }
            note(node, "isolate")
        case 5:
            let other = Int.random(in: nodes.indices, using: &random)
            if other != node { sever(node, other, bothWays: chance(50)) }
            note(node, "cut towards n\(nodes[other].id)")
        case 6, 7:
            cut = []
            note(nil, "network whole again")
        case 8:
            lossPercent = [0, 2, 10, 30][Int.random(in: 0..<4, using: &random)]
            repeatPercent = [0, 5, 30][Int.random(in: 0..<3, using: &random)]
            delayMax = [2, 10, 60][Int.random(in: 0..<3, using: &random)]
            note(nil, "network loses \(lossPercent) %, repeats \(repeatPercent) %, delays up to \(delayMax) ms")
        case 9:
            diskDelayMax = [1, 5, 80][Int.random(in: 0..<3, using: &random)]
            note(nil, "disks take up to \(diskDelayMax) ms")
        case 10:
            let target = ReplicaID(UInt64(Int.random(in: nodes.indices, using: &random)))
            if nodes[node].process?.driver.transferLeadership(to: target) == true {
                note(node, "hand leadership to n\(target)")
                try settle(node)
            }
        case 11: try wipe(node)
        default: moveClock(node)
        }
    }

    /// One clock at a time is wrong: by hours, by a year, or back by an hour.
    private mutating func moveClock(_ node: Int) {
        let offset: Int64 = [0, 2 * 3_600_000, 365 * 86_400_000, -3_600_000][Int.random(in: 0..<4, using: &random)]
        for other in nodes.indices { nodes[other].clockOffset = 0 }
        nodes[node].clockOffset = offset
        note(node, "clock is off by \(offset) ms")
    }

    private mutating func sever(_ node: Int, _ other: Int, bothWays: Bool) {
        cut.insert(Link(from: nodes[node].id, to: nodes[other].id))
        if bothWays { cut.insert(Link(from: nodes[other].id, to: nodes[node].id)) }
    }

    /// The process dies. The write that the disk was at may have happened or not. If power fails, a prefix of what was
    /// not synced survives; otherwise the next process sees all of it, and none of it is synced by that.
    mutating func crash(_ node: Int, powerFails: Bool) throws {
        guard nodes[node].process != nil else { return }
        report.crashes += 1
        if nodes[node].process?.isWriting == true, chance(50) {
            try write(node, reportCompletion: false, inCacheOnly: !powerFails && chance(50))
        }
        let unsynced = nodes[node].engine.unsyncedCount
        if powerFails {
            let kept = Int.random(in: 0...unsynced, using: &random)
            note(node, "power cut, \(kept) of \(unsynced) unsynced batches survive")
            nodes[node].engine.crash(keepingUnsynced: kept)
        } else {
            note(node, "kill, \(unsynced) unsynced batches are in the cache")
        }
        nodes[node].process = nil
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...2_000, using: &random))
    }

    /// The disk is lost. One at a time, and only from a group that is whole otherwise: losing a majority of
    /// disks loses data in any system.
    private mutating func wipe(_ node: Int) throws {
        guard knowledge.wiped == nil, options.plant == .wipedDiskVotes || chance(40) else { return }
        guard let leader = currentLeader, let membership = nodes[leader].process?.driver.core.membership,
            membership.voters.count >= 3, membership.voters.count == membership.members.count,
            membership.isVoter(nodes[node].id), !isChangeUnderWay
        else { return }
        report.wipes += 1
        note(node, "lose the disk")
        nodes[node].process = nil
        nodes[node].engine = MemoryEngine()
        if options.plant == .wipedDiskVotes {
            let families = try FamilyTable(engine: nodes[node].engine)
            let record = BootstrapRecord(
                clusterID: [1], gid: layoutGroup, membership: knowledge.firstMembership ?? membership)
            var batch = WriteBatch()
            record.write(to: try families.layout(of: layoutGroup), in: &batch)
            try nodes[node].engine.write(batch, durability: .synced)
        } else {
            nodes[node].incarnation = Incarnation(high: random.next(), low: random.next())
            knowledge.wiped = node
        }
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...500, using: &random))
    }

    /// Some change of members may still come to be committed. (A node that is down may hold one.)
    private var isChangeUnderWay: Bool {
        nodes.contains { $0.life > 0 && $0.process?.driver.core.unappliedMemberships.isEmpty != true }
    }

    var currentLeader: Int? {
        nodes.indices.filter { nodes[$0].process?.driver.core.isLeader == true && nodes[$0].pausedUntil <= now }
            .max { nodes[$0].process?.driver.core.term ?? 0 < nodes[$1].process?.driver.core.term ?? 0 }
    }

    /// The operator replaces the node that lost its disk, as the log of that node says, and adds and removes others.
    mutating func operate() throws {
        queue.schedule(.operator, at: now + (isHealed ? 150 : UInt64.random(in: 50...operatorPace, using: &random)))
        guard let leader = currentLeader, let membership = nodes[leader].process?.driver.core.membership else { return }
        guard let wiped = knowledge.wiped else { return try changeMembers(leader, membership) }
        let member = membership[nodes[wiped].id]
        if member?.incarnation == nodes[wiped].incarnation {
            if member?.standing == .voter { knowledge.wiped = nil }
            return
        }
        let change = MembershipChange.replace(
            nodes[wiped].id, address: "n\(nodes[wiped].id)", incarnation: nodes[wiped].incarnation)
        if case .success(let position)? = nodes[leader].process?.driver.propose(change) {
            note(leader, "replace n\(nodes[wiped].id) at \(position)")
            try settle(leader)
        }
    }

    /// Between two and all nodes are members. One that comes back after it was removed has its old disk.
    private mutating func changeMembers(_ leader: Int, _ membership: Membership) throws {
        guard changesMembers, !isHealed else { return }
        let node = Int.random(in: nodes.indices, using: &random)
        let id = nodes[node].id
        let change: MembershipChange
        if membership[id] != nil {
            guard membership.voters.count > 2 || !membership.isVoter(id), chance(60) else { return }
            change = .remove(id)
        } else {
            if nodes[node].life == 0 { try start(node) }
            change = .add(id, address: "n\(id)", incarnation: nodes[node].incarnation)
        }
        if case .success(let position)? = nodes[leader].process?.driver.propose(change) {
            report.changes += 1
            note(leader, "\(membership[id] == nil ? "add" : "remove") n\(id) at \(position)")
            try settle(leader)
        }
    }

    mutating func client() throws {
        if now < options.faultyTime + options.healingTime * 3 / 4 {
            queue.schedule(.client, at: now + UInt64.random(in: 5...120, using: &random))
        }
        // Clients ask whoever they believe to lead; often that is somebody who no longer does.
        let believers = nodes.indices.filter { nodes[$0].process?.driver.core.isLeader == true }
        guard let node = believers.randomElement(using: &random) else { return }
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            if chance(30) {
                let token = takeNumber()
                knowledge.reads[token] = knowledge.acknowledgedIndex
                if nodes[node].process?.driver.read(token: token) != true { knowledge.reads[token] = nil }
                if options.plant == .unconfirmedReads, knowledge.reads[token] != nil {
                    try readIsReady(node, token)
                }
            } else {
                let number = takeNumber()
                let payload = chance(4) ? try stage(number, node) : bigEndianBytes(number)
                if case .success? = nodes[node].process?.driver.propose(payload, token: number, now: now) {
                    knowledge.proposals[number] = number
                }
            }
        }
        // A paused process takes requests only when it wakes; its queue is the network's, see `deliver`.
        try settle(node)
    }

    /// Loads a family beside the log of a random quorum, as the leader of a move has its members do. Sometimes one too
    /// few: then the command must do nothing.
    private mutating func stage(_ number: UInt64, _ leader: Int) throws -> [UInt8] {
        guard let membership = nodes[leader].process?.driver.core.membership else { return bigEndianBytes(number) }
        let up = membership.voters.shuffled(using: &random).map { Int($0.rawValue) }.filter { node in
            nodes[node].process != nil && membership[nodes[node].id]?.incarnation == nodes[node].incarnation
        }
        let wanted =
            chance(10)
            ? membership.quorum - 1 : Int.random(in: membership.quorum...membership.members.count, using: &random)
        var lives: [Incarnation] = []
        for node in up.prefix(wanted) {
            try stage(number, on: node)
            lives.append(nodes[node].incarnation)
        }
        report.stages += 1
        note(leader, "command \(number) needs what \(lives.count) have staged")
        return JournalMachine.payload(number, stagedBy: lives)
    }

    mutating func stage(_ number: UInt64, on node: Int) throws {
        guard let process = nodes[node].process else { return }
        let family = try process.families.take()
        var batch = WriteBatch()
        batch.put(family, key: [1], value: bigEndianBytes(number))
        process.storage.layout.putStaged(
            JournalMachine.stage(number), StagedFamily(family: family, note: bigEndianBytes(number)), in: &batch)
        try nodes[node].engine.write(batch, durability: .synced)
    }

    private mutating func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    mutating func heal() throws {
        note(nil, "heal")
        isHealed = true
        cut = []
        lossPercent = 0
        repeatPercent = 0
        delayMax = 5
        diskDelayMax = 3
        for node in nodes.indices {
            nodes[node].pausedUntil = 0
            if nodes[node].process == nil, nodes[node].life > 0 { queue.schedule(.restart(node: node), at: now + 10) }
        }
    }

    /// A node's state, for the end of a trace.
    func summary(_ node: Int) -> String {
        guard let process = nodes[node].process else { return "down" }
        let core = process.driver.core
        let members = core.membership.members.map { "n\($0.id) \($0.standing)" }.joined(separator: ", ")
        return "\(core.role) in t\(core.term), log to \(core.lastPosition), commit \(core.commit), applied "
            + "\(process.storage.applied.position.index); members as of \(core.membership.index): \(members)"
            + (core.unappliedMemberships.isEmpty ? "" : "; unapplied changes \(core.unappliedMemberships)")
            + (process.driver.waitsFor.map { "; waits for \($0)" } ?? "")
            + (nodes[node].pausedUntil > now ? "; paused" : "") + (process.isWriting ? "; writing" : "")
    }

    func describe(_ message: Message) -> String {
        "n\(message.from)->n\(message.to) t\(message.term) " + Self.describe(message.body)
    }

    static func describe(_ body: Message.Body) -> String {
        switch body {
        case .requestVote(let last, let isPreVote, let force):
            return (isPreVote ? "pre-vote? " : "vote? ") + "last \(last)" + (force ? " forced" : "")
        case .vote(let granted, let isPreVote):
            return (isPreVote ? "pre-vote " : "vote ") + (granted ? "granted" : "refused")
        case .append(let previous, let entries, let commit):
            return "append \(entries.count) after \(previous) commit \(commit)"
        case .appended(let match): return "appended \(match)"
        case .appendRejected(let previous, let hint): return "rejected \(previous), try \(hint)"
        case .heartbeat(let commit, let round): return "heartbeat commit \(commit) round \(round)"
        case .heartbeatReply(let round): return "heartbeat-reply round \(round)"
        case .timeoutNow: return "timeout-now"
        }
    }
}
