internal import Bytes
internal import Engines
internal import RaftLog

/// What goes wrong, one fault after the other.
extension Simulation {
    /// Each fault has a random source of its own: one that is left out shifts none of the others.
    mutating func fault(_ number: Int) throws {
        guard !isHealed else { return }
        let main = random
        random = SplitMix64(seed: options.seed, stream: UInt64(number + 1))
        defer { random = main }
        queue.schedule(.fault(number: number + 1), at: now + UInt64.random(in: 100...900, using: &random))
        if number >= options.faultsMax ?? .max || options.skippedFaults.contains(number) { return }
        report.faults = number + 1
        let node = Int.random(in: nodes.indices, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0, 1: try crash(node, powerFails: true)
        case 2: try crash(node, powerFails: false)
        case 3:
            let pause = UInt64.random(in: 50...1_500, using: &random)
            note(node, "fault \(number): pause \(pause) ms")
            nodes[node].pausedUntil = now + pause
        case 4:
            isolate(node)
            note(node, "fault \(number): isolate")
        case 14, 15: split()
        case 16: try straySnapshot(to: node)
        case 5:
            let other = Int.random(in: nodes.indices, using: &random)
            if other != node { sever(node, other, bothWays: chance(50)) }
            note(node, "fault \(number): cut towards n\(nodes[other].id)")
        case 6, 7:
            cut = []
            note(nil, "fault \(number): network whole again")
        case 8:
            lossPercent = [0, 2, 10, 30][Int.random(in: 0..<4, using: &random)]
            repeatPercent = [0, 5, 30][Int.random(in: 0..<3, using: &random)]
            delayMax = [2, 10, 60][Int.random(in: 0..<3, using: &random)]
            note(
                nil,
                "fault \(number): network loses \(lossPercent) %, repeats \(repeatPercent) %, delays up to \(delayMax) ms"
            )
        case 9:
            diskDelayMax = [1, 5, 80][Int.random(in: 0..<3, using: &random)]
            note(nil, "fault \(number): disks take up to \(diskDelayMax) ms")
        case 10: transfer()
        case 11: try wipe(node)
        case 12: isolateLeader()
        case 17: fill(node)
        case 18: nodes[node].failsNextSync = true
        case 19: try damage(node)
        default: moveClock(node)
        }
    }

    /// Two halves that don't hear each other, the leader in the smaller one: what it appends there is acknowledged, and
    /// will be replaced.
    private mutating func split() {
        guard let leader = currentLeader else { return }
        let others = nodes.indices.filter { $0 != leader }.shuffled(using: &random)
        let size = Int.random(in: 1...max(1, (nodes.count - 1) / 2), using: &random)
        let half = [leader] + others.prefix(size - 1)
        cut = []
        for node in half {
            for other in others where !half.contains(other) { sever(node, other, bothWays: true) }
        }
        note(leader, "cut off from the others, with \(half.count - 1) more")
    }

    /// A snapshot that was fetched, and is needed no more when it arrives (a replica that waited for staged data has been
    /// helped meanwhile).
    private mutating func straySnapshot(to node: Int) throws {
        guard let leader = currentLeader, leader != node,
            let member = nodes[leader].shell?.driver.core.membership[nodes[node].id],
            member.incarnation == nodes[node].incarnation
        else { return }
        note(node, "fault: a snapshot that nobody needs")
        guard chance(50) else { return try sendSnapshot(leader, to: member, within: 40) }
        // It overtakes what tells the replica of the commits in it, and what it has acknowledged beyond is all that the leader
        // counts on: the others hear nothing.
        let voters = nodes[leader].shell?.driver.core.membership.voters.count ?? 0
        var heard = voters / 2 - 1
        for other in nodes.indices where other != leader && other != node {
            if heard > 0 { heard -= 1 } else { sever(leader, other, bothWays: true) }
        }
        try sendSnapshot(leader, to: member, within: 5)
    }

    private mutating func transfer() {
        guard let leader = currentLeader else { return }
        let target = nodes[Int.random(in: nodes.indices, using: &random)].id
        note(leader, "hand leadership to n\(target)")
        post(.transfer(target), to: leader)
    }

    /// The leader, as soon as it leads, with what it has appended and nobody has: the beginning of Figure 8.
    private mutating func isolateLeader() {
        guard let leader = currentLeader else { return }
        isolate(leader)
        note(leader, "isolate the leader")
    }

    /// One clock at a time is wrong: by hours or a year, ahead or back.
    private mutating func moveClock(_ node: Int) {
        let year: Int64 = 365 * 86_400_000
        let offsets: [Int64] = [0, 2 * 3_600_000, year, -3_600_000, -year]
        let offset = offsets[Int.random(in: 0..<5, using: &random)]
        if nodes.contains(where: { $0.clockOffset != 0 }) {
            for other in nodes.indices { nodes[other].clockOffset = 0 }
            knowledge.clocksRightSince = now
            return note(nil, "clocks are right")
        }
        // What others remember of the clock that was wrong before would be a second one.
        guard now > 6_000 + knowledge.clocksRightSince || knowledge.clocksRightSince == 0 else { return }
        nodes[node].clockOffset = offset
        note(node, "clock is off by \(offset) ms")
    }

    mutating func isolate(_ node: Int) {
        for other in nodes.indices where other != node { sever(node, other, bothWays: true) }
    }

