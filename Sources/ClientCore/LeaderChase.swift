/// In which order the nodes of a group are asked when its leader is wanted: who answered last or was hinted at, then the
/// others in turn, each once in a round.
///
/// One for each operation. Whom the operations of a client know as the leader, and whose turn it is, they share, and hand
/// in. Nothing is allocated before somebody has denied to lead.
package struct LeaderChase: Sendable {
    /// Those that don't lead, by what this round has shown.
    private var denied: [String] = []
    /// Rounds that have ended without a leader.
    package private(set) var rounds = 0

    package init() {}

    /// Whom to ask next in this round; `nil` once everybody has denied to lead.
    ///
    /// - Parameters:
    ///   - leader: who is believed to lead; need not be one of the addresses.
    ///   - turn: whose turn among the addresses it is. Kept from operation to operation: one that never answers must not
    ///     be the first each time.
    package func next(of addresses: [String], leader: String?, turn: inout Int) -> String? {
        if let leader, mayAsk(leader) { return leader }
        for _ in 0..<addresses.count {
            let address = addresses[Int(turn.magnitude % UInt(addresses.count))]
            turn &+= 1
            if mayAsk(address) { return address }
        }
        return nil
    }

    /// It has not denied to lead in this round.
    package func mayAsk(_ address: String) -> Bool { !denied.contains(address) }

    /// `address` doesn't lead, or doesn't answer: it is asked again in the next round at the earliest.
    package mutating func denies(_ address: String) { denied.append(address) }

    package mutating func startRound() {
        denied.removeAll(keepingCapacity: true)
        rounds += 1
    }
}
