internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What a node makes of other nodes' questions, as `PeerService`, `ControllerService` and `Node` do.
extension World {
    /// Longer than that a question about the map doesn't wait for news.
    private static let mapWaitMax: UInt64 = 5_000

    mutating func answer(_ question: PeerQuestion, on node: Int, then: @escaping PeerContinuation) throws {
        let isController = groups[nodes[node].group].isController
        if case .identify(let gid, let asker) = question {
            guard gid == groups[nodes[node].group].gid, let identified = identify(node) else {
                return try then(&self, .failure(PeerFailure(KvError(.failedPrecondition, "this is another group"))))
            }
            try then(&self, .success(.identified(identified)))
            return try live(node) { [now = self.now] in $0.wasAsked(by: asker, now: now) }
        }
        guard nodes[node].shell != nil else {
            return try then(&self, .failure(PeerFailure(KvError(.unavailable, "the node is starting"))))
        }
        switch question {
        case .identify: return
        case .map(let number) where isController:
            lookForMap(newerThan: number, on: node, then: then)
        case .command(let payload) where isController:
            propose(payload, on: node) { world, result in
                switch result {
                case .success(.controller(.map(let map))): try then(&world, .success(.map(map)))
                case .success(.controller(.refused(let refusal))):
                    try then(&world, .failure(PeerFailure(Self.error(refusal))))
                case .success(.group), .success(.bytes): try world.violate("the log answered another question")
                case .failure(let error): try then(&world, .failure(PeerFailure(error)))
                }
            }
        case .whoLeads:
            let core = nodes[node].shell?.driver.core
            let leader = core.flatMap { core in core.leader.flatMap { core.membership[$0]?.address } }
            try then(&self, .success(.leader(leader)))
        case .source(let question, let party):
            if let error = misdirected(party, node) { return try then(&self, .failure(PeerFailure(error))) }
            try answer(question, on: node, then: then)
        case .stage(let order, let life):
            guard life == nodes[node].incarnation else {
                return try then(&self, .failure(PeerFailure(KvError(.failedPrecondition, "this is another life"))))
            }
            stage(order, on: node, then: then)
        case .openExport(let shard, let party):
            if let error = misdirected(party, node) { return try then(&self, .failure(PeerFailure(error))) }
            try openExport(shard, on: node, then: then)
        case .changes(let shard, let party, let index):
            if let error = misdirected(party, node) { return try then(&self, .failure(PeerFailure(error))) }
            view(on: node, otherwise: then) { world, reader in
                guard
                    let page = try reader.changes(of: shard, after: index, bytesMax: world.knobs.changesBytesMax)
                else {
                    let error = KvError(.failedPrecondition, "\(shard) is not on the move")
                    return try then(&world, .failure(PeerFailure(error)))
                }
                world.nodes[node].desks.source.renew(shard.shard, now: world.now)
                try then(&world, .success(.changes(page, checksum: page.checksum)))
            }
        case .readExport(let id, let row): try readExport(id, from: row, on: node, then: then)
        case .closeExport(let id):
            if nodes[node].desks.exports.close(id) { nodes[node].desks.files[id] = nil }
            try then(&self, .success(.done))
        case .snapshot(let life): try openSnapshot(for: life, on: node, then: then)
        case .map, .command:
            try then(&self, .failure(PeerFailure(KvError(.failedPrecondition, "this is no controller"))))
        }
    }

    /// Addresses are used again, and maps are old.
    private func misdirected(_ party: Party, _ node: Int) -> KvError? {
        let group = groups[nodes[node].group]
        guard party.clusterID == groups[0].identity, party.gid == group.gid else {
            return KvError(.failedPrecondition, "this node is of another cluster or group than was meant")
        }
        guard party.identity.isEmpty || party.identity == group.identity else {
            return KvError(.failedPrecondition, "the group was founded anew since the asker's map was made")
        }
        return nil
    }

    static func error(_ refusal: ControllerRefusal) -> KvError {
        let code: KvError.Code =
            switch refusal.kind {
            case .invalid: .invalidArgument
            case .notFound: .notFound
            case .precondition: .failedPrecondition
            case .busy: .busy
            }
        return KvError(code, refusal.description)
    }

    // MARK: - The map

