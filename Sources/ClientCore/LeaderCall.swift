package import Keyspace

/// One call of a node to the leader of a group. It ends with the first refusal of somebody who leads, or after two rounds
/// in which nobody did; trying again later is the caller's business, who does so anyway.
package struct LeaderCall: Sendable {
    private let addresses: [String]
    private var leader: String?
    private var turn = 0
    private var chase = LeaderChase()

    private static let roundsMax = 2

    /// - Parameter first: who answered last.
    package init(_ addresses: [String], first: String?) {
        self.addresses = addresses
        leader = first
    }

    /// Whom to ask; `nil`: nobody is left, and the last error is the call's.
    package mutating func next() -> String? {
        while chase.rounds < Self.roundsMax {
            if let address = chase.next(of: addresses, leader: leader, turn: &turn) { return address }
            chase.startRound()
        }
        return nil
    }

    /// `address` has refused, or not answered at all (`nil`). Returns whether others are worth asking.
    package mutating func failed(_ address: String, _ refusal: KvError?) -> Bool {
        chase.denies(address)
        if leader == address { leader = nil }
        guard let refusal else { return true }
        guard [.notLeader, .noLeader, .unavailable].contains(refusal.code) else { return false }
        if !refusal.leader.isEmpty { leader = refusal.leader }
        return true
    }
}
