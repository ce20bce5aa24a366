internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// A target member's side of moves, as `MoveTarget` carries it out: a copy of a shard is fetched, loaded into a family that
/// nothing maps, checked, noted beside the log, and follows what changes at the source.
extension World {
    /// As `PeerCalls` has it.
    private static let changesPatience: UInt64 = 5_000

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
                case nil: try reader.staged(shard).map { .staged($0) } ?? .absent
                }
            var call = call
            switch call.heard(known, &world.nodes[node].desks.target) {
            case .look: world.look(call, on: node, then)
            case .fetch:
                try world.fetch(Incoming(call: call, then: then), on: node)
            case .follow(let index):
                let nobody = PeerFailure("group \(call.order.source.gid) has no members")
                try world.follow(call, after: index, from: call.order.addresses[...], nobody, on: node, then)
            case .take: try world.violate("a page was taken in before it came")
            case .discard(let error):
                world.report.damaged += 1
                try world.discard(shard, reader, on: node)
                try world.end(call, on: node, .failure(PeerFailure(error)), then)
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

    // MARK: - Following

    /// Asks one source after the other, until one has more.
    private mutating func follow(
        _ call: StageCall, after index: LogIndex, from addresses: ArraySlice<String>, _ last: PeerFailure,
        on node: Int, _ then: @escaping PeerContinuation
    ) throws {
        guard let address = addresses.first else { return try end(call, on: node, .failure(last), then) }
        let others = addresses.dropFirst()
        guard let source = nodesByAddress[address] else {
            return try follow(call, after: index, from: others, last, on: node, then)
        }
        let order = call.order
        ask(
            .changes(order.shard, order.source, after: index), at: source, by: node, within: Self.changesPatience
        ) { world, result in
            switch result {
            case .failure(let failure):
                try world.follow(call, after: index, from: others, failure, on: node, then)
            case .success(.changes(let sent, let checksum)):
                var (call, page) = (call, sent)
                world.damage(&page, on: node)
                if let refusal = call.refusal(of: page, checksum: checksum) {
                    world.report.damaged += 1
                    return try world.follow(call, after: index, from: others, PeerFailure(refusal), on: node, then)
                }
                switch call.changed(page) {
                case .take(let page, let copy): world.take(page, into: copy, call, on: node, then)
                case .refused(let error):
                    try world.follow(call, after: index, from: others, PeerFailure(error), on: node, then)
                default: try world.violate("a page was answered with another step")
                }
            case .success: try world.violate("a question was answered as another one")
            }
        }
    }

    /// The rows and what is noted of them go to the disk together, unless the log has mapped the copy meanwhile.
    private mutating func take(
        _ page: ShardChanges, into copy: StagedShard, _ call: StageCall, on node: Int,
        _ then: @escaping PeerContinuation
    ) {
        after(delay(network.diskDelayMax), on: node) { world in
            guard let shell = world.nodes[node].shell else { return }
            guard world.nodes[node].fullUntil <= world.now else {
                let failure = PeerFailure(KvError(.busy, "no space left on the disk"))
                return try world.end(call, on: node, .failure(failure), then)
            }
            let name = StagedShard.name(call.order.shard)
            let view = try shell.engine.snapshot()
            defer { view.close() }
            do throws(EngineError) {
                guard let staged = try shell.layout.staged(name, in: view), staged.note == copy.encoded else {
                    return world.look(call, on: node, then)
                }
                var (next, family, batch) = (copy, staged.family, WriteBatch())
                if family == nil, !page.rows.isEmpty { family = try shell.familyTable.take() }
                if let family {
                    for row in page.rows {
                        // A new one is younger than the view.
                        let isNew = staged.family == nil
                        next.take(row, before: isNew ? nil : try view.get(family, key: row.key))
                        if let value = row.value {
                            batch.put(family, key: row.key, value: value)
                        } else {
                            batch.delete(family, key: row.key)
                        }
                    }
                }
                let note = call.noted(next, with: page).encoded
                shell.layout.putStaged(name, StagedFamily(family: family, note: note), in: &batch)
                try shell.engine.write(batch, durability: .synced)
            } catch {
                try world.noticeDamage(node, error)
                let failure = PeerFailure(KvError(.internal, error.description))
                return try world.end(call, on: node, .failure(failure), then)
            }
            world.nodes[node].stagedAt = world.now
            world.look(call, on: node, then)
        }
    }

    /// What was staged is good for nothing.
    private mutating func discard(_ shard: ShardEpoch, _ reader: GroupReader, on node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        let name = StagedShard.name(shard)
        guard let staged = try shell.layout.staged(name, in: view) else { return }
        var batch = WriteBatch()
        shell.layout.deleteStaged(name, in: &batch)
        try shell.engine.write(batch, durability: .synced)
        if let family = staged.family { try shell.engine.dropFamily(family) }
    }

    private mutating func damage(_ page: inout ShardChanges, on node: Int) {
        guard !isCalm, !page.rows.isEmpty, chance(2) else { return }
        let row = Int.random(in: page.rows.indices, using: &random)
        page.rows[row].value = page.rows[row].value == nil ? [] : nil
        note(node, "a change is damaged on its way")
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
        guard offer.contentHash != nil else {
            after(delay(network.diskDelayMax), on: node) { world in
                try world.noteStaged(nil, StagedShard(hashes: ShardHashes(), sessions: 0), offer, incoming, on: node)
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
                let whole = StagedShard(hashes: Self.hashes(of: incoming.rows), sessions: 0)
                return try world.noteStaged(family, whole, offer, incoming, on: node)
            }
            world.after(world.delay(world.network.diskDelayMax), on: node) { world in
                guard let shell = world.nodes[node].shell else { return }
                if try world.hasNoRoom(for: call, dropping: family, incoming, on: node) { return }
                try World.write(incoming.rows[half...], to: family, shell, .synced)
                try world.readBack(family, offer, incoming, on: node)
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
    private mutating func readBack(
        _ family: FamilyID, _ offer: ExportOffer, _ incoming: Incoming, on node: Int
    ) throws {
        guard let shell = nodes[node].shell else { return }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        let found = try ShardRows.hashes(of: family, in: view)
        if let refusal = incoming.call.refusal(ofLoaded: found, sent: offer.contentHash) {
            report.damaged += 1
            try shell.engine.dropFamily(family)
            return try end(incoming.call, on: node, .failure(PeerFailure(refusal)), incoming.then)
        }
        let copy = StagedShard(hashes: found, sessions: try ShardRows.sessions(of: family, in: view))
        after(delay(network.diskDelayMax), on: node) { world in
            try world.noteStaged(family, copy, offer, incoming, on: node)
        }
    }

    /// On the disk before anyone hears of it.
    private mutating func noteStaged(
        _ family: FamilyID?, _ copy: StagedShard, _ offer: ExportOffer, _ incoming: Incoming, on node: Int
    ) throws {
        guard let shell = nodes[node].shell else { return }
        if try hasNoRoom(for: incoming.call, dropping: family, incoming, on: node) { return }
        let order = incoming.call.order
        var copy = copy
        copy.through = offer.through
        let note = copy.encoded
        var batch = WriteBatch()
        shell.layout.putStaged(
            StagedShard.name(order.shard), StagedFamily(family: family, note: note), in: &batch)
        try shell.engine.write(batch, durability: .synced)
        nodes[node].stagedAt = now
        self.note(node, "has staged \(order.shard) as of \(offer.through)")
        look(incoming.call, on: node, incoming.then)
    }

    private static func hashes(of rows: [FamilyRow]) -> ShardHashes {
        var hashes = ShardHashes()
        for row in rows {
            row.key.withUnsafeBytes { key in
                row.value.withUnsafeBytes { ShardRows.add(key: key, value: $0, to: &hashes) }
            }
        }
        return hashes
    }

    /// Forgets what no entry of the log can map any more, and says what is staged besides.
    mutating func sweepStaged(_ node: Int, then: @escaping (inout World, [ShardEpoch]) throws -> Void) {
        // As of before the look: what is fetched meanwhile was not stale then.
        let desk = nodes[node].desks.target
        view(on: node, otherwise: { world, _ in try then(&world, []) }) { world, reader in
            guard world.nodes[node].fullUntil <= world.now else { return try then(&world, []) }
            guard let shell = world.nodes[node].shell else { return }
            var batch = WriteBatch()
            var dropped: [FamilyID] = []
            let view = try shell.engine.snapshot()
            defer { view.close() }
            let stale = try reader.staleStagedShards()
            let undecided = try reader.undecided()
            if !stale.isEmpty || !undecided.isEmpty {
                world.note(node, "sweeps \(stale), and has yet to hear of \(undecided)")
            }
            for shard in desk.removable(stale) {
                guard let staged = try shell.layout.staged(StagedShard.name(shard), in: view) else { continue }
                shell.layout.deleteStaged(StagedShard.name(shard), in: &batch)
                if let family = staged.family { dropped.append(family) }
            }
            if !batch.isEmpty {
                try shell.engine.write(batch, durability: .synced)
                for family in dropped { try shell.engine.dropFamily(family) }
            }
            try then(&world, undecided)
        }
    }
}
