internal import Keyspace
internal import RaftLog
internal import Sharding

/// The shell of a `MoveDriver`, as `ShardMover` is: it tells the driver what happens, and carries out what it asks for.
extension World {
    /// As `ControllerLink` has them: for a question about the map, and for reports.
    private static let mapPatience: UInt64 = 8_000
    private static let reportPatience: UInt64 = 5_000
    /// As `PeerCalls` has them.
    private static let sourcePatience: UInt64 = 30_000
    private static let stagePatience: UInt64 = 600_000
    private static let snapshotPatience: UInt64 = 600_000

    /// In the end nothing is proposed any more, so that replicas can be compared.
    var isEnding: Bool { now + 1_000 >= options.faultyTime + options.healingTime }

    private func standing(_ node: Int, _ shell: ReplicaShell) -> MoveDriver.Standing {
        let core = shell.driver.core
        let group = groups[nodes[node].group].nodes
        // Messages come from addresses.
        let heard = core.leader.flatMap { Int(exactly: $0.rawValue) }.flatMap { group.indices.contains($0) ? $0 : nil }
        return MoveDriver.Standing(
            id: core.id, leads: core.isLeader && core.hasCommittedInTerm, term: core.term, leader: core.leader,
            leaderAddress: heard.map { nodes[group[$0]].address }, membership: core.membership,
            waitsFor: shell.driver.waitsFor, identity: groups[nodes[node].group].identity)
    }

    mutating func newDriver(_ node: Int, _ shell: ReplicaShell) -> MoveDriver {
        var driver = MoveDriver(
            group: groups[nodes[node].group].gid, clusterID: groups[0].identity, standing(node, shell), now: now)
        driver.limits = knobs.copying
        driver.plant = options.plant?.inMoves
        return driver
    }

    /// A round may have made another of the replica.
    mutating func followReplica(_ node: Int, _ shell: ReplicaShell) throws {
        guard nodes[node].driver != nil else { return }
        let seen = WorldNode.Seen(
            leads: shell.driver.core.isLeader && shell.driver.core.hasCommittedInTerm, term: shell.driver.core.term,
            leader: shell.driver.core.leader, membershipIndex: shell.driver.core.membership.index,
            waitsFor: shell.driver.waitsFor)
        guard seen != nodes[node].seen else { return }
        nodes[node].seen = seen
        try pump(node)
    }

    mutating func pump(_ node: Int, _ answer: MoveAnswer? = nil, to id: UInt64 = 0) throws {
        guard let shell = nodes[node].shell, nodes[node].driver != nil, !isEnding else { return }
        let standing = standing(node, shell)
        nodes[node].driver?.observe(standing)
        if let answer { nodes[node].driver?.heard(answer, to: id, now: now) }
        guard let effects = nodes[node].driver?.effects(now: now), let alarm = nodes[node].driver?.wakeAt else {
            return
        }
        if let map = effects.map {
            note(node, "hears of map \(map.number)")
            nodes[node].map = map
        }
        for text in effects.notes { note(node, "\(text)") }
        for ask in effects.asks {
            let life = nodes[node].life
            try carryOut(ask.question, on: node) { world, answer in
                world.queue.schedule(.moveAnswer(node: node, life: life, answer, to: ask.id), at: world.now)
            }
        }
        guard alarm != nodes[node].alarm else { return }
        nodes[node].alarm = alarm
        queue.schedule(.alarm(node: node, life: nodes[node].life), at: alarm)
    }

    /// Rings for whoever still wants it.
    mutating func alarmRings(_ node: Int) throws {
        guard nodes[node].alarm <= now else { return }
        nodes[node].alarm = 0
        try pump(node)
    }

    // MARK: - Questions

    private typealias Hear = (inout World, MoveAnswer) throws -> Void

    private static func failed(_ failure: PeerFailure) -> MoveAnswer {
        .failed(
            MoveAnswer.Failure(
                failure.reason,
                isForGood: [.failedPrecondition, .invalidArgument].contains(failure.refusal?.code),
                isBusy: failure.refusal?.code == .busy))
    }

    private static func answer(_ result: PeerResult, by leader: String? = nil) -> MoveAnswer {
        switch result {
        case .failure(let failure): failed(failure)
        case .success(.map(let map)): .map(map)
        case .success(.prepared(let prepared)): .prepared(prepared, by: leader)
        case .success(.frozen(let frozen)): .frozen(frozen, by: leader)
        case .success(.staged(let isActivated)): .staged(isActivated: isActivated)
        case .success: .done
        }
    }

