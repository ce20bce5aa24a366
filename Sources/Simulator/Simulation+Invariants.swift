internal import Bytes
internal import Engines
internal import RaftLog

/// What must hold at every step (section 5 of the paper, Figure 3), and at the end.
extension Simulation {
    /// What an omniscient observer remembers.
    struct Knowledge {
        struct Read {
            /// What had been acknowledged, and the newest term that had a leader, when it began.
            var floor: LogIndex
            var newestTerm: Term
            /// In which its leader took it, the round of questions that was under way, and the members.
            var term: Term
            var round: UInt64 = 0
            var members: LogIndex = 0
        }

        /// One life in one term.
        struct Speaker: Hashable {
            var incarnation: Incarnation
            var term: Term
        }

        struct Ballot: Hashable {
            var term: Term
            var voter: ReplicaID
        }

        var leaders: [Term: ReplicaID] = [:]
        var newestTerm: Term = 0
        /// Every entry that was ever in a log, and the term of the one before it.
        var entries: [LogPosition: (entry: Entry, previous: Term)] = [:]
        /// What a leader has called committed: the term of the entry, and that of the leader.
        var chosen: [LogIndex: (term: Term, by: Term)] = [:]
        var commitMax: LogIndex = BootstrapRecord.position.index
        /// Every entry that some replica has applied, by index: the committed log; and log time there.
        var committed: [LogIndex: Entry] = [:]
        var logTimes: [LogIndex: Milliseconds] = [BootstrapRecord.position.index: 0]
        /// Which lives have ever staged something, by its number; and which entries have mapped it.
        var staged: [UInt64: Set<Incarnation>] = [:]
        var mapped: [LogIndex: UInt64] = [:]
        /// Where members changed.
        var memberships: Set<LogIndex> = []
        var ballots: [Ballot: ReplicaID] = [:]
        /// With which log a candidate has asked for votes.
        var candidacies: [Ballot: LogPosition] = [:]
        /// What a life has acknowledged in a term, and which round of its leader it has answered.
        var acknowledgements: [Speaker: LogIndex] = [:]
        var answers: [Speaker: UInt64] = [:]
        /// Proposals that are not answered yet, and when they were made.
        var proposals: [UInt64: UInt64] = [:]
        var acknowledged: [UInt64] = []
        var acknowledgedIndex: LogIndex = 0
        var reads: [UInt64: Read] = [:]
        /// The node whose disk was lost and which is not a voter again yet.
        var wiped: Int?
        /// The node of whose disk a row can't be read, and whether anybody has tried.
        var damaged: Int?
        var isDamageNoticed = false
        var firstMembership = Membership.none
        /// Until then an election has a reason, although nothing has failed: a leader that couldn't apply, or handed over.
        var excusedUntil: UInt64 = 0
        var leaderlessSince: UInt64?
        /// One clock at a time is wrong.
        var clocksRightSince: UInt64 = 0
    }

    mutating func observe(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let core = shell.driver.core
        if core.term < shell.termSeen {
            try violate("n\(core.id): term went back from \(shell.termSeen) to \(core.term)")
        }
        if core.commit < shell.commitSeen {
            try violate("n\(core.id): commit went back from \(shell.commitSeen) to \(core.commit)")
        }
        if core.lastPosition.term > core.term {
            try violate("n\(core.id): its log ends with term \(core.lastPosition.term), its own is \(core.term)")
        }
        if core.applied > core.commit {
            try violate("n\(core.id): applied \(core.applied) beyond commit \(core.commit)")
        }
        if core.isLeader { try observeLeader(node) }
        if core.commit > shell.commitSeen { try checkCommit(node) }
        if core.membership.index != shell.membershipBefore.index { try checkMembers(node) }
        shell.termSeen = core.term
        shell.commitSeen = core.commit
        shell.membershipBefore = core.membership
        shell.wasLeader = core.isLeader
    }

