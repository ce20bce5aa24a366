internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What goes wrong, and what operators do meanwhile.
extension World {
    mutating func fault() throws {
        guard !isHealed else { return }
        queue.schedule(.fault, at: now + UInt64.random(in: 60...600, using: &random))
        guard faults < options.faultsMax else { return }
        faults += 1
        let node = Int.random(in: nodes.indices, using: &random)
        switch Int.random(in: 0..<21, using: &random) {
        case 0, 1: try crash(node, powerFails: true)
        case 2, 3: try crash(node, powerFails: false)
        case 4:
            let pause = UInt64.random(in: 50...(chance(20) ? 4_000 : 1_500), using: &random)
            note(node, "pause \(pause) ms")
            nodes[node].pausedUntil = now + pause
        case 5:
            for other in nodes.indices where other != node { sever(node, other, bothWays: true) }
            note(node, "isolated from the other nodes")
        case 6:
            let members = groups[nodes[node].group].nodes
            let other = members[Int.random(in: members.indices, using: &random)]
            if other != node { sever(node, other, bothWays: chance(50)) }
            note(node, "cut towards \(nodes[other].name)")
        case 7:
            let client = clients[Int.random(in: clients.indices, using: &random)]
            // Requests arrive, and answers don't; or neither.
            network.cut.insert(Network.Link(from: node, to: client.place))
            if chance(30) { network.cut.insert(Network.Link(from: client.place, to: node)) }
            note(node, "cut towards \(client.name)")
        case 8, 9:
            network.cut = []
            network.bandwidth = 0
            network.busyUntil = [:]
            note(nil, "network whole again")
        case 10:
            network.lossPercent = pick([0, 2, 10, 25])
            network.repeatPercent = pick([0, 5, 30])
            network.delayMax = pick([2, 8, 50])
            note(
                nil,
                "network loses \(network.lossPercent) %, repeats \(network.repeatPercent) %, delays up to "
                    + "\(network.delayMax) ms")
        case 11:
            network.diskDelayMax = pick([1, 5, 60])
            note(nil, "disks take up to \(network.diskDelayMax) ms")
        case 12: transfer(nodes[node].group)
        case 13: try crashAtMove()
        case 14: fill(node)
        case 15: nodes[node].failsNextSync = true
        case 16: if let node = nodes.indices.filter(canLoseDisk).randomElement(using: &random) { try damage(node) }
        case 17:
            guard chance(30) else { return }
            if let node = nodes.indices.filter(canLoseDisk).randomElement(using: &random) { try loseDisk(node) }
        case 19:
            note(node, "gets little of the processor")
            nodes[node].starvedUntil = now + UInt64.random(in: 200...3_000, using: &random)
            starve(node, nodes[node].life)
        case 18:
            network.bandwidth = pick([400, 100, 20])
            network.queueBytesMax = pick([1_000, 20_000])
            note(nil, "links carry \(network.bandwidth) bytes/ms and queue \(network.queueBytesMax) bytes")
        default: moveClock(node)
        }
    }

    /// It runs for a few milliseconds, and then others do.
    mutating func starve(_ node: Int, _ life: UInt64) {
        guard nodes[node].isUp, nodes[node].life == life, nodes[node].starvedUntil > now else { return }
        let pause = UInt64.random(in: 20...150, using: &random)
        nodes[node].pausedUntil = max(nodes[node].pausedUntil, now + pause)
        queue.schedule(
            .starve(node: node, life: life), at: nodes[node].pausedUntil + UInt64.random(in: 3...15, using: &random))
    }

    private mutating func sever(_ node: Int, _ other: Int, bothWays: Bool) {
        network.cut.insert(Network.Link(from: node, to: other))
        if bothWays { network.cut.insert(Network.Link(from: other, to: node)) }
    }

    /// One clock of a group at a time is wrong: by hours or a year, ahead or back. Where it is the group's only one it
    /// is never ahead of an earlier time by so much that closed sessions are forgotten at once (`closedLifetime`).
    private mutating func moveClock(_ node: Int) {
        let isOnlyOne = groups[nodes[node].group].founders == 1
        let offsets =
            isOnlyOne
            ? [0, 120_000, 60_000, -120_000, -365 * 86_400_000]
            : [0, 2 * 3_600_000, 365 * 86_400_000, -3_600_000, -365 * 86_400_000]
        let offset = offsets[Int.random(in: 0..<5, using: &random)]
        for other in groups[nodes[node].group].nodes { nodes[other].clockOffset = 0 }
        nodes[node].clockOffset = Int64(offset)
        note(node, "clock is off by \(offset) ms")
    }

