internal import Bytes
internal import Engines
internal import Keyspace
internal import RaftLog

/// A group's side of every move. Each step is one log entry, and may come late or twice.
extension GroupMachine {
    // MARK: - First owner

    mutating func adopt(_ shard: ShardEpoch, shardCount: Int, in context: inout ApplyContext) -> GroupReply {
        guard learnShardCount(shardCount, in: &context) else {
            return .outOfStep("the cluster has \(self.shardCount ?? 0) shards, not \(shardCount)")
        }
        guard shard.shard.index < shardCount else { return Self.outOfRange(shard, shardCount) }
        guard shards[shard.shard] == nil || plant == .adoptsTwice else { return .stepped }
        setRecord(shard.shard, ShardRecord(state: .serving, epoch: shard.epoch))
        return .stepped
    }

    private static func outOfRange(_ shard: ShardEpoch, _ shardCount: Int) -> GroupReply {
        .outOfStep("there is no shard \(shard.shard), only 0 to \(shardCount - 1)")
    }

    // MARK: - Source

    mutating func freeze(_ shard: ShardEpoch, to target: GroupID) -> GroupReply {
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
        invariant(
            shard.epoch > record.epoch, "\(shard) was frozen for a move, and is served under epoch \(record.epoch)")
        if plant == .servesAfterCollect {
            record.state = .serving
            setRecord(shard.shard, record)
            return .stepped
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

    mutating func activate(
        _ shard: ShardEpoch, _ activation: Activation, in context: inout ApplyContext
    ) throws(EngineError) -> GroupReply {
        if let decided = try decision(shard, in: context) {
            if case .activated = decided { return .stepped }
            return .outOfStep("shard \(shard.shard) was rejected under epoch \(shard.epoch)")
        }
        if let record = shards[shard.shard], record.state != .gone || record.epoch >= shard.epoch {
            // Epochs only grow: what is here is newer than this copy.
            return .outOfStep("shard \(shard.shard) is here under epoch \(record.epoch)")
        }
        if let shardCount, shardCount != activation.shardCount {
            return .outOfStep("the cluster has \(shardCount) shards, not \(activation.shardCount)")
        }
        guard (1...Limits.shardCountMax).contains(activation.shardCount) else {
            return .outOfStep("\(activation.shardCount) shards are out of range")
        }
        guard shard.shard.index < activation.shardCount else { return Self.outOfRange(shard, activation.shardCount) }
        let lives = Set(activation.stagedBy)
        let voters = context.membership.members.filter { $0.standing == .voter }
        let staged = voters.count { lives.contains($0.incarnation) }
        guard staged >= context.membership.quorum || plant == .activatesUnstaged else {
            return .outOfStep(
                "shard \(shard.shard) is staged by \(staged) of \(voters.count) voters, and a quorum is needed")
        }
        // Everything so far is the same on every replica. From here on the entry holds, and who lacks the shard waits.
        guard let here = try StagedShard.read(shard, in: context), here.hashes == activation.hashes else {
            context.wait(forStaged: StagedShard.name(shard))
            return .outOfStep("shard \(shard.shard) is not staged here")
        }
        guard learnShardCount(activation.shardCount, in: &context) else {
            return .outOfStep("\(activation.shardCount) shards are out of range")
        }
        try decide(shard, .activated(activation.hashes), in: &context)
        try context.mapStaged(StagedShard.name(shard), as: ShardRecord.family(shard.shard))
        forgetSessions(of: shard.shard)
        let before = shards[shard.shard]
        invariant(
            before.map { $0.state == .gone && $0.epoch < shard.epoch } ?? true,
            "\(shard) would take the place of what is here: \(String(describing: before))")
        var record = ShardRecord(state: .serving, epoch: shard.epoch)
        record.sessions = here.sessions
        if plant == .leavesSessionsBehind {
            try leaveSessions(of: shard.shard, in: &context)
            record.sessions = 0
        }
        // Sessions that had ended at the source stay ended. Only this shard's time is ahead: a source whose clock was
        // wrong must not carry that into all that is here.
        let now = groupTime(in: context)
        record.timeShift = activation.logTime > now ? activation.logTime - now : 0
        setRecord(shard.shard, record)
        return .stepped
    }

    /// A planted defect: whoever has written is forgotten.
    private func leaveSessions(of shard: ShardID, in context: inout ApplyContext) throws(EngineError) {
        guard let family = context.families[ShardRecord.family(shard)] else { return }
        let rows = try context.scan(family, lower: [ShardRows.session], upper: [ShardRows.user], limit: .max)
        for row in rows { context.delete(family, row.key) }
    }

    mutating func reject(_ shard: ShardEpoch, in context: inout ApplyContext) throws(EngineError) -> GroupReply {
        if let decided = try decision(shard, in: context) {
            if case .rejected = decided { return .stepped }
            return .outOfStep("shard \(shard.shard) was activated under epoch \(shard.epoch)")
        }
        guard shard.shard.index < Limits.shardCountMax else { return Self.outOfRange(shard, Limits.shardCountMax) }
        try decide(shard, .rejected, in: &context)
        try context.discardStaged(StagedShard.name(shard))
        return .stepped
    }

    /// The caller has seen that nothing is decided yet.
    private mutating func decide(
        _ shard: ShardEpoch, _ decision: ShardDecision, in context: inout ApplyContext
    ) throws(EngineError) {
        let earlier = try self.decision(shard, in: context)
        invariant(earlier == nil, "\(shard) is decided already, as \(String(describing: earlier)): not \(decision)")
        context.setStateRow(ShardDecision.key(shard), decision.encoded)
    }
}
