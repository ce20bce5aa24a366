internal import Keyspace

/// A group as its nodes' reports describe it, or the controller.
struct GroupState: Sendable, Equatable {
    struct Leader: Sendable, Equatable {
        var id: UInt64
        var term: UInt64
    }

    let gid: GroupID
    /// By id, then address.
    let nodes: [NodeTrack]
    /// Whom the nodes of the highest term take for it; `nil` if nobody that answers knows one.
    let leader: Leader?
    /// The report that speaks for the group: its leader's, else that of the node that has got farthest.
    let speaker: NodeStatus?
    /// The speaker answered now.
    let answers: Bool
    /// Up to where the group's log is known to be final.
    let commitIndex: UInt64
    /// A majority of the voters takes part.
    let hasQuorum: Bool
    /// A node is down or doesn't take part.
    let isUnderReplicated: Bool
    private let voters: Set<UInt64>
    private let shards: [ShardID: ShardStatus]

    init(gid: GroupID, nodes unsorted: [NodeTrack]) {
        self.gid = gid
        let nodes = unsorted.sorted { ($0.id, $0.address) < ($1.id, $1.address) }
        let leader = Self.leader(of: nodes)
        self.nodes = nodes
        self.leader = leader
        let leading = leader.flatMap { leader in
            nodes.first { $0.answers && $0.id == leader.id && $0.report?.role == .leader }?.report
        }
        let present = leading ?? Self.farthest(nodes.filter(\.takesPart)) ?? Self.farthest(nodes.filter(\.answers))
        let speaker = present ?? Self.farthest(nodes)
        self.speaker = speaker
        answers = present != nil
        commitIndex = leading?.commitIndex ?? nodes.compactMap(\.report?.commitIndex).max() ?? 0
        let members = speaker?.members ?? []
        voters = Set(members.isEmpty ? nodes.map(\.id) : members.filter(\.isVoter).map(\.id))
        let working = Set(nodes.filter(\.takesPart).map(\.id)).intersection(voters)
        hasQuorum = working.count > voters.count / 2
        isUnderReplicated = !nodes.allSatisfy(\.takesPart)
        var shards: [ShardID: ShardStatus] = [:]
        for shard in speaker?.shards ?? [] where shards[shard.shard] == nil { shards[shard.shard] = shard }
        self.shards = shards
    }

    private static func leader(of nodes: [NodeTrack]) -> Leader? {
        var best: (leader: Leader, isItself: Bool)?
        for node in nodes where node.takesPart {
            guard let report = node.report, let id = report.namedLeader else { continue }
            let isItself = report.role == .leader
            if let best, (best.leader.term, best.isItself ? 1 : 0) >= (report.term, isItself ? 1 : 0) { continue }
            best = (Leader(id: id, term: report.term), isItself)
        }
        return best?.leader
    }

    private static func farthest(_ nodes: [NodeTrack]) -> NodeStatus? {
        nodes.compactMap(\.report).max { ($0.term, $0.lastApplied) < ($1.term, $1.lastApplied) }
    }

    var voterCount: Int { voters.count }

    func isVoter(_ node: NodeTrack) -> Bool { voters.contains(node.id) }

    /// It answered, takes part, and follows (or is) the group's leader.
    func isHealthy(_ node: NodeTrack) -> Bool {
        guard let leader, node.takesPart else { return false }
        return node.report?.namedLeader == leader.id
    }

    /// How many entries a node's applied state is behind the commit.
    func lag(of node: NodeTrack) -> UInt64 {
        guard let report = node.report else { return 0 }
        return commitIndex.subtracting(report.lastApplied)
    }

    func shard(_ number: ShardID) -> ShardStatus? { shards[number] }

    /// Requests for a shard, of all nodes that answer.
    func rates(ofShard number: ShardID) -> (reads: Double, writes: Double) {
        var sum = (reads: 0.0, writes: 0.0)
        for node in nodes {
            guard let rates = node.presentRates?.shards[number] else { continue }
            sum.reads += rates.readsPerSecond
            sum.writes += rates.writesPerSecond
        }
        return sum
    }

    /// The id that the group's members, as last heard, have at each address.
    var memberIDs: [String: UInt64] {
        var ids: [String: UInt64] = [:]
        for member in speaker?.members ?? [] where ids[member.address] == nil { ids[member.address] = member.id }
        return ids
    }

    var name: String { Self.name(gid) }

    /// For people.
    static func name(_ gid: GroupID) -> String { gid == 0 ? "the controller" : "group \(gid)" }
}