    private mutating func observeLeader(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let core = shell.driver.core
        if let other = knowledge.leaders[core.term] {
            // Election Safety.
            if other != core.id { try violate("two leaders in term \(core.term): n\(other) and n\(core.id)") }
        } else {
            knowledge.leaders[core.term] = core.id
            knowledge.newestTerm = max(knowledge.newestTerm, core.term)
            report.elections += 1
            note(node, "leads term \(core.term)")
            nodes[node].leadsSince = now
            nodes[node].heardAt = [:]
            nodes[node].attempts = [:]
            try checkLeaderCompleteness(node)
            try checkElectorate(node)
            try checkReasonForElection(node)
        }
        for (peer, follower) in core.progress { try checkProgress(of: peer, follower, core) }
    }

    /// What a leader believes of a follower, that follower has said: in this life, in this term.
    private func checkProgress(of peer: ReplicaID, _ follower: Progress, _ core: RaftCore) throws {
        guard let incarnation = core.membership[peer]?.incarnation else { return }
        let speaker = Knowledge.Speaker(incarnation: incarnation, term: core.term)
        if follower.match > knowledge.acknowledgements[speaker] ?? 0 {
            try violate(
                "n\(core.id) counts entry \(follower.match) as acknowledged by n\(peer), which has not said so in term "
                    + "\(core.term)")
        }
        if follower.confirmedRound > knowledge.answers[speaker] ?? 0 {
            try violate(
                "n\(core.id) counts round \(follower.confirmedRound) as answered by n\(peer), which has not said so in term "
                    + "\(core.term)")
        }
        if follower.answeredInFlight > 0 {
            try violate(
                "n\(core.id) keeps \(follower.answeredInFlight) appends to n\(peer) in flight that are answered")
        }
    }

    /// Leader Completeness: whoever leads has every entry that was committed in an earlier term. (A delayed vote
    /// may still elect a leader of a term that is long over; it owes nothing of later terms, and finds out.)
    private func checkLeaderCompleteness(_ node: Int) throws {
        guard let core = nodes[node].shell?.driver.core, knowledge.commitMax >= core.firstIndex else { return }
        for index in core.firstIndex...knowledge.commitMax {
            guard let (chosen, by) = knowledge.chosen[index], by < core.term else { continue }
            guard let term = core.termOfLog(at: index) else {
                try violate("leader n\(core.id) of term \(core.term) lacks committed entry \(index)@\(chosen)")
            }
            if term != chosen {
                try violate("leader n\(core.id) has \(index)@\(term) where \(index)@\(chosen) is committed")
            }
        }
    }

    /// Majorities share a voter if they are at most one change apart (dissertation, section 4.1).
    private func checkElectorate(_ node: Int) throws {
        guard let core = nodes[node].shell?.driver.core else { return }
        let missed = knowledge.memberships.filter { index in
            index > core.membership.index && knowledge.chosen[index].map { $0.by < core.term } ?? false
        }
        if missed.count > 1 {
            try violate(
                "n\(core.id) leads term \(core.term) by the members as of \(core.membership.index), "
                    + "\(missed.count) changes ago")
        }
    }

    /// What a replica calls committed, a leader has called committed, on a quorum's disks.
    private mutating func checkCommit(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let core = shell.driver.core
        // What it knew to be committed when it was elected was counted by another, perhaps by members before.
        let hasCounted = shell.wasLeader && core.commit > knowledge.commitMax
        if hasCounted {
            try checkCommittedOnQuorum(node)
            try checkNobodyElseCouldLead(node)
        }
        for index in max(core.firstIndex, shell.commitSeen + 1)..<max(core.firstIndex, core.commit + 1) {
            guard let term = core.termOfLog(at: index) else { continue }
            if let (chosen, _) = knowledge.chosen[index] {
                if chosen != term {
                    try violate("n\(core.id) takes \(index)@\(term) for committed where \(index)@\(chosen) is")
                }
            } else if hasCounted {
                knowledge.chosen[index] = (term, shell.termSeen)
            } else if core.isLeader, core.membership.voters == [core.id] {
                knowledge.chosen[index] = (term, core.term)
            } else if index > BootstrapRecord.position.index {
                try violate("n\(core.id) takes \(index)@\(term) for committed, which no leader has committed")
            }
        }
        if hasCounted { knowledge.commitMax = max(knowledge.commitMax, core.commit) }
    }

