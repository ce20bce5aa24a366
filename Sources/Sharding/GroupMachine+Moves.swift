internal import Engines
internal import RaftLog

/// A group's side of every move. Each step is one log entry, and may come late or twice.
extension GroupMachine {
    // MARK: - First owner

    mutating func adopt(_ shard: ShardEpoch, shardCount: Int, in context: inout ApplyContext) -> GroupReply {
        guard learnShardCount(shardCount, in: &context) else {
            return .outOfStep("the cluster has \(self.shardCount ?? 0) shards, not \(shardCount)")
        }
        guard shards[shard.shard] == nil else { return .stepped }
        setRecord(shard.shard, ShardRecord(state: .serving, epoch: shard.epoch))
        return .stepped
    }

    // MARK: - Source

    mutating func freeze(_ shard: ShardEpoch, to target: UInt64) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        switch record.state {
        case .frozen(_, let epoch):
            return epoch == shard.epoch ? .stepped : .outOfStep("shard \(shard.shard) is frozen under epoch \(epoch)")
        case .gone: return .outOfStep("shard \(shard.shard) has gone under epoch \(record.epoch)")
        case .serving:
            guard shard.epoch > record.epoch, shard.epoch > record.rejectedEpoch else {
                return .outOfStep("epoch \(shard.epoch) of shard \(shard.shard) is over")
            }
            record.state = .frozen(to: target, epoch: shard.epoch)
            setRecord(shard.shard, record)
            return .stepped
        }
    }

    /// The caller has seen the target's committed reject.
    mutating func unfreeze(_ shard: ShardEpoch) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        if case .frozen(_, let epoch) = record.state, epoch == shard.epoch { record.state = .serving }
        record.rejectedEpoch = max(record.rejectedEpoch, shard.epoch)
        setRecord(shard.shard, record)
        return .stepped
    }

    /// The caller has seen the target's committed activation, and that the hashes agree.
    mutating func collect(_ shard: ShardEpoch, in context: inout ApplyContext) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        guard case .frozen(_, let epoch) = record.state, epoch == shard.epoch else {
            if record.state == .gone, record.epoch >= shard.epoch { return .stepped }
            return .outOfStep("shard \(shard.shard) is not frozen under epoch \(shard.epoch)")
        }
        record.state = .gone
        record.epoch = shard.epoch
        record.sessions = 0
        setRecord(shard.shard, record)
        context.unmapFamily(ShardRecord.family(shard.shard))
        forgetSessions(of: shard.shard)
        return .stepped
    }

    // MARK: - Target

    func decision(_ shard: ShardEpoch, in context: ApplyContext) throws(EngineError) -> ShardDecision? {
        guard let row = try context.stateRow(ShardDecision.key(shard)) else { return nil }
        do throws(CodingError) { return try ShardDecision(encoded: row) } catch {
            throw .corruption(place: error.place)
        }
    }

    func staged(_ shard: ShardEpoch, in context: ApplyContext) throws(EngineError) -> StagedShard? {
        guard let row = try context.stateRow(StagedShard.key(shard)) else { return nil }
        do throws(CodingError) { return try StagedShard(encoded: row) } catch { throw .corruption(place: error.place) }
    }

    mutating func stage(
        _ shard: ShardEpoch, shardCount: Int, from source: UInt64, after: [UInt8], chunk: [UInt8], last: Bool,
        in context: inout ApplyContext
    ) throws(EngineError) -> GroupReply {
        guard learnShardCount(shardCount, in: &context) else {
            return .outOfStep("the cluster has \(self.shardCount ?? 0) shards, not \(shardCount)")
        }
        if try decision(shard, in: context) != nil { return .stepped }
        if let record = shards[shard.shard] {
            guard record.state == .gone, record.epoch < shard.epoch else {
                return .outOfStep("shard \(shard.shard) is here under epoch \(record.epoch)")
            }
        }
        var stage = try staged(shard, in: context) ?? StagedShard(from: source)
        // A piece that comes again, or out of turn, changes nothing; the leader goes on from `lastKey`.
        guard !stage.isComplete, after == stage.lastKey else { return .stepped }
        let name = StagedShard.family(shard)
        let family: FamilyID
        if let mapped = context.families[name] { family = mapped } else { family = try context.mapFamily(name) }
        do throws(EngineError) {
            try PortableChunk.decode(chunk) { key, value in
                ShardRows.add(key: key, value: value, to: &stage.hashes)
                if key.first == ShardRows.session { stage.sessions += 1 }
                stage.lastKey = Array(key)
                context.put(family, stage.lastKey, Array(value))
            }
        } catch {
            // Checked when it was received; damage here means that the log itself is damaged.
            throw .corruption(place: "staged piece of shard \(shard.shard): \(error)")
        }
        stage.isComplete = last
        context.setStateRow(StagedShard.key(shard), stage.encoded)
        return .stepped
    }

    mutating func activate(
        _ shard: ShardEpoch, _ hashes: ShardHashes, logTime: UInt64, in context: inout ApplyContext
    ) throws(EngineError) -> GroupReply {
        if let decided = try decision(shard, in: context) {
            if case .activated = decided { return .stepped }
            return .outOfStep("shard \(shard.shard) was rejected under epoch \(shard.epoch)")
        }
        guard let stage = try staged(shard, in: context), stage.isComplete else {
            return .outOfStep("shard \(shard.shard) is not completely staged under epoch \(shard.epoch)")
        }
        if let record = shards[shard.shard], record.state != .gone || record.epoch >= shard.epoch {
            // Epochs only grow: what is here is newer than this copy.
            return .outOfStep("shard \(shard.shard) is here under epoch \(record.epoch)")
        }
        guard stage.hashes == hashes else {
            // Start over: what is staged isn't what the source froze.
            discardStage(shard, in: &context)
            return .outOfStep("staged shard \(shard.shard) has other hashes than the source's; copying again")
        }
        decide(shard, .activated(hashes), in: &context)
        if context.families[StagedShard.family(shard)] != nil {
            context.renameFamily(StagedShard.family(shard), to: ShardRecord.family(shard.shard))
        }
        context.setStateRow(StagedShard.key(shard), nil)
        forgetSessions(of: shard.shard)
        var record = ShardRecord(state: .serving, epoch: shard.epoch)
        record.sessions = stage.sessions
        setRecord(shard.shard, record)
        raiseTimeFloor(logTime, in: &context)
        return .stepped
    }

    mutating func reject(_ shard: ShardEpoch, in context: inout ApplyContext) throws(EngineError) -> GroupReply {
        if let decided = try decision(shard, in: context) {
            if case .rejected = decided { return .stepped }
            return .outOfStep("shard \(shard.shard) was activated under epoch \(shard.epoch)")
        }
        decide(shard, .rejected, in: &context)
        discardStage(shard, in: &context)
        return .stepped
    }

    private mutating func decide(_ shard: ShardEpoch, _ decision: ShardDecision, in context: inout ApplyContext) {
        context.setStateRow(ShardDecision.key(shard), decision.encoded)
    }

    private mutating func discardStage(_ shard: ShardEpoch, in context: inout ApplyContext) {
        context.unmapFamily(StagedShard.family(shard))
        context.setStateRow(StagedShard.key(shard), nil)
    }
}
