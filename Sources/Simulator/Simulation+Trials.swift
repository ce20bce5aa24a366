internal import Bytes
internal import RaftLog

/// After everything has converged: one fault at a time, each with what it may do and what it may not.
extension Simulation {
    enum Trial {
        /// One follower doesn't hear the leader, and is heard: nobody else may mind (dissertation, section 4.2.3).
        case deafFollower
        /// Nobody hears the leader, nor it them: it notices, and they elect another in time (section 6.2).
        case lonelyLeader
        /// One follower was away for longer than the log is kept, and comes back under load: a snapshot is enough
        /// (ClickHouse NuRaft #118).
        case lateFollower
        /// The leader's disk stands still at a write: another takes over.
        case standingDisk
        case over
    }

    struct TrialState {
        var current: Trial?
        /// Whom it is done to, in which term.
        var node = 0
        var term: Term = 0
        /// Others could lead.
        var isDue = false

        var allowsElections: Bool {
            switch current {
            case nil, .deafFollower?, .lateFollower?: false
            case .lonelyLeader?, .standingDisk?, .over?: true
            }
        }
    }

    /// So long a majority that knows no leader may take: split votes are rare, and several in a row rarer.
    static var electionMax: UInt64 { 2_000 }

    mutating func scheduleTrials() {
        var time = now
        for trial in [Trial.deafFollower, .lateFollower, .lonelyLeader, .standingDisk] {
            queue.schedule(.trial(trial), at: time)
            queue.schedule(.trial(.over), at: time + Self.electionMax)
            time += Self.electionMax + 1_000
        }
        queue.schedule(.end, at: time)
    }

    mutating func carryOut(_ next: Trial) throws {
        if case .over = next { return try endTrial() }
        guard let leader = currentLeader, let core = nodes[leader].shell?.driver.core else {
            try violate("nobody leads \(now - convergedAt) ms after everything has converged")
        }
        let voters = core.membership.voters
        trial = TrialState(current: next, node: leader, term: core.term, isDue: voters.count >= 3)
        switch next {
        case .deafFollower:
            guard trial.isDue, let deaf = voters.last(where: { $0 != core.id }) else { return }
            note(leader, "trial: n\(deaf) no longer hears it")
            cut.insert(Link(from: core.id, to: deaf))
        case .lateFollower:
            guard trial.isDue, knobs.driver.retainedEntries < 1_000, let late = voters.last(where: { $0 != core.id })
            else { return }
            note(leader, "trial: n\(late) is away, and comes back")
            isolate(Int(late.rawValue))
            queue.schedule(.trialWrite(until: now + Self.electionMax - 300), at: now + 10)
        case .lonelyLeader:
            note(leader, "trial: nobody hears it, nor it them")
            isolate(leader)
        case .standingDisk:
            note(leader, "trial: its disk stands still")
            nodes[leader].diskStandsUntil = now + Self.electionMax
            post(.propose(bigEndianBytes(takeNumber()), token: nil), to: leader)
        case .over: return
        }
    }

    mutating func writeInTrial(until end: UInt64) {
        guard now < end, case .lateFollower? = trial.current else { return }
        queue.schedule(.trialWrite(until: end), at: now + 10)
        // Half a second is longer than the log is kept.
        if now + Self.electionMax - 300 > end + 500 { cut = [] }
        post(.propose(bigEndianBytes(takeNumber()), token: nil), to: trial.node)
    }

    private mutating func endTrial() throws {
        note(nil, "trial is over")
        let leader = currentLeader
        cut = []
        if trial.allowsElections, trial.isDue {
            guard let leader, leader != trial.node, nodes[leader].shell?.driver.core.term ?? 0 > trial.term else {
                try violate(
                    "no other leader \(Self.electionMax) ms after n\(nodes[trial.node].id) could no longer lead")
            }
        }
        trial.current = .over
    }
}
