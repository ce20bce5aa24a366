internal import Keyspace
internal import RaftLog

/// Every member of a target group has been asked to stage a shard: when is that enough, and when is it too few?
struct StagingRound: Sendable {
    /// How long the last members are waited for once a quorum has the shard.
    enum Patience: Sendable {
        /// As long as the quorum took, and a second: a whole copy is on its way.
        case long
        /// Those that are a moment behind: writers are waiting, or more changes with every moment.
        case short
    }

    private static let laggardsWait: Milliseconds = 1_000
    private static let shortWait: Milliseconds = 20

    let membership: Membership
    /// Voters that must have the shard.
    private let needed: Int
    private let began: Milliseconds
    private let patience: Patience
    private var waiting: Set<ReplicaID>
    private(set) var staged: [Member] = []
    /// Once a quorum has it: the others are waited for until then.
    private(set) var end: Milliseconds?

    init(_ membership: Membership, now: Milliseconds, patience: Patience = .long, plant: MovePlant? = nil) {
        self.membership = membership
        self.patience = patience
        needed = plant == .activatesUnstaged ? 1 : membership.quorum
        began = now
        waiting = Set(membership.members.map(\.id))
    }

    enum Verdict: Equatable { case open, enough, tooFew }

    mutating func heard(_ member: Member, hasIt: Bool, now: Milliseconds) {
        guard waiting.remove(member.id) != nil, hasIt else { return }
        staged.append(member)
        guard end == nil, stagedVoters >= needed else { return }
        switch patience {
        case .long: end = now + (now - began) + Self.laggardsWait
        case .short: end = now + Self.shortWait
        }
    }

    func verdict(now: Milliseconds) -> Verdict {
        if let end { return waiting.isEmpty || now >= end ? .enough : .open }
        let hoped = membership.members.count { $0.standing == .voter && waiting.contains($0.id) }
        // The others can't make a quorum any more.
        return stagedVoters + hoped < needed ? .tooFew : .open
    }

    private var stagedVoters: Int { staged.count { $0.standing == .voter } }
}

/// The members of a target group are asked whether they have applied an activation, until a quorum has.
struct ActivationRound: Sendable {
    /// A member that has staged the shard and not yet applied the entry hears of its commit with the next message.
    private static let pause: Milliseconds = 50
    /// One that can't be reached, or is fetching.
    private static let pauseAfterFailure: Milliseconds = 500
    private static let patience: Milliseconds = 10_000

    private let end: Milliseconds
    // By their lives: who takes a member's number after its disk was lost has applied nothing.
    private var asked: Set<Incarnation> = []
    private var activated: Set<Incarnation> = []
    private var restsUntil: [Incarnation: Milliseconds] = [:]

    init(now: Milliseconds) { end = now + Self.patience }

    /// `nil`: no answer.
    mutating func heard(_ member: Member, isActivated: Bool?, now: Milliseconds) {
        asked.remove(member.incarnation)
        if isActivated == true { activated.insert(member.incarnation) }
        restsUntil[member.incarnation] = now + (isActivated == nil ? Self.pauseAfterFailure : Self.pause)
    }

    func verdict(in membership: Membership, now: Milliseconds) -> StagingRound.Verdict {
        let voters = membership.members.count { $0.standing == .voter && activated.contains($0.incarnation) }
        if voters >= membership.quorum { return .enough }
        return now >= end ? .tooFew : .open
    }

    /// Whom to ask now.
    mutating func next(in membership: Membership, now: Milliseconds) -> [Member] {
        let next = membership.members.filter { member in
            !asked.contains(member.incarnation) && !activated.contains(member.incarnation)
                && restsUntil[member.incarnation].map { $0 <= now } ?? true
        }
        asked.formUnion(next.map(\.incarnation))
        return next
    }

    /// When the next member is to be asked, or it is over.
    func wakeAt(in membership: Membership) -> Milliseconds {
        let idle = membership.members.map(\.incarnation).filter { !asked.contains($0) && !activated.contains($0) }
        return min(end, idle.compactMap { restsUntil[$0] }.min() ?? end)
    }
}