    private mutating func transfer(_ group: Int) {
        guard let leader = leader(of: group) else { return }
        let target = groups[group].nodes[Int.random(in: groups[group].nodes.indices, using: &random)]
        note(leader, "hands leadership to \(nodes[target].name)")
        post(.transfer(nodes[target].id), to: leader)
    }

    /// Whoever is at one end of a move is struck in the middle of it, if anybody is.
    private mutating func crashAtMove() throws {
        let ends = nodes.indices.filter { !nodes[$0].desks.target.fetching.isEmpty || !nodes[$0].desks.files.isEmpty }
        guard let node = ends.randomElement(using: &random) else { return }
        note(node, "is struck in the middle of a move")
        try crash(node, powerFails: chance(50))
    }

    /// The process dies. The write that the disk was at may have happened or not. If power fails, a prefix of what was
    /// not synced survives; otherwise the next process sees all of it, and none of it is synced by that.
    ///
    /// - Parameter syncFails: it dies because a sync has failed: of what was not synced the next process may see less.
    mutating func crash(_ node: Int, powerFails: Bool, syncFails: Bool = false) throws {
        guard nodes[node].isUp else { return }
        report.crashes += 1
        guard let shell = nodes[node].shell else {
            note(node, "killed before it takes part")
            nodes[node].forget()
            return queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...1_500, using: &random))
        }
        if shell.isWriting, chance(50), nodes[node].fullUntil <= now {
            let inCacheOnly = syncFails || (!powerFails && chance(50))
            do {
                let written = try shell.write(durability: inCacheOnly ? .buffered : nil)
                try noteApplied(written.applied, node)
            } catch let error as EngineError { try noticeDamage(node, error) }
        }
        let disk = nodes[node].disk
        let unsynced = disk.unsynced
        if powerFails || syncFails {
            let kept = Int.random(in: 0...unsynced, using: &random)
            note(node, "\(syncFails ? "sync fails" : "power cut"), \(kept) of \(unsynced) unsynced batches survive")
            disk.lose(keepingUnsynced: kept)
        } else {
            note(node, "kill, \(unsynced) unsynced batches are in the cache")
        }
        breakStreams(to: node)
        nodes[node].forget()
        if !groups[nodes[node].group].isController, chance(25) {
            note(node, "a node of another cluster listens at its address")
            nodes[node].hasStranger = true
        }
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...1_500, using: &random))
    }

    /// Who leads a group, as far as its processes know, in the latest term.
    func leader(of group: Int) -> Int? {
        groups[group].nodes.filter { nodes[$0].shell?.driver.core.isLeader == true && nodes[$0].pausedUntil <= now }
            .max { (nodes[$0].shell?.driver.core.term ?? 0) < (nodes[$1].shell?.driver.core.term ?? 0) }
    }

    /// A disk that ails is replaced; members come and go. One that comes back after it was removed has its old disk.
    mutating func operate() throws {
        guard !isEnding else { return }
        queue.schedule(.operator, at: now + UInt64.random(in: 200...(isHealed ? 400 : 2_500), using: &random))
        for group in groups.indices where groups[group].ailing != nil { try replaceDisk(of: group) }
        guard knobs.changesMembers, !isHealed, operations < options.actionsMax else { return }
        operations += 1
        let group = Int.random(in: groups.indices, using: &random)
        guard groups[group].ailing == nil, let leader = leader(of: group),
            let membership = nodes[leader].shell?.driver.core.membership
        else { return }
        let members = groups[group].nodes
        let node = members[Int.random(in: members.indices, using: &random)]
        let id = nodes[node].id
        if membership[id] != nil {
            guard membership.voters.count > 2 || !membership.isVoter(id), chance(60) else { return }
            post(.change(.remove(id)), to: leader)
            note(leader, "remove \(nodes[node].name)")
        } else {
            if nodes[node].life == 0 { try start(node) }
            post(
                .change(.add(id, address: nodes[node].address, incarnation: nodes[node].incarnation)), to: leader)
            note(leader, "add \(nodes[node].name)")
        }
        report.changes += 1
    }

    mutating func heal() {
        note(nil, "heal")
        isHealed = true
        network = Network()
        for node in nodes.indices {
            nodes[node].pausedUntil = 0
            nodes[node].fullUntil = 0
            nodes[node].starvedUntil = 0
            nodes[node].failsNextSync = false
            if !nodes[node].isUp, nodes[node].life > 0 { queue.schedule(.restart(node: node), at: now + 10) }
        }
    }
}
