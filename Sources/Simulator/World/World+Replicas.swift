internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Carries out what drivers say, as `ReplicaHost` and a node's transport do.
extension World {
    /// Puts an input into the inbox; a round takes it soon, perhaps with others.
    mutating func post(_ input: ReplicaShell.Input, to node: Int) {
        guard let shell = nodes[node].shell else { return }
        shell.post(input)
        guard !shell.isRoundScheduled else { return }
        shell.isRoundScheduled = true
        let wait = knobs.roundDelayMax == 0 ? 0 : UInt64.random(in: 0...knobs.roundDelayMax, using: &random)
        queue.schedule(.round(node: node, life: nodes[node].life), at: now + wait)
    }

    mutating func round(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        shell.isRoundScheduled = false
        let allowed = shell.driver.core.unappliedBytesAllowed
        let refusals = try shell.round(now: now, wall: wall(node), tickInterval: knobs.tickInterval) { effects in
            try carryOut(effects, shell, node)
        }
        // The group's own come in beside what clients have waiting.
        for case .proposal(let token?, .success) in shell.verdicts {
            guard case .request? = nodes[node].waiters[token] else { continue }
            try checkAdmission(node, shell, allowed: allowed)
        }
        try checkBounds(node, shell)
        for refusal in refusals {
            if refusal.isBusy { report.busy += 1 }
            try refuse(refusal.token, isBusy: refusal.isBusy, node)
        }
        try followMembers(node, shell)
        try followReplica(node, shell)
    }

    private mutating func carryOut(_ effects: ReplicaDriver.Effects, _ shell: ReplicaShell, _ node: Int) throws {
        try observe(node)
        if effects.isEmpty { return }
        for message in effects.messages {
            try checkPromise(message, node)
            send(message, from: node)
        }
        if let request = effects.write {
            shell.enqueue(request)
            beginWriting(node)
        }
        for token in effects.readyReads { try readIsReady(token, node) }
        for token in effects.failedReads { try refuse(token, isBusy: false, node) }
        for token in effects.unknownProposals { try outcomeUnknown(token, node) }
        for needed in effects.neededEntries { try readEntries(node, needed.peer, needed.from, needed.through) }
        for member in effects.neededSnapshots { try sendSnapshot(node, to: member) }
        for family in effects.discardedFamilies { try shell.engine.dropFamily(family) }
    }

    private mutating func beginWriting(_ node: Int) {
        guard let shell = nodes[node].shell, shell.beginWriting() else { return }
        let stall = !isCalm && chance(1) ? UInt64.random(in: 100...1_200, using: &random) : 0
        queue.schedule(
            .written(node: node, life: nodes[node].life), at: now + delay(network.diskDelayMax) + stall)
    }

    /// The disk is done. Whoever proposed hears at once, the driver a little later.
    mutating func write(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        if nodes[node].fullUntil > now {
            // Tried again and again, as `ReplicaHost` does.
            return queue.schedule(.written(node: node, life: nodes[node].life), at: now + 200)
        }
        if nodes[node].failsNextSync {
            nodes[node].failsNextSync = false
            return try crash(node, powerFails: false, syncFails: true)
        }
        let written = try shell.write()
        try noteApplied(written.applied, node)
        for completion in written.completions { try completed(completion, node) }
        for answer in written.answers { try answered(answer.token, answer.reply, node) }
        for token in written.abandoned { try outcomeUnknown(token, node) }
        beginWriting(node)
    }

    private mutating func completed(_ completion: WriteCompletion, _ node: Int) throws {
        guard knobs.completionDelayMax > 0 else { return post(.completed(completion), to: node) }
        let wait = UInt64.random(in: 0...knobs.completionDelayMax, using: &random)
        nodes[node].completionsUntil = max(nodes[node].completionsUntil, now + wait)
        nodes[node].completions.append(completion)
        queue.schedule(.completed(node: node, life: nodes[node].life), at: nodes[node].completionsUntil)
    }