    /// A question about the map: answered at once if there is news, or when `ControllerCore` says so.
    private mutating func lookForMap(newerThan: UInt64?, on node: Int, then: @escaping PeerContinuation) {
        readMap(on: node) { world, result in
            guard case .success(let map) = result, let newerThan, map.map({ $0.number <= newerThan }) ?? true else {
                return try Self.tell(result, &world, then)
            }
            let number = world.takeNumber()
            world.nodes[node].polls[number] = then
            let now = world.now
            try world.act(on: node) {
                $0.wait(number, newerThan: map == nil ? nil : newerThan, until: now + Self.mapWaitMax, now: now)
            }
        }
    }

    mutating func release(_ number: UInt64, on node: Int) {
        guard let then = nodes[node].polls.removeValue(forKey: number) else { return }
        readMap(on: node) { world, result in try Self.tell(result, &world, then) }
    }

    private mutating func readMap(
        on node: Int, then: @escaping (inout World, Result<ShardMap?, KvError>) throws -> Void
    ) {
        read(on: node) { world, result in
            switch result {
            case .failure(let error): try then(&world, .failure(error))
            case .success(let view):
                let map = try world.nodes[node].layout.flatMap {
                    try ControllerMachine.map(number: nil, layout: $0, in: view)
                }
                try then(&world, .success(map))
            }
        }
    }

    private static func tell(
        _ result: Result<ShardMap?, KvError>, _ world: inout World, _ then: PeerContinuation
    ) throws {
        switch result {
        case .failure(let error): try then(&world, .failure(PeerFailure(error)))
        case .success(let map?): try then(&world, .success(.map(map)))
        case .success(nil):
            try then(&world, .failure(PeerFailure(KvError(.unavailable, "the controller is not initialised yet"))))
        }
    }

    // MARK: - The source of a move

    private mutating func answer(
        _ question: SourceQuestion, on node: Int, then: @escaping PeerContinuation
    ) throws {
        var call = SourceCall(question)
        call.plant = options.plant?.inMoves
        try take(call.begin(), call, on: node, then)
    }

    private mutating func take(
        _ step: SourceCall.Step, _ call: SourceCall, on node: Int, _ then: @escaping PeerContinuation
    ) throws {
        func heard(_ finding: SourceCall.Finding, _ world: inout World) throws {
            var call = call
            let next = call.heard(finding, &world.nodes[node].desks.source, now: world.now)
            try world.take(next, call, on: node, then)
        }
        switch step {
        case .prepared(let prepared): try then(&self, .success(.prepared(prepared)))
        case .frozen(let frozen): try then(&self, .success(.frozen(frozen)))
        case .done: try then(&self, .success(.done))
        case .refused(let error, let alarm):
            if let alarm { try violate("\(nodes[node].name): \(alarm)") }
            try then(&self, .failure(PeerFailure(error)))
        case .propose(let command):
            propose(command.encoded, on: node) { world, result in
                switch result {
                case .success(.group(.stepped)): try heard(.stepped, &world)
                case .success(.group(.outOfStep(let why))): try heard(.outOfStep(why), &world)
                case .success: try world.violate("the log answered another question")
                case .failure(let error): try then(&world, .failure(PeerFailure(error)))
                }
            }
        case .look(let shard):
            view(on: node, otherwise: then) { world, reader in
                try heard(.looked(try SourceCall.Sight(shard, in: reader)), &world)
            }
        case .scan(let shard):
            view(on: node, otherwise: then) { world, reader in
                let sight = try SourceCall.Sight(shard.shard, scannedUnder: shard.epoch, in: reader)
                try heard(.looked(sight), &world)
            }
        }
    }

    /// What is on the disk a little later.
    ///
    /// - Parameter otherwise: something on the disk can't be read.
    mutating func view(
        on node: Int, otherwise: @escaping PeerContinuation,
        _ body: @escaping (inout World, GroupReader) throws -> Void
    ) {
        after(delay(network.diskDelayMax), on: node) { world in
            guard let shell = world.nodes[node].shell else { return }
            let view = try shell.engine.snapshot()
            defer { view.close() }
            do { try body(&world, GroupReader(shell.layout, in: view)) } catch let error as EngineError {
                try world.noticeDamage(node, error)
                try otherwise(&world, .failure(PeerFailure(KvError(.internal, error.description))))
            }
        }
    }

