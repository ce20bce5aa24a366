internal import Keyspace
internal import RaftLog

/// What a replica does that lacks a shard which its log has mapped. As long as the source has it, it is fetched from
/// there; after that whoever has applied the activation has a snapshot.
struct MissingShard: Sendable {
    let shard: ShardEpoch
    private var source: SourceGroup?
    private var phase = Phase.begun
    /// Where a snapshot may be, in the order in which it is asked for.
    private var places: [Place]
    private let term: Term

    private struct Place { var id: ReplicaID, address: String }
    private enum Phase { case begun, findingSource, freezing, fetching, copying(ReplicaID) }

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
        // The members known here are those before the entry that waits: all of them may have left since. Whoever brings the
        // log to this replica is the leader of those who are there now, wherever it is. The others are asked too: with a
        // quorum that can't apply the entry there may be no leader before one of these has a snapshot.
        let others = standing.membership.members.filter { $0.id != standing.id }
            .map { Place(id: $0.id, address: $0.address) }
        let leader = standing.leader.flatMap { id in standing.leaderAddress.map { Place(id: id, address: $0) } }
        places = [leader].compactMap(\.self).filter { $0.id != standing.id }
        places += others.filter { $0.address != leader?.address }
            .sorted { ($0.id == standing.leader ? 0 : 1, $0.id) < ($1.id == standing.leader ? 0 : 1, $1.id) }
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
                shard: shard, goal: .all(frozen.hashes), source: source.party, addresses: source.inOrder)
            return .ask(.fetch(order), nil)
        case (.fetching, .staged), (.copying, .done): return .over(nil)
        // The leader's order to stage it is being carried out: a snapshot of the whole group is not needed yet.
        case (.fetching, .failed(let failure)) where failure.isBusy: return .over(nil)
        case (.copying(let id), _): return copy(.noSnapshot(id, answer.failure))
        default: return copy(source.map { .notAtSource(shard, $0.party.gid, answer.failure) })
        }
    }

    private mutating func copy(_ note: MoveNote?) -> Step {
        guard !places.isEmpty else { return .over(note) }
        let place = places.removeFirst()
        phase = .copying(place.id)
        return .ask(.snapshot(from: place.id, at: place.address, term: term), note)
    }
}
