public import RaftLog

/// What people hear of a node's life.
public enum NodeNote: Sendable, Equatable, CustomStringConvertible {
    public enum Level: Sendable { case info, warning, error, critical }

    /// The node doesn't take part, and why.
    case condition(NodeCondition)
    case founded(by: String)
    /// A group that went on without its quorum may have lost what it acknowledged: said at every start.
    case recoveredByForce(RecoveryNote, own: ReplicaID)

    public var level: Level {
        switch self {
        case .condition(let condition):
            switch condition {
            case .starting, .awaitsController, .awaitsFounders: .info
            case .awaitsMembership: .warning
            case .founderIsAnother, .founderHasAnotherList, .movedAway: .error
            case .foundedAnew: .critical
            }
        case .founded: .info
        case .recoveredByForce: .warning
        }
    }

    public var description: String {
        switch self {
        case .condition(let condition): return condition.sentence
        case .founded(let founders): return "founded the group with nodes \(founders)"
        case .recoveredByForce(let note, let own):
            let lost = note.before.members.filter { $0.id != own }.map { "\($0.id) \($0.address)" }
            return "this replica was made its group's only member by force, at index \(note.index); what only nodes "
                + "\(lost.joined(separator: ", ")) had is lost, and their old directories must never be started"
        }
    }
}