    // MARK: - Exports

    private mutating func openExport(
        _ shard: ShardEpoch, on node: Int, then: @escaping PeerContinuation
    ) throws {
        _ = nodes[node].desks.exports.removeIdle(now: now)
        let subject = ExportTable.Subject(shard: shard, formats: [])
        let id = takeNumber()
        switch nodes[node].desks.exports.open(subject, as: id, now: now) {
        case .full: try then(&self, .failure(PeerFailure(KvError(.busy, "too many exports are open"))))
        case .ready(let shared):
            guard let file = nodes[node].desks.files[shared] else {
                try violate("\(nodes[node].name) knows export \(shared), and hasn't got it")
            }
            try then(&self, .success(.export(file.offer)))
        case .wait(let shared): nodes[node].desks.waiting[shared, default: []].append(then)
        case .make:
            nodes[node].desks.waiting[id] = [then]
            view(
                on: node,
                otherwise: { world, failure in
                    world.nodes[node].desks.exports.failed(id)
                    for then in world.nodes[node].desks.waiting.removeValue(forKey: id) ?? [] {
                        try then(&world, failure)
                    }
                },
                { world, reader in try world.makeExport(id, of: shard, reader, on: node) })
        }
    }

    private mutating func makeExport(
        _ id: UInt64, of shard: ShardEpoch, _ reader: GroupReader, on node: Int
    ) throws {
        guard let shell = nodes[node].shell else { return }
        guard let moving = try reader.moving(shard) else {
            let waiting = nodes[node].desks.waiting.removeValue(forKey: id) ?? []
            nodes[node].desks.exports.failed(id)
            let error = KvError(.failedPrecondition, "\(shard) is not on the move")
            for then in waiting { try then(&self, .failure(PeerFailure(error))) }
            return
        }
        var file = WorldNode.ExportFile(offer: ExportOffer(id: id, through: moving.through))
        if case .family(let family) = moving.rows {
            let view = try shell.engine.snapshot()
            defer { view.close() }
            var hash = ContentHash()
            try view.scan(family) { key, value in
                file.rows.append((Array(key), Array(value)))
                hash.add(key: key, value: value)
                return true
            }
            file.offer.contentHash = hash.description
            file.offer.count = file.rows.count
        }
        nodes[node].desks.files[id] = file
        nodes[node].desks.exports.made(id, now: now)
        for then in nodes[node].desks.waiting.removeValue(forKey: id) ?? [] {
            try then(&self, .success(.export(file.offer)))
        }
    }

    private mutating func readExport(
        _ id: UInt64, from row: Int, on node: Int, then: @escaping PeerContinuation
    ) throws {
        guard nodes[node].desks.exports.beginRead(id), let file = nodes[node].desks.files[id] else {
            return try then(&self, .failure(PeerFailure(KvError(.notFound, "no such export"))))
        }
        let piece = Array(file.rows.dropFirst(row).prefix(knobs.rowsInPiece))
        after(delay(network.diskDelayMax), on: node) { world in
            world.nodes[node].desks.exports.endRead(id, now: world.now)
            try then(&world, .success(.rows(piece)))
        }
    }

    /// Of the whole group, for a member that lacks what its log has mapped.
    private mutating func openSnapshot(
        for life: Incarnation, on node: Int, then: @escaping PeerContinuation
    ) throws {
        guard let shell = nodes[node].shell else { return }
        guard shell.driver.core.membership.members.contains(where: { $0.incarnation == life }) else {
            let error = KvError(.failedPrecondition, "the receiver is not a member of the group")
            return try then(&self, .failure(PeerFailure(error)))
        }
        guard shell.driver.waitsFor == nil else {
            let error = KvError(.unavailable, "this node waits for a snapshot itself")
            return try then(&self, .failure(PeerFailure(error)))
        }
        let (header, contents): (SnapshotHeader, [[FamilyRow]])
        do throws(EngineError) { (header, contents) = try snapshot(of: shell) } catch {
            try noticeDamage(node, error)
            return try then(&self, .failure(PeerFailure(KvError(.internal, error.description))))
        }
        after(UInt64.random(in: 5...(isCalm ? 200 : 1_500), using: &random), on: node) { world in
            try then(&world, .success(.snapshot(header, contents)))
        }
    }
}
