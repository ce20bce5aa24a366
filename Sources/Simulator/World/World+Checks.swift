internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What an omniscient observer remembers of a group.
struct GroupKnowledge {
    var leaders: [Term: ReplicaID] = [:]
    /// Every entry that some replica has applied: the committed log behind the bootstrap record, without a hole.
    var committed: [Committed] = []
    var commitMax: LogIndex = 0

    struct Committed {
        var entry: Entry
        /// The term in which some replica first applied it: it was committed in that term or before.
        var by: Term
        var reply: MachineReply?
    }

    static func place(_ index: LogIndex) -> Int { Int(index) - Int(BootstrapRecord.position.index) - 1 }

    subscript(index: LogIndex) -> Committed? {
        let place = Self.place(index)
        return committed.indices.contains(place) ? committed[place] : nil
    }
}

/// What must hold at every step, and at the end.
extension World {
    // MARK: - Raft (Figure 3 of the paper)

    mutating func observe(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let (name, group) = (nodes[node].name, nodes[node].group)
        let (term, commit) = (shell.driver.core.term, shell.driver.core.commit)
        if term < shell.termSeen { try violate("\(name): term went back from \(shell.termSeen) to \(term)") }
        if commit < shell.commitSeen { try violate("\(name): commit went back from \(shell.commitSeen) to \(commit)") }
        shell.termSeen = term
        shell.commitSeen = commit
        if shell.driver.core.applied > commit { try violate("\(name): applied beyond commit \(commit)") }
        let isLeader = shell.driver.core.isLeader
        if shell.membershipBefore.index != shell.driver.core.membership.index { try checkHolders(node) }
        defer {
            shell.wasLeader = isLeader
            let before = shell.membershipBefore
            if before.members.isEmpty || before.index != shell.driver.core.membership.index {
                shell.membershipBefore = shell.driver.core.membership
            }
        }
        guard isLeader else { return }
        if let other = groups[group].knowledge.leaders[term] {
            // Election Safety.
            if other != nodes[node].id { try violate("two leaders in term \(term): \(name) and n\(other)") }
        } else {
            groups[group].knowledge.leaders[term] = nodes[node].id
            report.elections += 1
            note(node, "leads term \(term)")
            try checkLeaderCompleteness(node, shell)
        }
        // What it knew to be committed when it was elected was counted by another, perhaps by members before.
        guard commit > groups[group].knowledge.commitMax else { return }
        if shell.wasLeader { try checkCommittedOnQuorum(node, shell) }
        groups[group].knowledge.commitMax = commit
    }

    /// Leader Completeness: whoever leads has every entry that was committed in an earlier term.
    private func checkLeaderCompleteness(_ node: Int, _ shell: ReplicaShell) throws {
        let core = shell.driver.core
        for known in groups[nodes[node].group].knowledge.committed
        where known.entry.index >= core.firstIndex && known.by < core.term {
            let found = core.termOfLog(at: known.entry.index)
            if found != known.entry.term {
                try violate(
                    "leader \(nodes[node].name) of term \(core.term) has \(found.map { "term \($0)" } ?? "nothing") where "
                        + "\(known.entry.index)@\(known.entry.term) is committed")
            }
        }
    }

    /// What a leader calls committed is on the disks of a majority of its voters: those that it counted by, which are
    /// the ones before, if it has applied a change in the same step.
    private func checkCommittedOnQuorum(_ node: Int, _ shell: ReplicaShell) throws {
        let core = shell.driver.core
        guard let term = core.termOfLog(at: core.commit) else { return }
        let position = LogPosition(index: core.commit, term: term)
        let members = groups[nodes[node].group].nodes
        if try isOnQuorum(position, of: core.membership, members) { return }
        let before = shell.membershipBefore
        if !before.members.isEmpty, try isOnQuorum(position, of: before, members) { return }
        try violate("entry \(position) was committed by \(nodes[node].name), but is not on the disks of a quorum")
    }

