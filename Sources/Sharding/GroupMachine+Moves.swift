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

    /// The target begins to copy. From here on every change is noted.
    mutating func prepare(
        _ shard: ShardEpoch, to target: GroupID, in context: inout ApplyContext
    ) throws(EngineError) -> GroupReply {
        switch served(for: shard) {
        case .over(let reply): return reply
        case .served(var record):
            if record.tracking?.epoch == shard.epoch { return .stepped }
            try flushSessions(of: shard.shard, in: &context)
            context.unmapFamily(ChangeRows.family(shard.shard))
            record.tracking = ShardTracking(epoch: shard.epoch, target: target)
            setRecord(shard.shard, record)
            return .stepped
        }
    }

    private enum Service {
        case served(ShardRecord)
        /// It isn't any more, or not for this move: what a step of the move is answered.
        case over(GroupReply)
    }

    /// Whether a move may take its shard on from here.
    private func served(for shard: ShardEpoch) -> Service {
        guard let record = shards[shard.shard] else { return .over(.outOfStep("shard \(shard.shard) was never here")) }
        switch record.state {
        case .frozen(_, shard.epoch): return .over(.stepped)
        case .frozen(_, let epoch): return .over(.outOfStep("shard \(shard.shard) is frozen under epoch \(epoch)"))
        case .gone: return .over(.outOfStep("shard \(shard.shard) has gone under epoch \(record.epoch)"))
        case .serving:
            guard shard.epoch > record.epoch, shard.epoch > record.rejectedEpoch else {
                return .over(.outOfStep("epoch \(shard.epoch) of shard \(shard.shard) is over"))
            }
            if let tracking = record.tracking, tracking.epoch > shard.epoch {
                return .over(.outOfStep("shard \(shard.shard) is being copied under epoch \(tracking.epoch)"))
            }
            return .served(record)
        }
    }

    /// Notes that a row is about to change.
    mutating func noteChange(
        of shard: ShardID, _ family: FamilyID, _ key: [UInt8], _ value: [UInt8]?, at index: LogIndex,
        in context: inout ApplyContext
    ) throws(EngineError) {
        guard var tracking = shards[shard]?.tracking else { return }
        let before = try context.get(family, key)
        guard before != value else { return }
        if value == nil, plant == .notesNoDeletes { return }
        if key.first == ShardRows.session, plant == .notesNoSessions { return }
        if let before { tracking.hashes.count(key, before, isThere: false) }
        if let value { tracking.hashes.count(key, value, isThere: true) }
        // What batches make of the rows of sessions is not the same on all replicas.
        if key.first == ShardRows.user { tracking.bytes += UInt64(key.count + (value?.count ?? 0)) }
        setTracking(shard, tracking)
        let notes: FamilyID
        if let mapped = context.families[ChangeRows.family(shard)] {
            notes = mapped
        } else {
            notes = try context.mapFamily(ChangeRows.family(shard))
        }
        let byKey = ChangeRows.key(of: key)
        if let earlier = try context.get(notes, byKey) {
            guard let last = earlier.withUnsafeBytes({ bigEndianNumber($0) }) else {
                throw .corruption(place: "the notes of what changes in shard \(shard)")
            }
            if last == index { return }
            context.delete(notes, ChangeRows.key(last, key))
        }
        context.put(notes, byKey, bigEndianBytes(index))
        context.put(notes, ChangeRows.key(index, key), [])
    }

    /// Moves up to this epoch are over: nobody copies the shard for them any more.
    private func endTracking(_ record: inout ShardRecord, _ shard: ShardEpoch, in context: inout ApplyContext) {
        guard let tracking = record.tracking, tracking.epoch <= shard.epoch else { return }
        // As long as the shard is frozen for that move, what has changed tells what is frozen.
        if case .frozen(_, tracking.epoch) = record.state, tracking.epoch != shard.epoch { return }
        record.tracking = nil
        context.unmapFamily(ChangeRows.family(shard.shard))
    }

    mutating func freeze(_ shard: ShardEpoch, to target: GroupID, in context: inout ApplyContext) -> GroupReply {
        switch served(for: shard) {
        case .over(let reply): return reply
        case .served(var record):
            // Of a move that came to nothing.
            if record.tracking?.epoch != shard.epoch { endTracking(&record, shard, in: &context) }
            record.state = .frozen(to: target, epoch: shard.epoch)
            setRecord(shard.shard, record)
            return .stepped
        }
    }

    /// The caller has seen the target's committed reject.
    mutating func unfreeze(_ shard: ShardEpoch, in context: inout ApplyContext) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        if case .frozen(_, let epoch) = record.state, epoch == shard.epoch { record.state = .serving }
        record.rejectedEpoch = max(record.rejectedEpoch, shard.epoch)
        endTracking(&record, shard, in: &context)
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
        endTracking(&record, shard, in: &context)
        setRecord(shard.shard, record)
        context.unmapFamily(ShardRecord.family(shard.shard))
        forgetSessions(of: shard.shard)
        return .stepped
    }

    /// The move is to end, and as long as the shard isn't frozen for it nobody can have brought it home: then the word of
    /// this log is enough. It is for good: `freeze` refuses the epoch from now on.
    mutating func abandon(_ shard: ShardEpoch, in context: inout ApplyContext) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        switch record.state {
        case .frozen where plant == .abandonsFrozen: record.state = .serving
        case .frozen(let target, shard.epoch):
            return .outOfStep("shard \(shard.shard) is frozen under epoch \(shard.epoch); group \(target) decides")
        case .gone: return .outOfStep("shard \(shard.shard) has gone under epoch \(record.epoch)")
        case .serving, .frozen: break
        }
        guard shard.epoch > record.epoch else {
            return .outOfStep("shard \(shard.shard) is here under epoch \(record.epoch)")
        }
        guard shard.epoch > record.rejectedEpoch || record != shards[shard.shard] else { return .stepped }
        record.rejectedEpoch = max(record.rejectedEpoch, shard.epoch)
        endTracking(&record, shard, in: &context)
        setRecord(shard.shard, record)
        return .stepped
    }

    /// The caller has seen a map that gives the shard to this group, on the move to nobody: by force, if it is frozen
    /// here. What the target of an earlier move has made of it is overruled.
    mutating func thaw(_ shard: ShardEpoch, in context: inout ApplyContext) -> GroupReply {
        guard var record = shards[shard.shard] else { return .outOfStep("shard \(shard.shard) was never here") }
        switch record.state {
        case .gone: return .outOfStep("shard \(shard.shard) has gone under epoch \(record.epoch)")
        case .frozen(_, let epoch) where epoch >= shard.epoch:
            return .outOfStep("shard \(shard.shard) is frozen under epoch \(epoch)")
        case .frozen(_, let epoch): record.rejectedEpoch = max(record.rejectedEpoch, epoch)
        case .serving where record.epoch >= shard.epoch: return .stepped
        case .serving: break
        }
        record.state = .serving
        record.epoch = max(record.epoch, shard.epoch)
        endTracking(&record, shard, in: &context)
        setRecord(shard.shard, record)
        return .stepped
    }

    // MARK: - Target

    func decision(_ shard: ShardEpoch, in context: ApplyContext) throws(EngineError) -> ShardDecision? {
        guard let row = try context.stateRow(ShardDecision.key(shard)) else { return nil }
        do throws(CodingError) { return try ShardDecision(encoded: row) } catch {
            throw .corruption(place: error.place)
        }
    }

    /// Kept until the move is decided.
    func expect(_ shard: ShardEpoch, in context: inout ApplyContext) throws(EngineError) -> GroupReply {
        guard shard.shard.index < Limits.shardCountMax else { return Self.outOfRange(shard, Limits.shardCountMax) }
        guard try decision(shard, in: context) == nil else {
            return .outOfStep("the move of shard \(shard.shard) under epoch \(shard.epoch) is decided already")
        }
        context.setStateRow(ShardDecision.expectationKey(shard), [])
        return .stepped
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
        context.setStateRow(ShardDecision.expectationKey(shard), nil)
    }
}
