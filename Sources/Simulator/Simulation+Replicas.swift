internal import Bytes
internal import Engines
internal import RaftLog

/// Carries out what drivers say, as `ReplicaHost` and a node's transport do.
extension Simulation {
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
        nodes[node].lastBefore = shell.driver.core.lastPosition
        nodes[node].roundBefore = shell.driver.core.isLeader ? shell.driver.core.readRound : 0
        let refusals = try shell.round(now: now, wall: wall(node), tickInterval: knobs.tickInterval) { effects in
            try carryOut(effects, shell, node)
        }
        for refusal in refusals {
            knowledge.proposals[refusal.token] = nil
            knowledge.reads[refusal.token] = nil
            if refusal.isBusy { report.busy += 1 }
        }
        for verdict in shell.verdicts { try heard(verdict, shell, node) }
    }

    private mutating func heard(_ verdict: ReplicaShell.Verdict, _ shell: ReplicaShell, _ node: Int) throws {
        switch verdict {
        case .proposal(_, .success): try checkAdmission(shell, node)
        case .change(let change, .success(let position)):
            note(node, "\(change) at \(position)")
            report.changes += 1
        case .read(let token, isTaken: true):
            if shell.driver.core.isLeader { knowledge.reads[token]?.term = shell.driver.core.term }
            knowledge.reads[token]?.round = nodes[node].roundBefore
            knowledge.reads[token]?.members = shell.driver.core.membership.index
        case .transfer(isTaken: true):
            knowledge.excusedUntil = now + Self.excuse
            nodes[node].handsOverSince = now
        case .proposal, .change, .read, .transfer: return
        }
    }

    private mutating func carryOut(_ effects: ReplicaDriver.Effects, _ shell: ReplicaShell, _ node: Int) throws {
        try observe(node)
        if effects.isEmpty { return }
        for message in effects.messages { try send(message, from: node) }
        if let request = effects.write {
            note(node, "write \(request.serial): \(Self.describe(request))")
            try checkLogMatching(request, node)
            shell.enqueue(request)
            beginWriting(node)
        }
        for token in effects.readyReads { try readIsReady(node, token) }
        for token in effects.failedReads { knowledge.reads[token] = nil }
        for token in effects.unknownProposals { knowledge.proposals[token] = nil }
        for needed in effects.neededEntries { try readEntries(node, needed.peer, needed.from, needed.through) }
        for member in effects.neededSnapshots {
            try checkAttempts(node, member.id)
            try sendSnapshot(node, to: member)
        }
        for family in effects.discardedFamilies { try shell.engine.dropFamily(family) }
    }

    private mutating func send(_ message: Message, from node: Int) throws {
        try checkPromise(message, node)
        let target = Int(message.to.rawValue)
        guard nodes.indices.contains(target) else { return }
        if cut.contains(Link(from: message.from, to: message.to)) || chance(lossPercent) {
            note(node, "lose \(describe(message))")
            return
        }
        queue.schedule(.deliver(message, isLate: false), at: now + delay(delayMax))
        if chance(repeatPercent) {
            // Sometimes very old.
            let late = chance(knobs.latePercent) ? UInt64.random(in: 100...5_000, using: &random) : delayMax * 3
            queue.schedule(.deliver(message, isLate: true), at: now + late)
        }
    }

    // MARK: - The disk

    mutating func beginWriting(_ node: Int) {
        guard let shell = nodes[node].shell, shell.beginWriting() else { return }
        if shell.writing.contains(where: \.needsSync) { nodes[node].syncingSince = now }
        let stall = !isHealed && chance(1) ? UInt64.random(in: 100...1_500, using: &random) : 0
        if stall > 0 { note(node, "its disk stands still for \(stall) ms") }
        queue.schedule(.written(node: node, life: nodes[node].life), at: now + delay(diskDelayMax) + stall)
    }

    /// The disk is done. Whoever proposed hears at once, the driver a little later.
    mutating func write(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        var isUnsynced = options.plant == .acknowledgeBeforeSync
        if nodes[node].failsNextSync {
            nodes[node].failsNextSync = false
            guard options.plant == .goesOnAfterFailedSync else {
                return try crash(node, powerFails: false, syncFails: true)
            }
            isUnsynced = true
        }
        let written: ReplicaShell.Written
        do { written = try write(shell, node, isUnsynced: isUnsynced) } catch let error as EngineError {
            // The replica stops, and says why.
            try noticeDamage(node, error)
            return nodes[node].forget()
        }
        nodes[node].syncingSince = nil
        if let first = written.completions.first, let last = written.completions.last {
            note(node, "written \(first.serial)...\(last.serial)")
        }
        for completion in written.completions { completed(completion, node) }
        for answer in written.answers { acknowledge(answer.token, shell.applied.position) }
        for token in written.abandoned { knowledge.proposals[token] = nil }
        beginWriting(node)
    }

    /// - Parameter isUnsynced: the disk says "done", and has it in its cache only.
    @discardableResult
    mutating func write(
        _ shell: SimulatedReplica<JournalMachine>, _ node: Int, isUnsynced: Bool
    ) throws -> ReplicaShell.Written {
        let engine = nodes[node].engine
        var early: [FamilyID] = []
        let written = try shell.write(durability: isUnsynced ? .buffered : nil) { families in
            // The disk must have forgotten them: what survives a power cut now may not name them.
            let rows = try? GroupStorageRows.load(shell.layout, in: engine.durableSnapshot())
            early = families.filter { rows?.families.values.contains($0) == true }
        }
        if let family = early.first, !isUnsynced {
            try violate("n\(nodes[node].id) drops \(family), which its disk still maps")
        }
        for applied in written.applied { try noteApplied(applied.entry, node) }
        try checkLogTime(shell.applied, node)
        try checkApplied(shell.applied.position, node)
        return written
    }

    private mutating func completed(_ completion: WriteCompletion, _ node: Int) {
        guard knobs.completionDelayMax > 0 else { return post(.completed(completion), to: node) }
        let wait = UInt64.random(in: 0...knobs.completionDelayMax, using: &random)
        nodes[node].completionsUntil = max(nodes[node].completionsUntil, now + wait)
        nodes[node].completions.append(completion)
        queue.schedule(.completed(node: node, life: nodes[node].life), at: nodes[node].completionsUntil)
    }

    private mutating func readEntries(_ node: Int, _ peer: ReplicaID, _ from: LogIndex, _ through: LogIndex) throws {
        guard let shell = nodes[node].shell else { return }
        let input: ReplicaShell.Input
        do {
            let entries = try shell.layout.readEntries(
                from: from, through: through, bytesMax: knobs.driver.core.appendBytesMax,
                in: nodes[node].engine.snapshot())
            input = .entries(entries, to: peer)
        } catch {
            try noticeDamage(node, error)
            input = .entriesUnreadable(to: peer)
        }
        queue.schedule(.input(node: node, life: nodes[node].life, input), at: now + delay(diskDelayMax))
    }

    // MARK: - Snapshots and staged families

    /// - Parameter within: milliseconds that it takes at most; `nil`: long.
    mutating func sendSnapshot(_ node: Int, to member: Member, within: UInt64? = nil) throws {
        guard let shell = nodes[node].shell else { return }
        let (header, contents): (SnapshotHeader, [[(key: [UInt8], value: [UInt8])]])
        do { (header, contents) = try shell.snapshot() } catch {
            // Nothing is sent, and it is tried again after a while.
            try noticeDamage(node, error)
            return queue.schedule(
                .input(node: node, life: nodes[node].life, .snapshotEnded(to: member.id, nil)),
                at: now + delay(diskDelayMax))
        }
        note(node, "snapshot at \(header.applied.position) to n\(member.id)")
        let index = header.applied.position.index
        shell.driver.snapshotStarted(to: member.id, index: index)
        nodes[node].attempts[member.id]?.index = index
        // Late enough for the receiver to lose its disk meanwhile: whoever it is then has to find out.
        let arrival = now + UInt64.random(in: 5...(within ?? (isHealed ? 200 : 2_500)), using: &random)
        let target = Int(member.id.rawValue)
        guard nodes.indices.contains(target), !cut.contains(Link(from: nodes[node].id, to: member.id)),
            isHealed || !chance(20)
        else {
            return queue.schedule(
                .input(node: node, life: nodes[node].life, .snapshotEnded(to: member.id, nil)), at: arrival)
        }
        queue.schedule(
            .snapshotArrives(from: node, fromLife: nodes[node].life, to: target, header, contents), at: arrival)
    }

    mutating func snapshotArrives(
        from: Int, fromLife: UInt64, to node: Int, _ header: SnapshotHeader,
        _ contents: [[(key: [UInt8], value: [UInt8])]]
    ) throws {
        let position = header.applied.position
        let isFull = nodes[node].fullUntil > now
        if isFull { note(node, "no room for a snapshot") }
        if let shell = nodes[node].shell, !isFull {
            let install = try shell.load(header, contents)
            note(node, "loaded snapshot at \(position)")
            report.snapshots += 1
            post(.install(install), to: node)
        }
        guard isAlive(from, fromLife) else { return }
        let delivered = nodes[node].shell == nil || isFull ? nil : position.index
        if delivered == nodes[from].attempts[nodes[node].id]?.index {
            nodes[from].attempts[nodes[node].id]?.hasArrived = true
        }
        post(.snapshotEnded(to: nodes[node].id, delivered), to: from)
    }

    /// A replica that can't apply its next entry stages what it lacks, as long as the source has it, which is until a
    /// quorum has applied the entry; or it fetches a snapshot from any replica that could. As `MoveDriver` decides.
    mutating func fetchIfBlocked(_ node: Int) throws {
        guard let shell = nodes[node].shell, let name = shell.driver.waitsFor else { return }
        knowledge.excusedUntil = now + Self.excuse
        guard chance(isHealed ? 10 : knobs.fetchPercent), nodes[node].fullUntil <= now else { return }
        report.blocked += 1
        let next = shell.applied.position.index + 1
        let members = shell.driver.core.membership
        let applied = nodes.count {
            members[$0.id]?.incarnation == $0.incarnation && ($0.shell?.applied.position.index ?? 0) >= next
        }
        if applied < members.quorum, chance(50), let number = UInt64(name.split(separator: "/").last ?? "") {
            if try shell.layout.staged(name, in: nodes[node].engine.undamagedSnapshot()) == nil {
                note(node, "stage \(number) from the source")
                try stage(number, on: node)
                post(.staged, to: node)
            }
            return
        }
        guard let peer = nodes.indices.randomElement(using: &random), peer != node, nodes[peer].pausedUntil <= now,
            let other = nodes[peer].shell, other.driver.waitsFor == nil,
            let member = other.driver.core.membership[nodes[node].id], member.incarnation == nodes[node].incarnation
        else { return }
        note(node, "fetch a snapshot from n\(nodes[peer].id)")
        try sendSnapshot(peer, to: member)
    }

    mutating func stage(_ number: UInt64, on node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let family = try shell.familyTable.take()
        var batch = WriteBatch()
        batch.put(family, key: [1], value: bigEndianBytes(number))
        shell.layout.putStaged(
            JournalMachine.stage(number), StagedFamily(family: family, note: bigEndianBytes(number)), in: &batch)
        try nodes[node].engine.write(batch, durability: .synced)
        knowledge.staged[number, default: []].insert(nodes[node].incarnation)
    }
}