    /// What a leader calls committed is on the disks of a majority of its voters: those that it counted by, which are
    /// the ones before, if it has applied a change in the same step.
    private func checkCommittedOnQuorum(_ leader: Int) throws {
        guard let shell = nodes[leader].shell else { return }
        let core = shell.driver.core
        guard let term = core.termOfLog(at: core.commit) else { return }
        let position = LogPosition(index: core.commit, term: term)
        if try isOnQuorum(position, of: core.membership) { return }
        if !shell.membershipBefore.members.isEmpty, try isOnQuorum(position, of: shell.membershipBefore) { return }
        try violate("entry \(position) was committed by n\(core.id), but is not on the disks of a quorum")
    }

    private func isOnQuorum(_ position: LogPosition, of membership: Membership) throws -> Bool {
        let holders = try membership.voters.count { voter in
            let node = Int(voter.rawValue)
            // Its disk was lost after it had acknowledged; the operator's one allowed loss.
            if nodes[node].incarnation != membership[voter]?.incarnation { return true }
            return try isDurable(position, on: node)
        }
        return holders >= membership.quorum
    }

    /// Nobody who lacks what is committed could be elected by the logs as they are (section 5.4.2: why an entry of an
    /// earlier term isn't committed by being on a quorum).
    private func checkNobodyElseCouldLead(_ leader: Int) throws {
        guard let core = nodes[leader].shell?.driver.core, let term = core.termOfLog(at: core.commit) else { return }
        let position = LogPosition(index: core.commit, term: term)
        let voters = core.membership.members.filter { $0.standing == .voter }.map { Int($0.id.rawValue) }
        for node in voters {
            let last = try lastDurable(node)
            // Behind what is committed it would be refused by all who have that.
            guard last > position, try !isDurable(position, on: node) else { continue }
            let electors = try voters.count { try lastDurable($0) <= last }
            if electors >= core.membership.quorum {
                try violate(
                    "entry \(position) was committed by n\(core.id) in term \(core.term), and n\(nodes[node].id), whose "
                        + "log ends with \(last), could be elected without it")
            }
        }
    }

    /// Log Matching: what two logs have at the same index and term is the same, and so is everything before.
    mutating func checkLogMatching(_ request: WriteRequest, _ node: Int) throws {
        guard let first = request.entries.first, let core = nodes[node].shell?.driver.core else { return }
        guard var previous = core.termOfLog(at: first.index - 1) else { return }
        for entry in request.entries {
            let position = LogPosition(index: entry.index, term: entry.term)
            if let known = knowledge.entries[position] {
                if known.entry != entry { try violate("n\(core.id) has another entry \(position) than others had") }
                if known.previous != previous {
                    try violate(
                        "n\(core.id) has \(position) after term \(previous), others after term \(known.previous)")
                }
            } else {
                knowledge.entries[position] = (entry, previous)
            }
            previous = entry.term
        }
    }

    /// State Machine Safety: nobody ever applies another entry at the same index.
    mutating func noteApplied(_ entry: Entry, _ node: Int) throws {
        // Log time follows the clocks of a quorum, of which at most one is wrong.
        let time = UInt64(Self.epoch) + now
        if entry.stamp > time + 1_000 {
            try violate("entry \(entry.index) is stamped \(entry.stamp - time) ms ahead of the time")
        }
        if let known = knowledge.committed[entry.index] {
            if known != entry {
                try violate(
                    "n\(nodes[node].id) applied \(entry.index)@\(entry.term) where \(known.index)@\(known.term) was applied"
                )
            }
        } else {
            knowledge.committed[entry.index] = entry
            try noteMapped(entry, node)
            knowledge.logTimes[entry.index] = max(knowledge.logTimes[entry.index - 1] ?? 0, entry.stamp)
        }
    }

    /// Log time is the largest stamp so far, on every replica.
    func checkLogTime(_ applied: AppliedState, _ node: Int) throws {
        guard let expected = knowledge.logTimes[applied.position.index], applied.logTime != expected else { return }
        try violate(
            "n\(nodes[node].id) has log time \(applied.logTime) at entry \(applied.position.index), and the largest "
                + "stamp so far is \(expected)")
    }

