internal import RaftLog

/// That something happens, and nothing happens without a reason: bounds on time, queues and attempts.
extension Simulation {
    /// So long after healing the group must have settled.
    static var settlingTime: UInt64 { 4_000 }
    /// So long after a leader that couldn't apply, or that handed over, another may be elected.
    static var excuse: UInt64 { 2_000 }
    private static var leaderlessMax: UInt64 { 2_000 }
    private static var unansweredMax: UInt64 { 2_500 }
    private static var attemptsMax: Int { 2 }

    /// Whether nothing fails and nothing has failed for a while.
    private var isSettled: Bool { isHealed && now >= options.faultyTime + Self.settlingTime }

    mutating func heard(_ message: Message, _ node: Int) {
        guard let core = nodes[node].shell?.driver.core, core.isLeader, message.term == core.term else { return }
        nodes[node].heardAt[message.from] = now
    }

    /// A leader has lately heard from a majority (CheckQuorum), gives up a hand-over that fails, and its disk moves.
    func checkOffice(_ node: Int) throws {
        guard let core = nodes[node].shell?.driver.core, core.isLeader, !core.isDeparting else { return }
        let patience = 3 * electionTimeout
        let woke = nodes[node].pausedUntil
        let since = max(nodes[node].leadsSince, nodes[node].membersSince, woke)
        if now > since + patience {
            let heard = core.membership.voters.count { voter in
                voter == core.id || (nodes[node].heardAt[voter].map { $0 + patience >= now } ?? false)
            }
            if heard < core.membership.quorum {
                try violate("n\(core.id) leads term \(core.term), and no majority has answered for \(patience) ms")
            }
        }
        if let target = core.handsOverTo, now > max(nodes[node].handsOverSince, woke) + 2 * electionTimeout {
            try violate("n\(core.id) still hands over to n\(target), since \(nodes[node].handsOverSince)")
        }
        if let syncing = nodes[node].syncingSince, core.membership.voters.count > 1,
            now > max(syncing, woke) + 2 * electionTimeout
        {
            try violate("n\(core.id) leads term \(core.term), and its disk has stood still since \(syncing)")
        }
    }

    /// What a leader lets in is bounded, whatever its disk does.
    func checkAdmission(_ shell: ReplicaShell, _ node: Int) throws {
        // One proposal may go beyond the bound.
        let bound = knobs.driver.core.unappliedBytesMax + 512
        let size = shell.driver.core.unappliedSize
        if size > bound, shell.driver.core.isLeader {
            try violate("n\(nodes[node].id) took a proposal with \(size) bytes waiting, which is beyond its bound")
        }
    }

    /// A snapshot that has arrived is of use: the log after it is still there.
    mutating func checkAttempts(_ node: Int, _ peer: ReplicaID) throws {
        guard let core = nodes[node].shell?.driver.core else { return }
        let last = nodes[node].attempts[peer] ?? (0, 0, false)
        let hasMoved = core.match(of: peer).map { $0 > last.index } ?? true
        // Who can't apply takes nothing more into its log either.
        let isExpected = isSettled && now > knowledge.excusedUntil
        let count = !isExpected || hasMoved ? 1 : last.count + (last.hasArrived ? 1 : 0)
        nodes[node].attempts[peer] = (count, last.index, false)
        if count > Self.attemptsMax, !trial.allowsElections {
            try violate(
                "n\(nodes[node].id) makes the snapshot number \(count) in a row for n\(peer), which none of them brought "
                    + "anywhere")
        }
    }

    /// Nobody is elected for nothing.
    func checkReasonForElection(_ node: Int) throws {
        guard isSettled, now > knowledge.excusedUntil, !trial.allowsElections else { return }
        let term = nodes[node].shell?.driver.core.term ?? 0
        try violate(
            "n\(nodes[node].id) was elected in term \(term) although "
                + (trial.current == nil ? "nothing failed" : "a majority heard its leader"))
    }

    /// Looks around again and again once everything has healed and settled.
    mutating func watch() throws {
        guard now < convergedAt else { return }
        queue.schedule(.watch, at: now + 100)
        for node in nodes.indices where nodes[node].shell?.driver.core.isDeparting == true {
            knowledge.excusedUntil = now + Self.excuse
        }
        guard let leader = currentLeader else {
            let since = knowledge.leaderlessSince ?? now
            knowledge.leaderlessSince = since
            if now > max(since, knowledge.excusedUntil) + Self.leaderlessMax {
                try violate("nobody has led for \(now - since) ms although nothing failed")
            }
            return
        }
        knowledge.leaderlessSince = nil
        guard now > max(knowledge.excusedUntil, nodes[leader].leadsSince + Self.unansweredMax) else { return }
        let settledAt = options.faultyTime + Self.settlingTime
        for (number, since) in knowledge.proposals where since >= settledAt && now > since + Self.unansweredMax {
            try violate("command \(number) has had no answer for \(now - since) ms although nothing failed")
        }
    }
}
