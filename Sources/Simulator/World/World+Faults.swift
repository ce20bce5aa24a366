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
        switch Int.random(in: 0..<15, using: &random) {
        case 0, 1: try crash(node, powerFails: true)
        case 2, 3: try crash(node, powerFails: false)
        case 4:
            let pause = UInt64.random(in: 50...1_500, using: &random)
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
        default: moveClock(node)
        }
    }

    private mutating func sever(_ node: Int, _ other: Int, bothWays: Bool) {
        network.cut.insert(Network.Link(from: node, to: other))
        if bothWays { network.cut.insert(Network.Link(from: other, to: node)) }
    }

    /// One clock of a group at a time is wrong: by hours, by a year, or back by an hour. Where it is the group's only one it
    /// is never ahead of an earlier time by so much that closed sessions are forgotten at once (`closedLifetime`).
    private mutating func moveClock(_ node: Int) {
        let isOnlyOne = groups[nodes[node].group].founders == 1
        let offsets =
            isOnlyOne ? [0, 120_000, 60_000, -120_000] : [0, 2 * 3_600_000, 365 * 86_400_000, -3_600_000]
        let offset = offsets[Int.random(in: 0..<4, using: &random)]
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
    private mutating func crash(_ node: Int, powerFails: Bool) throws {
        guard nodes[node].isUp else { return }
        report.crashes += 1
        guard let shell = nodes[node].shell else {
            note(node, "killed before it takes part")
            nodes[node].forget()
            return queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...1_500, using: &random))
        }
        if shell.isWriting, chance(50) {
            let written = try shell.write(durability: !powerFails && chance(50) ? .buffered : nil)
            try noteApplied(written.applied, node)
        }
        let disk = nodes[node].disk
        let unsynced = disk.unsynced
        if powerFails {
            let kept = Int.random(in: 0...unsynced, using: &random)
            note(node, "power cut, \(kept) of \(unsynced) unsynced batches survive")
            disk.lose(keepingUnsynced: kept)
        } else {
            note(node, "kill, \(unsynced) unsynced batches are in the cache")
        }
        nodes[node].forget()
        queue.schedule(.restart(node: node), at: now + UInt64.random(in: 10...1_500, using: &random))
    }

    /// Who leads a group, as far as its processes know, in the latest term.
    func leader(of group: Int) -> Int? {
        groups[group].nodes.filter { nodes[$0].shell?.driver.core.isLeader == true && nodes[$0].pausedUntil <= now }
            .max { (nodes[$0].shell?.driver.core.term ?? 0) < (nodes[$1].shell?.driver.core.term ?? 0) }
    }

    /// Members come and go. One that comes back after it was removed has its old disk.
    mutating func operate() throws {
        guard knobs.changesMembers, !isHealed else { return }
        queue.schedule(.operator, at: now + UInt64.random(in: 200...2_500, using: &random))
        guard operations < options.actionsMax else { return }
        operations += 1
        let group = Int.random(in: groups.indices, using: &random)
        guard let leader = leader(of: group), let membership = nodes[leader].shell?.driver.core.membership else {
            return
        }
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
            if !nodes[node].isUp, nodes[node].life > 0 { queue.schedule(.restart(node: node), at: now + 10) }
        }
    }
}
