internal import Bytes
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Disks that are full, damaged or lost, and what the operator does about it.
extension World {
    /// No room: what is to be written waits until there is some.
    mutating func fill(_ node: Int) {
        let time = UInt64.random(in: 200...3_000, using: &random)
        note(node, "the disk is full for \(time) ms")
        nodes[node].fullUntil = now + time
    }

    /// Whether the group can do without one of its disks, and with one member less until that one is replaced: losing a
    /// majority of disks loses data in any system.
    func canLoseDisk(_ node: Int) -> Bool {
        let group = groups[nodes[node].group]
        guard group.ailing == nil, let leader = leader(of: nodes[node].group),
            let membership = nodes[leader].shell?.driver.core.membership
        else { return false }
        return membership.voters.count >= 3
            && membership.voters.count == membership.members.count
            && membership[nodes[node].id]?.incarnation == nodes[node].incarnation
            && !group.nodes.contains {
                nodes[$0].life > 0 && nodes[$0].shell?.driver.core.unappliedMemberships.isEmpty != true
            }
    }

    /// A bit flips on the disk, in any row.
    mutating func damage(_ node: Int) throws {
        guard nodes[node].shell != nil else { return }
        var random = self.random
        let place = try nodes[node].disk.damage { Int.random(in: 0..<$0, using: &random) }
        self.random = random
        guard let place else { return }
        report.bitsFlipped += 1
        note(node, "a bit flips in \(place)")
        groups[nodes[node].group].ailing = WorldGroup.Ailing(node: node)
    }

    /// Something on the disk can't be read, which logs tell.
    mutating func noticeDamage(_ node: Int, _ error: EngineError) throws {
        guard case .corruption = error, let ailing = groups[nodes[node].group].ailing, ailing.node == node,
            !ailing.isLost
        else { try violate("\(nodes[node].name) can't go on with what is committed: \(error)") }
        note(node, "\(error)")
        groups[nodes[node].group].ailing?.isNoticed = true
        // As `ReplicaHost.noteDamage` does: a replica that is whole is to lead.
        if nodes[node].shell?.driver.core.isLeader == true { post(.handOver, to: node) }
    }

    /// The process can't go on with what its disk holds, and ends.
    mutating func stop(_ node: Int, _ error: EngineError) throws {
        try noticeDamage(node, error)
        breakStreams(to: node)
        nodes[node].forget()
    }

    /// There is another, empty disk in its place.
    mutating func loseDisk(_ node: Int) throws {
        note(node, "lose the disk")
        report.disksLost += 1
        var through: LogIndex = 0
        if let layout = nodes[node].layout {
            let view = try nodes[node].disk.durable()
            defer { view.close() }
            let cursor = try view.cursor(layout.log, lower: [], upper: nil, reverse: true, reading: .keys)
            through = try cursor.next { key, _ in bigEndianNumber(key) ?? 0 } ?? 0
            through = max(through, try GroupStorageRows.load(layout, in: view).base.index)
        }
        breakStreams(to: node)
        nodes[node].forget()
        try nodes[node].disk.replace()
        nodes[node].incarnation = Incarnation(high: random.next(), low: random.next())
        nodes[node].directory = WorldNode.Directory()
        nodes[node].layout = nil
        nodes[node].fullUntil = 0
        groups[nodes[node].group].ailing = WorldGroup.Ailing(node: node, lostThrough: through)
        queue.schedule(.restart(node: node), at: now + delay(500))
    }

    /// The operator looks at the logs and now and then reads through a disk, replaces what is damaged, and has the group
    /// take the new disk for the old one.
    mutating func replaceDisk(of group: Int) throws {
        guard let ailing = groups[group].ailing else { return }
        let node = ailing.node
        guard ailing.isLost else {
            guard ailing.isNoticed || isHealed || chance(20) else { return }
            if nodes[node].disk.isDamaged || !nodes[node].isUp { return try loseDisk(node) }
            // What was written anew is whole.
            return groups[group].ailing = nil
        }
        guard let leader = leader(of: group), let membership = nodes[leader].shell?.driver.core.membership else {
            return
        }
        let id = nodes[node].id
        let member = membership[id]
        if member?.incarnation == nodes[node].incarnation {
            if member?.standing == .voter { groups[group].ailing = nil }
            return
        }
        note(leader, "replace \(nodes[node].name)")
        post(
            .change(.replace(id, address: nodes[node].address, incarnation: nodes[node].incarnation)), to: leader)
    }
}