    mutating func acknowledge(_ number: UInt64, _ position: LogPosition) {
        guard knowledge.proposals.removeValue(forKey: number) != nil else { return }
        knowledge.acknowledged.append(number)
        knowledge.acknowledgedIndex = max(knowledge.acknowledgedIndex, position.index)
        report.acknowledged += 1
    }

    /// A read sees everything that was acknowledged before it began, and its leader asks a majority after it began: one
    /// that had elected another before that doesn't answer.
    mutating func readIsReady(_ node: Int, _ token: UInt64) throws {
        guard let read = knowledge.reads.removeValue(forKey: token), let shell = nodes[node].shell else { return }
        report.reads += 1
        let applied = shell.applied.position.index
        note(node, "read \(token) at \(applied)")
        if applied < read.floor {
            try violate(
                "n\(nodes[node].id) answered a read from index \(applied); \(read.floor) was acknowledged before")
        }
        let core = shell.driver.core
        if core.isLeader, core.term == read.term, core.membership.index == read.members,
            options.plant != .unconfirmedReads
        {
            let asked = core.membership.voters.count {
                $0 == core.id || core.progress[$0]?.confirmedRound ?? 0 > read.round
            }
            if asked < core.membership.quorum {
                try violate("n\(core.id) answered a read, and no majority was asked after it began")
            }
        }
        if read.newestTerm > read.term {
            try violate(
                "n\(nodes[node].id) answered a read as leader of term \(read.term); term \(read.newestTerm) had a leader "
                    + "before it began")
        }
    }

    /// After healing: one leader, everybody equal, nothing acknowledged is missing, nothing is there twice.
    func checkConvergence() throws {
        guard let leader = currentLeader, let reference = nodes[leader].shell else {
            try violate("no leader \(now - options.faultyTime) ms after everything healed")
        }
        if knowledge.damaged != nil { try violate("a damaged disk was not replaced") }
        if knowledge.wiped != nil { try violate("the node that lost its disk has not become a voter again") }
        let expected = try content(leader)
        let members = reference.driver.core.membership
        for node in nodes.indices where members[nodes[node].id]?.incarnation == nodes[node].incarnation {
            guard let shell = nodes[node].shell else { try violate("n\(nodes[node].id) is down at the end") }
            if shell.applied != reference.applied {
                try violate(
                    "n\(nodes[node].id) is at \(shell.applied.position), the leader at "
                        + "\(reference.applied.position), long after healing")
            }
            let found = try content(node)
            if found.hash != expected.hash { try violate("n\(nodes[node].id) and n\(nodes[leader].id) differ") }
            if try mapped(node) != mapped(leader) {
                try violate("n\(nodes[node].id) and n\(nodes[leader].id) have mapped different families")
            }
        }
        var seen: Set<UInt64> = []
        for number in expected.numbers where !seen.insert(number).inserted {
            try violate("command \(number) was executed twice")
        }
        for number in knowledge.acknowledged where !seen.contains(number) {
            try violate("acknowledged command \(number) is lost")
        }
    }

    private func mapped(_ node: Int) throws -> [UInt8]? {
        guard let family = nodes[node].shell?.families[JournalMachine.mapped] else { return nil }
        do { return try nodes[node].engine.snapshot().get(family, key: [1]) } catch {
            try violate("n\(nodes[node].id) has mapped a family that isn't there: \(error)")
        }
    }

    private func content(_ node: Int) throws -> (hash: ContentHash, numbers: [UInt64]) {
        var hash = ContentHash()
        var numbers: [UInt64] = []
        guard let shell = nodes[node].shell, let family = shell.families[JournalMachine.family] else {
            return (hash, numbers)
        }
        try nodes[node].engine.snapshot().scan(family) { key, value in
            hash.add(key: key, value: value)
            var rest = value[...]
            while rest.count >= 8 {
                if let number = bigEndianNumber(UnsafeRawBufferPointer(rebasing: rest)) { numbers.append(number) }
                rest = rest.dropFirst(8)
            }
            return true
        }
        return (hash, numbers)
    }
}
