internal import Keyspace
internal import RaftLog

/// What a replica does that lacks a shard which its log has mapped. As long as the source has it, it is fetched from
/// there; after that whoever has applied the activation has a snapshot.
struct MissingShard: Sendable {
    let shard: ShardEpoch
    private var source: SourceGroup?
    private var phase = Phase.begun
    /// Members that may have a snapshot, in the order in which they are asked.
    private var members: [Member]
    private let term: Term

    private enum Phase { case begun, findingSource, freezing, fetching, copying(Member) }

    enum Step {
        case ask(MoveQuestion, MoveNote?)
        /// Nothing more to be tried for now; whether it has come shows in what the replica waits for.
        case over(MoveNote?)
    }

    /// - Parameter source: of the move, if the map still has it.
    init(_ shard: ShardEpoch, from source: SourceGroup?, _ standing: MoveDriver.Standing) {
        self.shard = shard
        self.source = source
        term = standing.term
        let leader = standing.leader
        members = standing.membership.members.filter { $0.id != standing.id }
            .sorted { ($0.id == leader ? 0 : 1, $0.id) < ($1.id == leader ? 0 : 1, $1.id) }
    }

    mutating func begin() -> Step {
        guard let source else { return copy(nil) }
        phase = .findingSource
        return .ask(.leader(source.addresses), nil)
    }

    mutating func heard(_ answer: MoveAnswer) -> Step {
        switch (phase, answer) {
        case (.findingSource, .leader(let leader)):
            guard var source else { return copy(nil) }
            source.leader = leader
            self.source = source
            phase = .freezing
            return .ask(.freeze(shard, at: source), nil)
        case (.freezing, .frozen(let frozen, let leader)):
            guard var source else { return copy(nil) }
            source.leader = leader ?? source.leader
            self.source = source
            phase = .fetching
            let order = StageOrder(
                shard: shard, hashes: frozen.hashes, source: source.party, addresses: source.inOrder)
            return .ask(.fetch(order), nil)
        case (.fetching, .staged), (.copying, .done): return .over(nil)
        // The leader's order to stage it is being carried out: a snapshot of the whole group is not needed yet.
        case (.fetching, .failed(let failure)) where failure.isBusy: return .over(nil)
        case (.copying(let member), _): return copy(.noSnapshot(member.id, answer.failure))
        default: return copy(source.map { .notAtSource(shard, $0.party.gid, answer.failure) })
        }
    }

    private mutating func copy(_ note: MoveNote?) -> Step {
        guard !members.isEmpty else { return .over(note) }
        let member = members.removeFirst()
        phase = .copying(member)
        return .ask(.snapshot(from: member, term: term), note)
    }
}