    private func isOnQuorum(_ position: LogPosition, of membership: Membership, _ members: [Int]) throws -> Bool {
        // Whoever has acknowledged may have lost its disk since: one at a time, which a quorum can do without.
        let holders = try membership.voters.count {
            try isDurable(position, on: members[Int($0.rawValue)]) || didHold(position, $0, of: membership, members)
        }
        return holders >= membership.quorum
    }

    /// The member that is meant had it on the disk that it has lost since.
    private func didHold(
        _ position: LogPosition, _ id: ReplicaID, of membership: Membership, _ members: [Int]
    ) -> Bool {
        let node = members[Int(id.rawValue)]
        guard let ailing = groups[nodes[node].group].ailing, ailing.node == node, let through = ailing.lostThrough
        else { return false }
        return membership[id]?.incarnation != nodes[node].incarnation && position.index <= through
    }

    private func isDurable(_ position: LogPosition, on node: Int) throws -> Bool {
        guard let layout = nodes[node].layout else { return false }
        let view = try nodes[node].disk.durable()
        defer { view.close() }
        if let row = try view.get(layout.log, key: GroupLayout.logKey(position.index)) {
            return try layout.decode(position.index, row).term == position.term
        }
        guard let base = try view.get(layout.meta, key: GroupLayout.baseKey) else { return false }
        return try AppliedState(encoded: base).position.index >= position.index
    }

    /// What a replica finds when it starts counts as its own, so it must be on the disk.
    func checkFound(_ node: Int) throws {
        guard let last = nodes[node].shell?.driver.core.lastPosition, last.index > BootstrapRecord.position.index else {
            return
        }
        if try !isDurable(last, on: node) {
            try violate("\(nodes[node].name) counts entry \(last), which it found, and a power cut may take it away")
        }
    }

    /// Durable before said: votes and acknowledgements leave only after what they promise is on disk.
    func checkPromise(_ message: Message, _ node: Int) throws {
        switch message.body {
        case .vote(granted: true, isPreVote: false):
            let state = try durableState(node)
            if state.term < message.term || (state.term == message.term && state.vote != message.to) {
                try violate("\(nodes[node].name) promised its vote in term \(message.term) before it was on disk")
            }
        case .requestVote(_, isPreVote: false, _):
            if try durableState(node).term < message.term {
                try violate("\(nodes[node].name) asked for votes in term \(message.term) before its own was on disk")
            }
        case .appended(let match):
            guard let shell = nodes[node].shell, shell.driver.core.term == message.term,
                let term = shell.driver.core.termOfLog(at: match)
            else { return }
            if try !isDurable(LogPosition(index: match, term: term), on: node) {
                try violate("\(nodes[node].name) acknowledged entry \(match) before it was on disk")
            }
        default: return
        }
    }

    private func durableState(_ node: Int) throws -> HardState {
        guard let layout = nodes[node].layout else { return HardState() }
        let view = try nodes[node].disk.durable()
        defer { view.close() }
        guard let row = try view.get(layout.meta, key: GroupLayout.hardStateKey) else { return HardState() }
        return try HardState(encoded: row)
    }

    // MARK: - Machines

    /// State Machine Safety: nobody ever applies another entry at the same index, and everybody makes the same of it.
    mutating func noteApplied(_ applied: [(entry: Entry, reply: MachineReply?)], _ node: Int) throws {
        guard !applied.isEmpty else { return }
        let (name, group) = (nodes[node].name, nodes[node].group)
        var hasStepped = false
        for (entry, reply) in applied {
            if let known = groups[group].knowledge[entry.index] {
                if known.entry != entry {
                    try violate(
                        "\(name) applied \(entry.index)@\(entry.term) where \(known.entry.index)@\(known.entry.term) was"
                    )
                }
                if known.reply != reply {
                    try violate(
                        "\(name) answers \(Self.describe(reply)) to entry \(entry.index), which another replica has "
                            + "answered with \(Self.describe(known.reply))")
                }
            } else {
                let place = GroupKnowledge.place(entry.index)
                if place != groups[group].knowledge.committed.count {
                    try violate("\(name) applied entry \(entry.index), and nobody has applied those before it")
                }
                // Log time follows the clocks of a quorum, of which at most one is wrong.
                if entry.stamp > UInt64(Self.epoch) + now + 1_000, groups[group].nodes.count > 2,
                    nodes[node].shell?.driver.core.membership.voters.count ?? 0 > 2
                {
                    try violate("entry \(entry.index) of \(name) is stamped ahead of the time")
                }
                groups[group].knowledge.committed.append(
                    GroupKnowledge.Committed(
                        entry: entry, by: nodes[node].shell?.driver.core.term ?? entry.term, reply: reply))
                if let reply { try decided(entry, reply, group, node) }
            }
            if case .group(.stepped)? = reply { hasStepped = true }
        }
        if hasStepped { try checkServed(node) }
    }

