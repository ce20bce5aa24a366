internal import Bytes
internal import Engines
internal import RaftLog

/// What must hold at every step (section 5 of the paper, Figure 3), and at the end.
extension Simulation {
    /// What an omniscient observer remembers.
    struct Knowledge {
        var leaders: [Term: ReplicaID] = [:]
        /// Every entry that some replica has applied, by index: the committed log.
        var committed: [LogIndex: Entry] = [:]
        /// The term in which some replica first applied it: it was committed in that term or before.
        var committedBy: [LogIndex: Term] = [:]
        var commitMax: LogIndex = 0
        /// Proposals that are not answered yet.
        var proposals: [UInt64: UInt64] = [:]
        var acknowledged: [UInt64] = []
        var acknowledgedIndex: LogIndex = 0
        /// Reads under way, with what had been acknowledged when they began.
        var reads: [UInt64: LogIndex] = [:]
        /// The node whose disk was lost and which is not a voter again yet.
        var wiped: Int?
        var firstMembership: Membership?
    }

    func violate(_ sentence: String) throws -> Never { throw Violation(sentence: sentence) }

    mutating func observe(_ node: Int) throws {
        guard let process = nodes[node].process else { return }
        let core = process.driver.core
        if knowledge.firstMembership == nil { knowledge.firstMembership = core.membership }
        if core.term < process.term { try violate("n\(core.id): term went back from \(process.term) to \(core.term)") }
        if core.commit < process.commit {
            try violate("n\(core.id): commit went back from \(process.commit) to \(core.commit)")
        }
        nodes[node].process?.term = core.term
        nodes[node].process?.commit = core.commit
        if core.lastPosition.term > core.term {
            try violate("n\(core.id): its log ends with term \(core.lastPosition.term), its own is \(core.term)")
        }
        if core.applied > core.commit {
            try violate("n\(core.id): applied \(core.applied) beyond commit \(core.commit)")
        }
        defer {
            nodes[node].process?.membership = core.membership
            nodes[node].process?.isLeader = core.isLeader
        }
        guard core.isLeader else { return }
        if let other = knowledge.leaders[core.term] {
            // Election Safety.
            if other != core.id { try violate("two leaders in term \(core.term): n\(other) and n\(core.id)") }
        } else {
            knowledge.leaders[core.term] = core.id
            report.elections += 1
            note(node, "leads term \(core.term)")
            try checkLeaderCompleteness(node)
        }
        // What it knew to be committed when it was elected was counted by another, perhaps by members before.
        guard core.commit > knowledge.commitMax else { return }
        if process.isLeader { try checkCommittedOnQuorum(node) }
        knowledge.commitMax = core.commit
    }

    /// Leader Completeness: whoever leads has every entry that was committed in an earlier term. (A delayed vote
    /// may still elect a leader of a term that is long over; it owes nothing of later terms, and finds out.)
    private func checkLeaderCompleteness(_ node: Int) throws {
        guard let core = nodes[node].process?.driver.core else { return }
        for (index, entry) in knowledge.committed.sorted(by: { $0.key < $1.key }) where index >= core.firstIndex {
            guard let committedBy = knowledge.committedBy[index], committedBy < core.term else { continue }
            guard let term = core.termOfLog(at: index) else {
                try violate("leader n\(core.id) of term \(core.term) lacks committed entry \(index)@\(entry.term)")
            }
            if term != entry.term {
                try violate("leader n\(core.id) has \(index)@\(term) where \(index)@\(entry.term) is committed")
            }
        }
    }

