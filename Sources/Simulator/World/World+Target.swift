internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// A target member's side of moves, as `MoveTarget` carries it out: a frozen shard is fetched, loaded into a family that nothing
/// maps, checked, and noted beside the log.
extension World {
    /// Answered by `staged`.
    mutating func stage(_ order: StageOrder, on node: Int, then: @escaping PeerContinuation) {
        var call = StageCall(order)
        call.plant = options.plant?.inMoves
        look(call, on: node, then)
    }

    private mutating func look(_ call: StageCall, on node: Int, _ then: @escaping PeerContinuation) {
        let shard = call.order.shard
        view(on: node, otherwise: { world, failure in try world.end(call, on: node, failure, then) }) { world, reader in
            let known: StageCall.Known =
                switch try reader.decision(shard) {
                case .activated: .activated
                case .rejected: .rejected
                case nil: try reader.staged(shard).map { .staged($0.hashes) } ?? .absent
                }
            var call = call
            switch call.heard(known, &world.nodes[node].desks.target) {
            case .look: world.look(call, on: node, then)
            case .fetch:
                try world.fetch(Incoming(call: call, then: then), on: node)
            case .activated: try world.end(call, on: node, .success(.staged(isActivated: true)), then)
            case .staged:
                world.post(.staged, to: node)
                try world.end(call, on: node, .success(.staged(isActivated: false)), then)
            case .refused(let error): try world.end(call, on: node, .failure(PeerFailure(error)), then)
            }
        }
    }

    mutating func end(
        _ call: StageCall, on node: Int, _ result: PeerResult, _ then: @escaping PeerContinuation
    ) throws {
        var call = call
        call.end(&nodes[node].desks.target)
        try then(&self, result)
    }

    /// What is sent may arrive otherwise than it was: the hashes find it.
    mutating func damaged(_ rows: [FamilyRow], on node: Int) -> [FamilyRow] {
        guard !isCalm, !rows.isEmpty, chance(2) else { return rows }
        var rows = rows
        let row = Int.random(in: rows.indices, using: &random)
        if rows[row].value.isEmpty {
            rows[row].key[0] ^= 0x40
        } else {
            rows[row].value[rows[row].value.count - 1] ^= 0x01
        }
        note(node, "a row is damaged on its way")
        return rows
    }

    // MARK: - Loading

    mutating func load(_ offer: ExportOffer, _ incoming: Incoming, on node: Int) throws {
        let call = incoming.call
        if let refusal = call.refusal(ofSent: offer.contentHash) {
            return try end(call, on: node, .failure(PeerFailure(refusal)), incoming.then)
        }
        guard offer.contentHash != nil else {
            after(delay(network.diskDelayMax), on: node) { world in
                try world.noteStaged(nil, sessions: 0, incoming, on: node)
            }
            return
        }
        after(delay(network.diskDelayMax), on: node) { world in
            guard let shell = world.nodes[node].shell else { return }
            if try world.hasNoRoom(for: call, dropping: nil, incoming, on: node) { return }
            let family = try shell.familyTable.take()
            let half = incoming.rows.count / 2
            try World.write(incoming.rows[..<half], to: family, shell, .buffered)
            if world.options.plant == .activatesHalfLoaded {
                try world.noteStaged(family, sessions: 0, incoming, on: node)
            }
            world.after(world.delay(world.network.diskDelayMax), on: node) { world in
                guard let shell = world.nodes[node].shell else { return }
                if try world.hasNoRoom(for: call, dropping: family, incoming, on: node) { return }
                try World.write(incoming.rows[half...], to: family, shell, .synced)
                try world.readBack(family, incoming, on: node)
            }
        }
    }

    /// The disk is full: what was loaded goes again, and whoever asked hears of it.
    private mutating func hasNoRoom(
        for call: StageCall, dropping family: FamilyID?, _ incoming: Incoming, on node: Int
    ) throws -> Bool {
        guard nodes[node].fullUntil > now, let shell = nodes[node].shell else { return false }
        note(node, "no room for \(call.order.shard)")
        if let family { try shell.engine.dropFamily(family) }
        let failure = PeerFailure(KvError(.busy, "no space left on the disk"))
        try end(call, on: node, .failure(failure), incoming.then)
        return true
    }

    private static func write(
        _ rows: ArraySlice<FamilyRow>, to family: FamilyID, _ shell: ReplicaShell, _ durability: Durability
    ) throws {
        var batch = WriteBatch()
        for row in rows { batch.put(family, key: row.key, value: row.value) }
        if !batch.isEmpty || durability == .synced { try shell.engine.write(batch, durability: durability) }
    }

    /// What is here is what will be served.
    private mutating func readBack(_ family: FamilyID, _ incoming: Incoming, on node: Int) throws {
        if options.plant == .activatesHalfLoaded { return }
        guard let shell = nodes[node].shell else { return }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        if let refusal = incoming.call.refusal(ofLoaded: try ShardRows.hashes(of: family, in: view)) {
            report.damaged += 1
            try shell.engine.dropFamily(family)
            return try end(incoming.call, on: node, .failure(PeerFailure(refusal)), incoming.then)
        }
        let sessions = try ShardRows.sessions(of: family, in: view)
        after(delay(network.diskDelayMax), on: node) { world in
            try world.noteStaged(family, sessions: sessions, incoming, on: node)
        }
    }

    /// On the disk before anyone hears of it.
    private mutating func noteStaged(
        _ family: FamilyID?, sessions: Int, _ incoming: Incoming, on node: Int
    ) throws {
        guard let shell = nodes[node].shell else { return }
        if try hasNoRoom(for: incoming.call, dropping: family, incoming, on: node) { return }
        let order = incoming.call.order
        let note = StagedShard(hashes: order.hashes, sessions: sessions).encoded
        var batch = WriteBatch()
        shell.layout.putStaged(
            StagedShard.name(order.shard), StagedFamily(family: family, note: note), in: &batch)
        try shell.engine.write(batch, durability: .synced)
        nodes[node].stagedAt = now
        self.note(node, "has staged \(order.shard)")
        post(.staged, to: node)
        try end(incoming.call, on: node, .success(.staged(isActivated: false)), incoming.then)
    }

    /// Forgets what no entry of the log can map any more.
    mutating func sweepStaged(_ node: Int, then: @escaping (inout World) throws -> Void) {
        // As of before the look: what is fetched meanwhile was not stale then.
        let desk = nodes[node].desks.target
        view(on: node, otherwise: { world, _ in try then(&world) }) { world, reader in
            guard world.nodes[node].fullUntil <= world.now else { return try then(&world) }
            guard let shell = world.nodes[node].shell else { return }
            var batch = WriteBatch()
            var dropped: [FamilyID] = []
            let view = try shell.engine.snapshot()
            defer { view.close() }
            for shard in desk.removable(try reader.staleStagedShards()) {
                guard let staged = try shell.layout.staged(StagedShard.name(shard), in: view) else { continue }
                shell.layout.deleteStaged(StagedShard.name(shard), in: &batch)
                if let family = staged.family { dropped.append(family) }
            }
            if !batch.isEmpty {
                try shell.engine.write(batch, durability: .synced)
                for family in dropped { try shell.engine.dropFamily(family) }
            }
            try then(&world)
        }
    }
}
