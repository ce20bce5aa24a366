internal import Keyspace
internal import RaftLog

/// One try to bring one shard home, in the leader of the group that it moves to: from the top to the report that the
/// source's copy has gone. What an earlier try or leader has done answers so at once.
///
///     findingSource ─> lookingUp ─┬─> freezing ─> staging ─> activating ─> lookingUp
///                                 ├─> reportingActivation ─> awaitingActivation ─> collecting ─> reportingEnd
///                                 └─> reportingRejection ──────────────────────────> collecting
///
/// The decision is the log's. The source's copy is collected only after it: once a quorum has mapped the shard, since
/// until then that copy is what a member that lacks it falls back on.
struct ShardMove: Sendable {
    let shard: ShardEpoch
    private let shardCount: Int
    private var source: SourceGroup
    private var phase = Phase.findingSource
    private let plant: MovePlant?

    private enum Phase {
        case findingSource
        case lookingUp(afterActivation: Bool)
        case freezing
        case staging(FrozenShard, StagingRound)
        case activating
        case reportingActivation(ShardHashes)
        case awaitingActivation(ShardHashes, ActivationRound)
        case reportingRejection
        case collecting(ShardDecision)
        case reportingEnd(ShardDecision)
    }

    /// What to do next.
    enum Step {
        case ask([MoveQuestion])
        case wait
        /// It is over. With what arrived; `nil`: the move was rejected.
        case done(ShardHashes?)
        case failed(MoveAnswer.Failure)

        static func obstacle(_ text: String) -> Step { .failed(MoveAnswer.Failure(text)) }
    }

    /// The first question is who leads the source.
    init(_ shard: ShardEpoch, from source: SourceGroup, shardCount: Int, plant: MovePlant? = nil) {
        self.plant = plant
        self.shard = shard
        self.source = source
        self.shardCount = shardCount
    }

    var first: MoveQuestion { .leader(source.addresses) }
    var from: GroupID { source.party.gid }
    /// The shard is about to be frozen.
    var isBringing: Bool {
        if case .freezing = phase { return true }
        return false
    }

    /// When `woken` is to be said, unless an answer comes before.
    func wakeAt(_ membership: Membership) -> Milliseconds? {
        switch phase {
        case .staging(_, let round): round.end
        case .awaitingActivation(_, let round): round.wakeAt(in: membership)
        default: nil
        }
    }

    mutating func woken(_ membership: Membership, now: Milliseconds) -> Step {
        switch phase {
        case .staging(let frozen, let round): afterStaging(frozen, round, now: now)
        case .awaitingActivation(let hashes, let round): afterActivation(hashes, round, membership, now: now)
        default: .wait
        }
    }

    mutating func heard(
        _ answer: MoveAnswer, to question: MoveQuestion, _ membership: Membership, now: Milliseconds
    ) -> Step {
        if case .stage(_, let member) = question { return heard(answer, of: member, membership, now: now) }
        switch (phase, answer) {
        case (.findingSource, .leader(let leader)):
            source.leader = leader
            return lookUp(afterActivation: false)
        case (.lookingUp(let afterActivation), .decision(let decision)):
            return decided(decision, afterActivation)
        case (.freezing, .frozen(let frozen, let leader)):
            source.leader = leader ?? source.leader
            phase = .staging(frozen, StagingRound(membership, now: now, plant: plant))
            return .ask(membership.members.map { .stage(order(frozen.hashes), at: $0) })
        case (.activating, .done): return lookUp(afterActivation: true)
        case (.reportingActivation(let hashes), .done):
            return afterActivation(hashes, ActivationRound(now: now), membership, now: now)
        case (.reportingRejection, .done): return collect(.rejected)
        case (.collecting(let decision), .done):
            phase = .reportingEnd(decision)
            return .ask([.report(shard, .collected)])
        case (.reportingEnd(.activated(let hashes)), .done): return .done(hashes)
        case (.reportingEnd(.rejected), .done): return .done(nil)
        default: return .failed(answer.failure)
        }
    }

    private mutating func heard(
        _ answer: MoveAnswer, of member: Member, _ membership: Membership, now: Milliseconds
    ) -> Step {
        var isActivated: Bool?
        if case .staged(let value) = answer { isActivated = value }
        switch phase {
        case .staging(let frozen, var round):
            round.heard(member, hasIt: isActivated != nil, now: now)
            return afterStaging(frozen, round, now: now)
        case .awaitingActivation(let hashes, var round):
            round.heard(member, isActivated: isActivated, now: now)
            return afterActivation(hashes, round, membership, now: now)
        // A laggard, whose copy is of use when it comes to apply.
        default: return .wait
        }
    }

    // MARK: - Steps

    private mutating func lookUp(afterActivation: Bool) -> Step {
        phase = .lookingUp(afterActivation: afterActivation)
        return .ask([.decision(shard)])
    }

    private mutating func decided(_ decision: ShardDecision?, _ afterActivation: Bool) -> Step {
        switch decision {
        case .activated(let hashes):
            phase = .reportingActivation(hashes)
            return .ask([.report(shard, .activated)])
        case .rejected:
            phase = .reportingRejection
            return .ask([.report(shard, .rejected)])
        case nil where afterActivation: return .obstacle("the activation is not visible yet")
        case nil:
            phase = .freezing
            return .ask([.freeze(shard, at: source)])
        }
    }

    private mutating func afterStaging(_ frozen: FrozenShard, _ round: StagingRound, now: Milliseconds) -> Step {
        phase = .staging(frozen, round)
        switch round.verdict(now: now) {
        case .open: return .wait
        case .tooFew:
            return .obstacle(
                "\(round.staged.count) of \(round.membership.members.count) members have staged shard \(shard.shard)")
        case .enough:
            if plant == .collectsBeforeActivation { return collect(.activated(frozen.hashes)) }
            phase = .activating
            let activation = Activation(
                hashes: frozen.hashes, logTime: frozen.logTime, shardCount: shardCount,
                stagedBy: round.staged.map(\.incarnation))
            return .ask([.command(.activate(shard, activation))])
        }
    }

    private mutating func afterActivation(
        _ hashes: ShardHashes, _ round: ActivationRound, _ membership: Membership, now: Milliseconds
    ) -> Step {
        var round = round
        switch round.verdict(in: membership, now: now) {
        case .enough: return collect(.activated(hashes))
        case .tooFew:
            return .obstacle("too few members have applied the activation of shard \(shard.shard)")
        case .open:
            let next = round.next(in: membership, now: now)
            phase = .awaitingActivation(hashes, round)
            return next.isEmpty ? .wait : .ask(next.map { .stage(order(hashes), at: $0) })
        }
    }

    private mutating func collect(_ decision: ShardDecision) -> Step {
        phase = .collecting(decision)
        return .ask([.collect(shard, decision, at: source)])
    }

    private func order(_ hashes: ShardHashes) -> StageOrder {
        StageOrder(shard: shard, hashes: hashes, source: source.party, addresses: source.inOrder)
    }
}
