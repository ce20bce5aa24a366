internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What must hold of moves whenever one of their steps is committed, and at the end.
extension World {
    /// The source's log has frozen a shard: what its replica has now is what every later copy must be.
    mutating func noteFrozen(_ shard: ShardEpoch, _ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let view = try nodes[node].disk.observed()
        defer { view.close() }
        let reader = GroupReader(shell.layout, in: view)
        // In one write with the end of its move, and with what was written afterwards: nobody ever copies it.
        guard try reader.frozen(shard) != nil else { return }
        frozen[shard] = try reader.hashes(shard.shard)
        let family = try reader.family(shard.shard)
        for key in 0..<knobs.keys {
            let name = Self.key(key)
            guard Slot.shard(of: name, shardCount: knobs.shardCount) == shard.shard else { continue }
            frozenValues[shard, default: [:]][name] = model.values[name]
            let row = try family.flatMap { try view.get($0, key: ShardRows.userKey(name)) }
            if row != model.values[name].map(ShardRows.record) {
                try violate("\(nodes[node].name) freezes \(shard), and key\(key) isn't what its writes make")
            }
        }
    }

    /// A target's log has activated a shard: a quorum has it, and it is what was frozen.
    mutating func checkActivation(_ shard: ShardEpoch, _ activation: Activation, _ node: Int) throws {
        let name = nodes[node].name
        if activation.hashes != frozen[shard] {
            try violate("\(name) activates \(shard) with other contents than were frozen")
        }
        guard let replica = nodes[node].shell as? SimulatedReplica<GroupMachine> else { return }
        let membership = replica.storage.membership
        let lives = Set(activation.stagedBy)
        // A change of members may have been applied in the same write, before or behind it.
        let before = replica.membershipBefore
        let staged = self.staged(lives, in: membership)
        if staged < membership.quorum, before.members.isEmpty || self.staged(lives, in: before) < before.quorum {
            try violate("\(name) activates \(shard), which \(staged) of \(membership.voters.count) voters have staged")
        }
        for other in groups[nodes[node].group].nodes where lives.contains(nodes[other].incarnation) {
            if try !holds(shard, activation.hashes, other) {
                try violate(
                    "\(name) activates \(shard), and \(nodes[other].name), which is to have staged it, lacks what was frozen"
                )
            }
        }
        activatedBy[shard] = membership.index
        report.moves += 1
    }

    private func staged(_ lives: Set<Incarnation>, in membership: Membership) -> Int {
        membership.members.count { $0.standing == .voter && lives.contains($0.incarnation) }
    }

    /// A source's log has removed its copy: the target has the shard, whatever happens now.
    mutating func checkCollected(_ shard: ShardEpoch, by target: GroupID, _ node: Int) throws {
        guard let group = groups.first(where: { $0.gid == target }) else { return }
        // A directory that is new knows no members yet.
        let memberships = group.nodes.compactMap { nodes[$0].shell?.driver.core.membership }
            .filter { !$0.members.isEmpty }
        guard let membership = memberships.max(by: { $0.index < $1.index }) else { return }
        try checkHolders(shard, group, membership) { "\(nodes[node].name) removes its copy of \(shard), and" }
        // As long as the members are the same, a quorum has it: not only one of each quorum.
        guard activatedBy[shard] == membership.index, let hashes = frozen[shard] else { return }
        let holders = try membership.members.filter { $0.standing == .voter }.count { voter in
            let place = group.nodes[Int(voter.id.rawValue)]
            // A disk that was lost since had it, as far as anybody can tell.
            return try nodes[place].incarnation != voter.incarnation || holds(shard, hashes, place)
        }
        if holders < membership.quorum {
            try violate(
                "\(nodes[node].name) removes its copy of \(shard), and \(holders) members of group \(target) have it, "
                    + "where \(membership.quorum) are a quorum")
        }
    }

    /// A group has other members: what it serves, and has from others, is still had.
    func checkHolders(_ node: Int) throws {
        guard let membership = nodes[node].shell?.driver.core.membership, membership.index > 0 else { return }
        let group = groups[nodes[node].group]
        for (shard, target) in model.activated.sorted(by: {
            ($0.key.shard, $0.key.epoch) < ($1.key.shard, $1.key.epoch)
        })
        where target == group.gid && model.places[shard.shard] == .served(by: target, epoch: shard.epoch) {
            try checkHolders(shard, group, membership) { "\(nodes[node].name) has other members, and of \(shard)" }
        }
    }

    /// Whatever majority of the voters is left, one of them has the shard on its disk.
    private func checkHolders(
        _ shard: ShardEpoch, _ group: WorldGroup, _ membership: Membership, _ occasion: () -> String
    ) throws {
        guard let hashes = frozen[shard] else { return }
        let voters = membership.members.filter { $0.standing == .voter }
        let lacking = try voters.map { (group.nodes[Int($0.id.rawValue)], $0.incarnation) }
            .filter { try nodes[$0.0].incarnation == $0.1 && !holds(shard, hashes, $0.0) }
        guard lacking.count >= membership.quorum else { return }
        let names = lacking.map { nodes[$0.0].name }.joined(separator: ", ")
        try violate(
            "\(occasion()) \(names), a quorum of the members of group \(group.gid) as of \(membership.index), lack what "
                + "was staged")
    }