    /// A command is applied for the first time.
    private mutating func decided(_ entry: Entry, _ reply: MachineReply, _ group: Int, _ node: Int) throws {
        switch reply {
        case .group(let reply):
            switch model.apply(entry, reply, of: groups[group].gid) {
            case .nothing: return
            case .repeated: report.repeats += 1
            case .frozen(let shard): try noteFrozen(shard, node)
            case .activated(let shard, let activation): try checkActivation(shard, activation, node)
            case .collected(let shard, let target): try checkCollected(shard, by: target, node)
            case .objection(let sentence): try violate("\(nodes[node].name): \(sentence)")
            case .executed(let stamp, let answered):
                report.executed += 1
                guard let id = history.writes[stamp] else { try violate("entry \(entry.index) is nobody's write") }
                note(node, "executes #\(id) at \(entry.index)")
                if history.operations[id].isExecuted {
                    try violate("write #\(id) is executed twice, the second time at entry \(entry.index)")
                }
                history.operations[id].executed = (answered, takeNumber())
                if history.operations[id].outcome == .failed {
                    try violate("write #\(id) is executed, and its client has heard that nothing was done")
                }
            }
        case .controller(let reply):
            let isHeld = holds.apply(entry, reply)
            guard case .map(let map) = reply else { return }
            // The end of a hold makes a map of its own, before the command makes the next.
            if let last = maps.last, map.number > last.number + 1, let shell = nodes[node].shell {
                let view = try nodes[node].disk.observed()
                defer { view.close() }
                for number in last.number + 1..<map.number {
                    if let between = try ControllerMachine.map(number: number, layout: shell.layout, in: view) {
                        try checkMap(between, isHeld: false)
                    }
                }
            }
            try checkMap(map, isHeld: isHeld)
        case .bytes: return
        }
    }

    private static func describe(_ reply: MachineReply?) -> String {
        switch reply {
        case nil: "nothing"
        case .group(let reply): "\(reply)"
        case .controller(.map(let map)): "map \(map.number)"
        case .controller(.refused(let refusal)): refusal.description
        case .bytes(let bytes): "\(bytes)"
        }
    }

    /// Maps are numbered without a hole, and epochs only grow.
    private mutating func checkMap(_ map: ShardMap, isHeld: Bool) throws {
        guard let last = maps.last else {
            maps.append(map)
            return
        }
        if map.number == last.number {
            if map != last { try violate("there are two maps with number \(map.number)") }
            return
        }
        if map.number != last.number + 1 { try violate("map \(map.number) comes after \(last.number)") }
        for shard in map.shardIDs {
            if map[shard].epoch < last[shard].epoch {
                try violate("the epoch of shard \(shard) goes back from \(last[shard].epoch) to \(map[shard].epoch)")
            }
            guard let move = map[shard].move, move.epoch != last[shard].move?.epoch else { continue }
            if isHeld { try violate("a move of shard \(shard) begins although moves are held") }
            if !moved.insert(ShardEpoch(shard: shard, epoch: move.epoch)).inserted {
                try violate("epoch \(move.epoch) of shard \(shard) is used a second time")
            }
        }
        report.maps += 1
        maps.append(map)
        note(nil, "map \(map.number)")
    }

