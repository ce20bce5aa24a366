internal import Engines
internal import RaftLog

/// Who has what entries have mapped from beside the log (decisions 0012 and 0026).
extension Simulation {
    /// An entry was applied for the first time: whether it has mapped what was staged for it.
    mutating func noteMapped(_ entry: Entry, _ node: Int) throws {
        guard let number = JournalMachine.staged(by: entry), let layout = nodes[node].shell?.layout else { return }
        // A void entry leaves what is staged where it is; and nobody applies one that isn't void without that.
        guard knowledge.staged[number]?.contains(nodes[node].incarnation) == true,
            try layout.staged(JournalMachine.stage(number), in: nodes[node].engine.snapshot()) == nil
        else { return }
        knowledge.mapped[entry.index] = number
    }

    /// Whatever majority of the voters is left, one of them has what was mapped before they became the members.
    func checkHolders(_ membership: Membership) throws {
        for (index, number) in knowledge.mapped.sorted(by: { $0.key < $1.key }) where index < membership.index {
            let lacking = try membership.voters.filter { voter in
                let node = Int(voter.rawValue)
                // Its disk was lost: the operator's one allowed loss.
                guard nodes[node].incarnation == membership[voter]?.incarnation else { return false }
                let rows = try durableRows(node)
                return rows.applied.position.index < index && rows.staged[JournalMachine.stage(number)] == nil
            }
            if lacking.count >= membership.quorum {
                try violate(
                    "\(lacking.map { "n\($0)" }.joined(separator: ", ")) are a quorum of the members as of "
                        + "\(membership.index), and lack what was staged for entry \(index)")
            }
        }
    }
}