    /// Completions come late and in the order of the writes.
    mutating func completionArrives(_ node: Int) {
        guard !nodes[node].completions.isEmpty else { return }
        post(.completed(nodes[node].completions.removeFirst()), to: node)
    }

    private mutating func readEntries(_ node: Int, _ peer: ReplicaID, _ from: LogIndex, _ through: LogIndex) throws {
        guard let shell = nodes[node].shell else { return }
        let input: ReplicaShell.Input
        do throws(EngineError) {
            let view = try shell.engine.snapshot()
            defer { view.close() }
            let entries = try shell.layout.readEntries(
                from: from, through: through, bytesMax: knobs.driver.core.appendBytesMax, in: view)
            input = .entries(entries, to: peer)
        } catch {
            try noticeDamage(node, error)
            input = .entriesUnreadable(to: peer)
        }
        queue.schedule(.input(node: node, life: nodes[node].life, input), at: now + delay(network.diskDelayMax))
    }

    // MARK: - Snapshots

    /// The group as it is on this replica's disk.
    func snapshot(of shell: ReplicaShell) throws(EngineError) -> (header: SnapshotHeader, contents: [[FamilyRow]]) {
        let made = try shell.snapshot()
        guard options.plant == .snapshotWithoutStaged else { return made }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        // What the log has made is in it, and what was staged beside the log is not.
        let staged = try GroupReader(shell.layout, in: view).decisions().map { ShardRecord.family($0.shard.shard) }
        return (
            made.header,
            zip(made.header.families, made.contents).map { name, rows in staged.contains(name) ? [] : rows }
        )
    }

    private mutating func sendSnapshot(_ node: Int, to member: Member) throws {
        guard let shell = nodes[node].shell else { return }
        let (header, contents): (SnapshotHeader, [[FamilyRow]])
        do throws(EngineError) { (header, contents) = try snapshot(of: shell) } catch {
            // Nothing is sent, and it is tried again after a while.
            try noticeDamage(node, error)
            return queue.schedule(
                .input(node: node, life: nodes[node].life, .snapshotEnded(to: member.id, nil)),
                at: now + delay(network.diskDelayMax))
        }
        note(node, "snapshot at \(header.applied.position) to n\(member.id)")
        shell.driver.snapshotStarted(to: member.id, index: header.applied.position.index)
        let arrival = now + UInt64.random(in: 5...(isCalm ? 200 : 1_500), using: &random)
        let members = groups[nodes[node].group].nodes
        guard let target = Int(exactly: member.id.rawValue), members.indices.contains(target),
            !network.cut.contains(Network.Link(from: node, to: members[target])), isCalm || !chance(20)
        else {
            return queue.schedule(
                .input(node: node, life: nodes[node].life, .snapshotEnded(to: member.id, nil)), at: arrival)
        }
        queue.schedule(
            .snapshotArrives(
                SnapshotParcel(
                    from: node, fromLife: nodes[node].life, to: members[target], header: header, contents: contents)),
            at: arrival)
    }

    mutating func snapshotArrives(_ parcel: SnapshotParcel) throws {
        let position = parcel.header.applied.position
        let isFull = nodes[parcel.to].fullUntil > now
        if isFull { note(parcel.to, "no room for a snapshot") }
        if let shell = nodes[parcel.to].shell, !isFull {
            let install = try shell.load(parcel.header, parcel.contents)
            note(parcel.to, "loaded snapshot at \(position)")
            report.snapshots += 1
            post(.install(install), to: parcel.to)
        }
        guard nodes[parcel.from].shell != nil, nodes[parcel.from].life == parcel.fromLife else { return }
        let delivered = nodes[parcel.to].shell == nil || isFull ? nil : position.index
        post(.snapshotEnded(to: nodes[parcel.to].id, delivered), to: parcel.from)
    }
}
