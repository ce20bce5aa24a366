internal import Keyspace
internal import RaftLog

/// One try to bring one shard home, in the leader of the group that it moves to: from the top to the report that the
/// source's copy has gone. What an earlier try or leader has done answers so at once.
///
///     findingSource ─> lookingUp ─┬─> expecting ─> preparing <─> copying,  then freezing ─> staging ─┬─> activating ─> lookingUp
///                                 │                                                    └─> rejecting ──> lookingUp
///                                 ├─> reportingActivation ─> awaitingActivation ─> collecting ─> reportingEnd
///                                 ├─> rejecting ──> lookingUp                         if the move is to end
///                                 └─> reportingRejection ──────────────────────────> collecting
///
/// The source serves while its shard is copied. The first round brings a copy to every member, each later one what has
/// changed meanwhile; once little is left the shard is frozen for that. Where writers are faster than the copy they are
/// slowed, by half from round to round, so that it ends. If what is left can't be had after the freeze, the move is rejected
/// and the source serves on.
///
/// The decision is the log's. The source's copy is collected only after it: once a quorum has mapped the shard, since
/// until then that copy is what a member that lacks it falls back on.
struct ShardMove: Sendable {
    let shard: ShardEpoch
    private let shardCount: Int
    private var source: SourceGroup
    private var phase = Phase.findingSource
    private let limits: CopyLimits
    private let plant: MovePlant?
    /// It is to end without arriving, unless it has arrived already.
    let isEnding: Bool

    private enum Phase {
        case findingSource
        case lookingUp(afterActivation: Bool)
        case expecting
        case preparing(CopyProgress)
        case copying(CopyProgress, StagingRound)
        case freezing
        case rejecting
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
    init(
        _ shard: ShardEpoch, from source: SourceGroup, shardCount: Int, isEnding: Bool = false,
        limits: CopyLimits = CopyLimits(), plant: MovePlant? = nil
    ) {
        self.limits = limits
        self.plant = plant
        self.isEnding = isEnding
        self.shard = shard
        self.source = source
        self.shardCount = shardCount
    }

    var first: MoveQuestion { .leader(source.addresses) }
    var from: GroupID { source.party.gid }
    /// What people are told as the phase begins.
    var note: MoveNote? {
        switch phase {
        case .preparing(let copy) where copy.rounds == 0: .bringing(shard, from: from)
        case .freezing: .freezing(shard, from: from, bytesLeft: bytesLeft)
        default: nil
        }
    }
    /// When the shard was frozen, what had changed and was not copied.
    private var bytesLeft: UInt64 = 0

    /// The members have been told what was frozen: nothing of the source is needed to activate what they have.
    var knowsFrozen: Bool {
        switch phase {
        case .staging, .activating: true
        default: false
        }
    }

    /// When `woken` is to be said, unless an answer comes before.
    func wakeAt(_ membership: Membership) -> Milliseconds? {
        switch phase {
        case .copying(_, let round), .staging(_, let round): round.end
        case .awaitingActivation(_, let round): round.wakeAt(in: membership)
        default: nil
        }
    }

    mutating func woken(_ membership: Membership, now: Milliseconds) -> Step {
        switch phase {
        case .copying(let copy, let round): afterCopying(copy, round, now: now)
        case .staging(let frozen, let round): afterStaging(frozen, round, now: now)
        case .awaitingActivation(let hashes, let round): afterActivation(hashes, round, membership, now: now)
        default: .wait
        }
    }