    /// Whether a power cut leaves a replica the shard: served by its log, with all that nobody has written since it was
    /// frozen, or staged as it was frozen.
    private func holds(_ shard: ShardEpoch, _ hashes: ShardHashes, _ node: Int) throws -> Bool {
        guard let layout = nodes[node].layout else { return false }
        let view = try nodes[node].disk.durable()
        defer { view.close() }
        let reader = GroupReader(layout, in: view)
        if let record = try reader.record(shard.shard), record.epoch >= shard.epoch, record.state != .gone {
            let family = try reader.family(shard.shard)
            // No two writes bring the same value.
            return try (frozenValues[shard] ?? [:]).allSatisfy { key, value in
                try model.values[key] != value
                    || family.flatMap { try view.get($0, key: ShardRows.userKey(key)) } == ShardRows.record(value)
            }
        }
        guard let staged = try layout.staged(StagedShard.name(shard), in: view) else { return false }
        guard let family = staged.family else { return hashes == ShardHashes() }
        return try ShardRows.hashes(of: family, in: view) == hashes
    }

    /// What is frozen may be served by another group at any moment.
    mutating func checkRead(_ key: [UInt8], _ reader: GroupReader, _ node: Int) throws {
        let shard = Slot.shard(of: key, shardCount: knobs.shardCount)
        guard let record = try reader.record(shard) else { return }
        switch record.state {
        case .gone: return
        case .frozen:
            try violate("\(nodes[node].name) answers a read of shard \(shard), which its log has frozen")
        case .serving:
            let (place, gid) = (ShardEpoch(shard: shard, epoch: record.epoch), groups[nodes[node].group].gid)
            if let other = served[place], other != gid { try violate("groups \(other) and \(gid) serve \(place)") }
            served[place] = gid
        }
    }

    // MARK: - The end

    /// Whatever was begun is over: nothing is on the move, frozen, or left over.
    func checkSettled(_ map: ShardMap) throws {
        try checkHold()
        for shard in map.shardIDs {
            if let move = map[shard].move {
                try violate(
                    "shard \(shard) is still on its way from group \(move.from) to group \(move.to) under epoch "
                        + "\(move.epoch), \(options.healingTime) ms after everything healed")
            }
            // A move that was taken back has used up its epoch.
            let row = map[shard]
            guard case .served(row.gid, let epoch)? = model.places[shard], epoch <= row.epoch else {
                try violate("the map gives shard \(shard) to group \(row.gid), and the logs don't")
            }
        }
        for (gid, group) in map.groups.sorted(by: { $0.key < $1.key }) where group.isLeaving {
            if map.groups.contains(where: { !$0.value.isLeaving }) { try violate("group \(gid) never gets to leave") }
        }
    }

    /// However much is written into it, a shard that moves arrives, and no leader loses its office for it.
    func checkScenario() throws {
        guard options.scenario == .hotShard else { return }
        // Founding takes one of seven seconds, and what a slow disk is asked for in a move up to three.
        if report.moves < options.faultyTime / 3_500 {
            try violate("the hot shard has arrived \(report.moves) times in \(options.faultyTime) ms")
        }
        if report.elections > groups.count {
            try violate("\(report.elections) elections in \(groups.count) groups where nothing fails")
        }
    }

    private func checkHold() throws {
        guard let leader = leader(of: 0),
            let controller = nodes[leader].shell as? SimulatedReplica<ControllerMachine>
        else { return }
        // The last one was to last for seconds, and log time, however wrong clocks are, goes at half their speed at least.
        if controller.machine.hold != nil, options.healingTime >= 8_000 {
            try violate("moves are held long after the hold's end")
        }
    }

    /// A group serves what the map gives it, and nothing else.
    func checkRecords(_ map: ShardMap, _ replica: SimulatedReplica<GroupMachine>, _ gid: GroupID) throws {
        for (shard, record) in replica.machine.shards.sorted(by: { $0.key < $1.key }) {
            switch record.state {
            case .serving:
                if map[shard].gid != gid { try violate("group \(gid) serves shard \(shard), which is not its own") }
            case .frozen: try violate("group \(gid) has shard \(shard) frozen at the end")
            case .gone: continue
            }
        }
    }

    /// Nothing lies on the disk that neither the log nor a move needs.
    func checkLeftovers(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        var known: Set<FamilyID> = [FamilyTable.node, shell.layout.log, shell.layout.meta]
        known.formUnion(shell.families.values)
        let staged = try shell.layout.stagedFamilies(in: view)
        known.formUnion(staged.values.compactMap(\.family))
        for family in try shell.engine.families() where !known.contains(family) {
            // Empty ones are spares.
            let cursor = try view.cursor(family, lower: [], upper: nil, reverse: false, reading: .keys)
            if try cursor.next({ _, _ in true }) != nil {
                try violate("family \(family) of \(nodes[node].name) is nobody's")
            }
        }
        // A sweep comes every 5 s.
        if !staged.isEmpty, nodes[node].stagedAt + 7_000 < now {
            try violate("\(nodes[node].name) still has \(staged.keys.sorted()) staged")
        }
    }
}
