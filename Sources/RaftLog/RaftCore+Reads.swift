/// Linearizable reads without the log: ReadIndex (dissertation, section 6.4).
extension RaftCore {
    /// The group's own reads that may wait beside those of clients.
    private static var urgentReadsMax: Int { 1_024 }

    /// Asks for confirmation that this replica still leads. The token comes back in `confirmedReads` or
    /// `failedReads`; false if it can't be taken (not leader, or too many wait).
    ///
    /// - Parameter isUrgent: of the group itself, as with proposals.
    public mutating func read(token: UInt64, isUrgent: Bool = false) -> Bool {
        let allowed = configuration.pendingReadsMax + (isUrgent ? Self.urgentReadsMax : 0)
        guard role == .leader, departure == nil, reads.count < allowed else { return false }
        reads.append(PendingRead(token: token))
        return true
    }

    /// Opens one round for all reads that have queued.
    mutating func startReadRound() {
        // Before its first entry is committed a leader doesn't know the newest commit index (etcd #7331).
        guard hasCommittedInTerm || configuration.plant == .readsBeforeOpening,
            let first = reads.firstIndex(where: { $0.round == nil })
        else { return }
        if first == 0 || configuration.plant != .readsJoinOpenRound { readRound += 1 }
        for position in first..<reads.count {
            reads[position].round = readRound
            reads[position].index = commit
        }
        for peer in progress.keys.sorted() where membership.isVoter(peer) {
            guard let follower = progress[peer] else { continue }
            send(.heartbeat(commit: commitKnown(to: follower), round: readRound), to: peer)
        }
        confirmReads()
    }

    mutating func confirmReads() {
        guard !reads.isEmpty else { return }
        let rounds = membership.voters
            .map { $0 == id ? readRound : progress[$0]?.confirmedRound ?? 0 }
            .sorted(by: >)
        guard membership.quorum > 0, rounds.count >= membership.quorum else { return }
        let confirmed = rounds[membership.quorum - 1]
        var count = 0
        for read in reads {
            guard let round = read.round, round <= confirmed else { break }
            output.confirmedReads.append((token: read.token, index: read.index))
            count += 1
        }
        if count > 0 { reads.removeFirst(count) }
    }
}