    /// What a leader calls committed is on the disks of a majority of its voters: those that it counted by, which are
    /// the ones before, if it has applied a change in the same step.
    private func checkCommittedOnQuorum(_ leader: Int) throws {
        guard let process = nodes[leader].process else { return }
        let core = process.driver.core
        guard let term = core.termOfLog(at: core.commit) else { return }
        let position = LogPosition(index: core.commit, term: term)
        if try isOnQuorum(position, of: core.membership) { return }
        if !process.membership.members.isEmpty, try isOnQuorum(position, of: process.membership) { return }
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

    func isDurable(_ position: LogPosition, on node: Int) throws -> Bool {
        let view = nodes[node].engine.durableSnapshot()
        guard let families = try? FamilyTable(engine: nodes[node].engine),
            let layout = try? families.layout(of: layoutGroup)
        else { return false }
        let rows = try GroupStorageRows.load(layout, in: view)
        if rows.base.index >= position.index { return true }
        // Not by `readEntries`, to which an entry that isn't there yet is damage.
        guard let row = try view.get(layout.log, key: GroupLayout.logKey(position.index)) else { return false }
        return try layout.decode(position.index, row).term == position.term
    }

    /// What a replica finds when it starts counts as its own, so it must be on the disk.
    func checkFound(_ last: LogPosition, _ node: Int) throws {
        if last.index > BootstrapRecord.position.index, try !isDurable(last, on: node) {
            try violate("n\(nodes[node].id) counts entry \(last), which it found, and a power cut may take it away")
        }
    }

    /// Durable before said: votes and acknowledgements leave only after what they promise is on disk.
    func checkPromise(_ message: Message, _ node: Int) throws {
        switch message.body {
        case .vote(granted: true, isPreVote: false):
            let state = try durableState(node)
            if state.term < message.term || (state.term == message.term && state.vote != message.to) {
                try violate("n\(message.from) promised its vote in term \(message.term) before it was on disk")
            }
        case .requestVote(_, isPreVote: false, _):
            let state = try durableState(node)
            if state.term < message.term {
                try violate("n\(message.from) asked for votes in term \(message.term) before its own was on disk")
            }
        case .appended(let match):
            guard let core = nodes[node].process?.driver.core, core.term == message.term,
                let term = core.termOfLog(at: match)
            else { return }
            if try !isDurable(LogPosition(index: match, term: term), on: node) {
                try violate("n\(message.from) acknowledged entry \(match) before it was on disk")
            }
        default: return
        }
    }

    private func durableState(_ node: Int) throws -> HardState {
        let view = nodes[node].engine.durableSnapshot()
        let layout = try FamilyTable(engine: nodes[node].engine).layout(of: layoutGroup)
        return try GroupStorageRows.load(layout, in: view).hardState
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
            knowledge.committedBy[entry.index] = nodes[node].process?.driver.core.term ?? entry.term
        }
    }

    mutating func acknowledge(_ number: UInt64, _ position: LogPosition) {
        guard knowledge.proposals.removeValue(forKey: number) != nil else { return }
        knowledge.acknowledged.append(number)
        knowledge.acknowledgedIndex = max(knowledge.acknowledgedIndex, position.index)
        report.acknowledged += 1
    }

    /// A read sees everything that was acknowledged before it began.
    mutating func readIsReady(_ node: Int, _ token: UInt64) throws {
        guard let floor = knowledge.reads.removeValue(forKey: token), let process = nodes[node].process else { return }
        report.reads += 1
        let applied = process.storage.applied.position.index
        note(node, "read \(token) at \(applied)")
        if applied < floor {
            try violate("n\(nodes[node].id) answered a read from index \(applied); \(floor) was acknowledged before")
        }
    }

    /// After healing: one leader, everybody equal, nothing acknowledged is missing, nothing is there twice.
    mutating func checkConvergence() throws {
        guard let leader = currentLeader, let reference = nodes[leader].process else {
            try violate("no leader \(options.healingTime) ms after everything healed")
        }
        if knowledge.wiped != nil { try violate("the node that lost its disk has not become a voter again") }
        let expected = try content(leader)
        let members = reference.driver.core.membership
        for node in nodes.indices where members[nodes[node].id]?.incarnation == nodes[node].incarnation {
            guard let process = nodes[node].process else { try violate("n\(nodes[node].id) is down at the end") }
            if process.storage.applied != reference.storage.applied {
                try violate(
                    "n\(nodes[node].id) is at \(process.storage.applied.position), the leader at "
                        + "\(reference.storage.applied.position), long after healing")
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
        guard let family = nodes[node].process?.storage.families[JournalMachine.mapped] else { return nil }
        return try nodes[node].engine.snapshot().get(family, key: [1])
    }

    private func content(_ node: Int) throws -> (hash: ContentHash, numbers: [UInt64]) {
        var hash = ContentHash()
        var numbers: [UInt64] = []
        guard let process = nodes[node].process, let family = process.storage.families[JournalMachine.family] else {
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