    mutating func sever(_ node: Int, _ other: Int, bothWays: Bool) {
        cut.insert(Link(from: nodes[node].id, to: nodes[other].id))
        if bothWays { cut.insert(Link(from: nodes[other].id, to: nodes[node].id)) }
    }

    /// The process dies. The write that the disk was at may have happened or not. If power fails, a prefix of what was
    /// not synced survives; otherwise the next process sees all of it, and none of it is synced by that.
    ///
    /// - Parameter syncFails: it dies because a sync has failed: of what was not synced the next process may see less.
    mutating func crash(_ node: Int, powerFails: Bool, syncFails: Bool = false) throws {
        guard let shell = nodes[node].shell else { return }
        report.crashes += 1
        if shell.isWriting, chance(50), nodes[node].fullUntil <= now {
            let inCacheOnly = syncFails || (!powerFails && chance(50))
            do {
                try write(shell, node, isUnsynced: inCacheOnly || options.plant == .acknowledgeBeforeSync)
            } catch let error as EngineError { try noticeDamage(node, error) }
        }
        let unsynced = nodes[node].engine.unsyncedCount
        if powerFails || syncFails {
            let kept = Int.random(in: 0...unsynced, using: &random)
            note(node, "\(syncFails ? "sync fails" : "power cut"), \(kept) of \(unsynced) unsynced batches survive")
            nodes[node].engine.crash(keepingUnsynced: kept)
        } else {
            note(node, "kill, \(unsynced) unsynced batches are in the cache")
        }
        nodes[node].forget()
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...2_000, using: &random))
    }

    // MARK: - Disks

    /// No room: what is to be written waits until there is some.
    private mutating func fill(_ node: Int) {
        let time = UInt64.random(in: 200...3_000, using: &random)
        note(node, "the disk is full for \(time) ms")
        nodes[node].fullUntil = now + time
    }

    /// Whether the group can do without one of its disks, and with one member less until that one is replaced.
    private mutating func canLoseDisk(_ node: Int) -> Bool {
        guard knowledge.wiped == nil, knowledge.damaged == nil, let leader = currentLeader,
            let membership = nodes[leader].shell?.driver.core.membership
        else { return false }
        return membership.voters.count >= 3 && membership.voters.count == membership.members.count
            && membership.isVoter(nodes[node].id) && !isChangeUnderWay
    }

    /// The disk is lost. One at a time, and only from a group that is whole otherwise: losing a majority of
    /// disks loses data in any system.
    private mutating func wipe(_ node: Int) throws {
        guard options.plant == .wipedDiskVotes || chance(40), canLoseDisk(node) else { return }
        try loseDisk(node)
    }

    private mutating func loseDisk(_ node: Int) throws {
        report.wipes += 1
        note(node, "lose the disk")
        knowledge.damaged = nil
        nodes[node].forget()
        nodes[node].engine = MemoryEngine()
        nodes[node].fullUntil = 0
        if options.plant == .wipedDiskVotes {
            try bootstrap(node)
        } else {
            nodes[node].incarnation = Incarnation(high: random.next(), low: random.next())
            nodes[node].promised = HardState()
            knowledge.wiped = node
        }
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...500, using: &random))
    }

    /// A bit flips on the disk, in any row. As with lost disks, one at a time.
    private mutating func damage(_ node: Int) throws {
        guard canLoseDisk(node), nodes[node].shell != nil else { return }
        var random = self.random
        let place = try nodes[node].engine.damageRow { Int.random(in: 0..<$0, using: &random) }
        self.random = random
        guard let place else { return }
        report.damaged += 1
        note(node, "a bit flips in \(place)")
        knowledge.damaged = node
    }

    /// Somebody has tried to read what is damaged, and logs tell: the operator will replace the disk.
    mutating func noticeDamage(_ node: Int, _ error: EngineError) throws {
        guard case .corruption = error, knowledge.damaged == node else {
            try violate("n\(nodes[node].id) can't go on with what is committed: \(error)")
        }
        note(node, "\(error)")
        knowledge.isDamageNoticed = true
    }

    /// The operator looks at the logs, and now and then reads through a disk.
    mutating func replaceDamaged() throws {
        guard let node = knowledge.damaged else { return }
        guard knowledge.isDamageNoticed || isHealed || chance(10) else { return }
        knowledge.isDamageNoticed = false
        // What is written anew is whole.
        if nodes[node].engine.damagedCount == 0, nodes[node].shell != nil {
            knowledge.damaged = nil
        } else {
            report.replaced += 1
            try loseDisk(node)
        }
    }

    /// Some change of members may still come to be committed. (A node that is down may hold one.)
    private var isChangeUnderWay: Bool {
        nodes.contains { $0.life > 0 && $0.shell?.driver.core.unappliedMemberships.isEmpty != true }
    }

    var currentLeader: Int? {
        nodes.indices.filter { nodes[$0].shell?.driver.core.isLeader == true && nodes[$0].pausedUntil <= now }
            .max { nodes[$0].shell?.driver.core.term ?? 0 < nodes[$1].shell?.driver.core.term ?? 0 }
    }

    mutating func heal() {
        note(nil, "heal")
        isHealed = true
        cut = []
        lossPercent = 0
        repeatPercent = 0
        delayMax = 5
        diskDelayMax = 3
        for node in nodes.indices {
            nodes[node].fullUntil = 0
            nodes[node].failsNextSync = false
            if nodes[node].shell == nil, nodes[node].life > 0 { queue.schedule(.restart(node: node), at: now + 10) }
        }
        queue.schedule(.watch, at: now + Self.settlingTime)
    }
}