    private mutating func carryOut(_ question: MoveQuestion, on node: Int, _ hear: @escaping Hear) throws {
        let group = groups[nodes[node].group]
        switch question {
        case .map(let number):
            try askController(.map(newerThan: number), by: node, within: Self.mapPatience) { world, result in
                try hear(&world, Self.answer(result))
            }
        case .records: look(on: node, hear) { .records(try $0.records()) }
        case .decision(let shard): look(on: node, hear) { .decision(try $0.decision(shard)) }
        case .command(let command):
            propose(command.encoded, on: node) { world, result in
                switch result {
                case .success(.group(.stepped)): try hear(&world, .done)
                case .success(.group(.outOfStep(let why))):
                    try hear(&world, .failed(MoveAnswer.Failure(why, isForGood: true)))
                case .success: try world.violate("the log answered another question")
                case .failure(let error): try hear(&world, Self.failed(PeerFailure(error)))
                }
            }
        case .leader(let addresses):
            try askWhoLeads(addresses, by: node) { world, leader in try hear(&world, .leader(leader)) }
        case .prepare(let shard, let source, let pace):
            try askSource(.prepare(shard, for: group.gid, pace), source, by: node, hear)
        case .freeze(let shard, let source):
            try askSource(.freeze(shard, for: group.gid), source, by: node, hear)
        case .collect(let shard, let decision, let source):
            try askSource(.collect(shard, decision), source, by: node, hear)
        case .stage(let order, let member):
            guard let to = nodesByAddress[member.address] else {
                return try hear(&self, .failed(MoveAnswer.Failure("\(member.address) is not an address")))
            }
            ask(.stage(order, life: member.incarnation), at: to, by: node, within: Self.stagePatience) {
                world, result in try hear(&world, Self.answer(result))
            }
        case .report(let shard, let event):
            let command = ControllerCommand.report(shard: shard.shard, epoch: shard.epoch, event: event)
            try report(command, by: node, hear)
        case .reportGroup(let addresses, let index, let identity):
            let command = ControllerCommand.relocate(
                group.gid, addresses, membershipIndex: index, identity: identity)
            try report(command, by: node, hear)
        case .fetch(let order):
            stage(order, on: node) { world, result in try hear(&world, Self.answer(result)) }
        case .snapshot(_, let address, let term): try fetchSnapshot(from: address, term, on: node, hear)
        case .sessions:
            view(on: node, otherwise: { world, failure in try hear(&world, Self.answer(failure)) }) { world, reader in
                try hear(&world, .sessionIsDue(try world.isSessionDue(reader, node)))
            }
        case .sweep: sweepStaged(node) { world, undecided in try hear(&world, .undecided(undecided)) }
        }
    }

    private mutating func look(
        on node: Int, _ hear: @escaping Hear, _ body: @escaping (GroupReader) throws -> MoveAnswer
    ) {
        read(on: node) { world, result in
            switch result {
            case .failure(let error): try hear(&world, Self.failed(PeerFailure(error)))
            case .success(let view):
                guard let layout = world.nodes[node].layout else { return }
                try hear(&world, try body(GroupReader(layout, in: view)))
            }
        }
    }

    private mutating func askSource(
        _ question: SourceQuestion, _ source: SourceGroup, by node: Int, _ hear: @escaping Hear
    ) throws {
        try askLeader(
            .source(question, source.party), of: source.addresses, first: source.leader, by: node,
            within: Self.sourcePatience
        ) { world, result, address in
            try hear(&world, Self.answer(result, by: address))
        }
    }

    private mutating func askController(
        _ question: PeerQuestion, by node: Int, within patience: UInt64, then: @escaping PeerContinuation
    ) throws {
        try askLeader(
            question, of: controllerAddresses, first: nodes[node].controllerLeader, by: node, within: patience
        ) { world, result, address in
            if case .success = result {
                world.nodes[node].controllerLeader = address
            } else {
                world.nodes[node].controllerLeader = nil
            }
            try then(&world, result)
        }
    }

    private mutating func report(_ command: ControllerCommand, by node: Int, _ hear: @escaping Hear) throws {
        try askController(.command(command.encoded(requestID: [])), by: node, within: Self.reportPatience) {
            world, result in
            try hear(&world, Self.answer(result.map { _ in .done }))
        }
    }

    // MARK: - Snapshots and sessions

    /// One at a time; one of a later term takes the place of what an earlier leader has sent.
    private mutating func fetchSnapshot(
        from address: String, _ term: Term, on node: Int, _ hear: @escaping Hear
    ) throws {
        guard let from = nodesByAddress[address] else {
            return try hear(&self, .failed(MoveAnswer.Failure("\(address) is not an address")))
        }
        guard let turn = nodes[node].core?.beginReceiving(term) else {
            return try hear(&self, .failed(MoveAnswer.Failure("another snapshot is being received")))
        }
        ask(.snapshot(for: nodes[node].incarnation), at: from, by: node, within: Self.snapshotPatience) {
            world, result in
            guard world.nodes[node].core?.isReceiving(turn) == true else {
                return try hear(&world, .failed(MoveAnswer.Failure("another transfer took its place")))
            }
            world.nodes[node].core?.endReceiving(turn)
            switch result {
            case .failure(let failure): try hear(&world, Self.failed(failure))
            case .success(.snapshot(let header, let contents)):
                guard let shell = world.nodes[node].shell else { return }
                world.note(node, "loaded snapshot at \(header.applied.position) for what it lacks")
                world.report.snapshots += 1
                world.post(.install(try shell.load(header, contents)), to: node)
                try hear(&world, .done)
            case .success: try world.violate("a question was answered as another one")
            }
        }
    }

    private func isSessionDue(_ reader: GroupReader, _ node: Int) throws -> Bool {
        for (shard, record) in try reader.records() where record.state == .serving {
            if let end = try reader.firstSessionEnd(shard), end <= wall(node) + record.timeShift { return true }
        }
        return false
    }
}