    /// At most one group serves a shard under an epoch.
    private mutating func checkServed(_ node: Int) throws {
        guard let replica = nodes[node].shell as? SimulatedReplica<GroupMachine> else { return }
        let gid = groups[nodes[node].group].gid
        for (shard, record) in replica.machine.shards.sorted(by: { $0.key < $1.key })
        where record.state == .serving {
            let place = ShardEpoch(shard: shard, epoch: record.epoch)
            if let other = served[place], other != gid { try violate("groups \(other) and \(gid) serve \(place)") }
            served[place] = gid
        }
    }

    // MARK: - The end

    mutating func checkLeaders() throws {
        for group in groups.indices where leader(of: group) == nil {
            try violate(
                "group \(groups[group].gid) has no leader \(options.healingTime / 2) ms after everything healed")
        }
    }

    /// Everybody is equal, every shard is served, and what is there is what the log means.
    mutating func checkConvergence() throws {
        guard let map = maps.last else {
            try violate("there is no map \(options.healingTime) ms after everything healed")
        }
        try checkSettled(map)
        for group in groups.indices {
            let gid = groups[group].gid
            guard let leader = leader(of: group), let reference = nodes[leader].shell else {
                try violate("group \(gid) has no leader at the end")
            }
            if groups[group].ailing != nil {
                try violate("a node of group \(gid) whose disk was damaged or lost has not become a voter again")
            }
            let expected = try content(reference)
            let members = reference.driver.core.membership
            for node in groups[group].nodes where members[nodes[node].id]?.incarnation == nodes[node].incarnation {
                guard let shell = nodes[node].shell else { try violate("\(nodes[node].name) is down at the end") }
                if shell.applied != reference.applied {
                    try violate(
                        "\(nodes[node].name) is at \(shell.applied.position), the leader at "
                            + "\(reference.applied.position), long after healing")
                }
                if try content(shell) != expected {
                    try violate("\(nodes[node].name) and \(nodes[leader].name) have different contents")
                }
                try checkLeftovers(node)
                try checkMemory(node, shell)
            }
            guard gid != .controller else { continue }
            try checkValues(group, reference)
            guard let replica = reference as? SimulatedReplica<GroupMachine> else { continue }
            try checkRecords(map, replica, gid)
            for shard in map.shardIDs where map[shard].gid == gid {
                if replica.machine.shards[shard]?.state != .serving {
                    try violate("group \(gid) doesn't serve shard \(shard) long after it was given to it")
                }
            }
        }
        if map.shards.contains(where: { $0.gid == .none }) { try violate("a shard belongs to nobody at the end") }
    }

    /// By the names of families.
    private func content(_ shell: ReplicaShell) throws -> [String: ContentHash] {
        let view = try shell.engine.snapshot()
        defer { view.close() }
        return try shell.families.mapValues { family in
            var hash = ContentHash()
            try view.scan(family) { key, value in
                hash.add(key: key, value: value)
                return true
            }
            return hash
        }
    }

    private func checkValues(_ group: Int, _ shell: ReplicaShell) throws {
        let view = try shell.engine.snapshot()
        defer { view.close() }
        let reader = GroupReader(shell.layout, in: view)
        for key in 0..<knobs.keys {
            let name = Self.key(key)
            guard case .success(let found) = try reader.get(name, shardCount: knobs.shardCount) else { continue }
            if found != model.values[name] {
                try violate("key\(key) has another value than the writes in the log of group \(groups[group].gid) make")
            }
        }
    }

    /// Every key's history has an order that explains it.
    mutating func checkHistories() throws {
        for key in 0..<knobs.keys {
            switch LinearizabilityChecker.check(history.observed(key)) {
            case .linearizable: continue
            case .undecided: report.undecided += 1
            case .violated(let sentence): try violate("the history of key\(key) is not linearizable: \(sentence)")
            }
        }
    }
}