    mutating func heard(
        _ answer: MoveAnswer, to question: MoveQuestion, _ membership: Membership, now: Milliseconds
    ) -> Step {
        if case .stage(let order, let member) = question {
            return heard(answer, to: order.goal, of: member, membership, now: now)
        }
        switch (phase, answer) {
        case (.findingSource, .leader(let leader)):
            source.leader = leader
            return lookUp(afterActivation: false)
        case (.lookingUp(let afterActivation), .decision(let decision)):
            return decided(decision, afterActivation)
        case (.expecting, .done): return askToPrepare(CopyProgress(limits))
        case (.preparing(let copy), .prepared(let prepared, let leader)):
            source.leader = leader ?? source.leader
            return prepare(copy, prepared, membership, now: now)
        case (.freezing, .frozen(let frozen, let leader)):
            source.leader = leader ?? source.leader
            phase = .staging(frozen, StagingRound(membership, now: now, patience: .short, plant: plant))
            return .ask(membership.members.map { .stage(order(.all(frozen.hashes)), at: $0) })
        case (.activating, .done), (.rejecting, .done): return lookUp(afterActivation: true)
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

    /// A member that was slow may answer for a round that is over, and has what was enough then.
    private mutating func heard(
        _ answer: MoveAnswer, to goal: StageOrder.Goal, of member: Member, _ membership: Membership,
        now: Milliseconds
    ) -> Step {
        guard goal == self.goal || plant == .countsEarlierRounds else { return .wait }
        var isActivated: Bool?
        if case .staged(let value) = answer { isActivated = value }
        switch phase {
        case .copying(let copy, var round):
            round.heard(member, hasIt: isActivated != nil, now: now)
            return afterCopying(copy, round, now: now)
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
        case nil where afterActivation: return .obstacle("the decision is not visible yet")
        case nil where isEnding: return reject()
        case nil:
            phase = .expecting
            return .ask([.command(.expect(shard))])
        }
    }

    private mutating func reject() -> Step {
        phase = .rejecting
        return .ask([.command(.reject(shard))])
    }

    private mutating func askToPrepare(_ copy: CopyProgress) -> Step {
        phase = .preparing(copy)
        return .ask([.prepare(shard, at: source, copy.pace)])
    }

    /// The source has said how far it is: another round, or the end of copying.
    private mutating func prepare(
        _ copy: CopyProgress, _ prepared: PreparedShard, _ membership: Membership, now: Milliseconds
    ) -> Step {
        var copy = copy
        // Where an earlier try has frozen it, there is no time for rounds.
        if prepared.isFrozen || copy.isEnough(for: prepared) {
            bytesLeft = copy.left(for: prepared)
            phase = .freezing
            return .ask([.freeze(shard, at: source)])
        }
        copy.begin(prepared)
        phase = .copying(
            copy, StagingRound(membership, now: now, patience: copy.rounds == 1 ? .long : .short, plant: plant))
        return .ask(membership.members.map { .stage(order(.through(prepared.through)), at: $0) })
    }

    private mutating func afterCopying(_ copy: CopyProgress, _ round: StagingRound, now: Milliseconds) -> Step {
        phase = .copying(copy, round)
        switch round.verdict(now: now) {
        case .open: return .wait
        case .tooFew: return obstacle(round)
        case .enough: return askToPrepare(copy)
        }
    }

    private func obstacle(_ round: StagingRound) -> Step {
        .obstacle(
            "\(round.staged.count) of \(round.membership.members.count) members have staged shard \(shard.shard)")
    }

    private mutating func afterStaging(_ frozen: FrozenShard, _ round: StagingRound, now: Milliseconds) -> Step {
        phase = .staging(frozen, round)
        switch round.verdict(now: now) {
        case .open: return .wait
        case .tooFew:
            // The shard is frozen, and nobody knows for how long: its source is to serve it meanwhile.
            return reject()
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
            return next.isEmpty ? .wait : .ask(next.map { .stage(order(.all(hashes)), at: $0) })
        }
    }

    private mutating func collect(_ decision: ShardDecision) -> Step {
        phase = .collecting(decision)
        return .ask([.collect(shard, decision, at: source)])
    }

    /// What members are asked for in the present phase.
    private var goal: StageOrder.Goal? {
        switch phase {
        case .copying(let copy, _): .through(copy.through)
        case .staging(let frozen, _): .all(frozen.hashes)
        case .awaitingActivation(let hashes, _): .all(hashes)
        default: nil
        }
    }

    private func order(_ goal: StageOrder.Goal) -> StageOrder {
        StageOrder(shard: shard, goal: goal, source: source.party, addresses: source.inOrder)
    }
}
