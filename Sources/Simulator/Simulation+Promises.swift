internal import Bytes
internal import Engines
internal import RaftLog

/// Durable before said: what a replica has promised is on its disk, and stays there.
extension Simulation {
    mutating func checkPromise(_ message: Message, _ node: Int) throws {
        switch message.body {
        case .vote(granted: true, let isPreVote): try checkVote(message, isPreVote: isPreVote, node)
        case .requestVote(let last, let isPreVote, _):
            knowledge.candidacies[.init(term: message.term, voter: message.from)] = last
            if !isPreVote { try checkDurable(message, node, "asked for votes") }
            if let core = nodes[node].shell?.driver.core, core.term <= message.term,
                let change = core.unappliedMemberships.first, change <= core.commit
            {
                try violate(
                    "n\(message.from) asks for votes, and hasn't applied the change of members that it knows of")
            }
            if let since = nodes[node].syncingSince, now > max(since, nodes[node].pausedUntil) + 2 * electionTimeout {
                try violate("n\(message.from) asks for votes, and its disk has stood still since \(since)")
            }
        case .appended(let match):
            try checkDurable(message, node, "acknowledged entries")
            let speaker = Knowledge.Speaker(incarnation: message.fromIncarnation, term: message.term)
            knowledge.acknowledgements[speaker] = max(knowledge.acknowledgements[speaker] ?? 0, match)
            guard let core = nodes[node].shell?.driver.core, core.term == message.term,
                let term = core.termOfLog(at: match)
            else { return }
            if try !isDurable(LogPosition(index: match, term: term), on: node) {
                try violate("n\(message.from) acknowledged entry \(match) before it was on disk")
            }
            if let leader = nodes[Int(message.to.rawValue)].shell?.driver.core, leader.isLeader,
                leader.term == message.term, match > leader.firstIndex, leader.termOfLog(at: match) != term
            {
                try violate(
                    "n\(message.from) acknowledged \(match)@\(term), which its leader n\(message.to) doesn't have")
            }
        case .heartbeatReply(let round):
            let speaker = Knowledge.Speaker(incarnation: message.fromIncarnation, term: message.term)
            knowledge.answers[speaker] = max(knowledge.answers[speaker] ?? 0, round)
        default: return
        }
    }

    private mutating func checkVote(_ message: Message, isPreVote: Bool, _ node: Int) throws {
        let term = message.term
        // The election restriction (section 5.4.1). The log may have grown since the vote was given, within this round or
        // by the leader that it helped to elect.
        if let asked = knowledge.candidacies[.init(term: term, voter: message.to)], knowledge.leaders[term] == nil,
            let core = nodes[node].shell?.driver.core, core.term <= term,
            case let last = core.lastPosition, min(last, nodes[node].lastBefore) > asked
        {
            try violate(
                "n\(message.from), whose log ends with \(last), granted a \(isPreVote ? "pre-vote" : "vote") in term \(term) "
                    + "to n\(message.to), whose log ends with \(asked)")
        }
        guard !isPreVote else { return }
        let state = try durableRows(node).hardState
        if state.term < term || (state.term == term && state.vote != message.to) {
            try violate("n\(message.from) promised its vote in term \(term) before it was on disk")
        }
        let ballot = Knowledge.Ballot(term: term, voter: message.from)
        if let other = knowledge.ballots.updateValue(message.to, forKey: ballot), other != message.to {
            try violate("n\(message.from) voted in term \(term) for n\(other) and for n\(message.to)")
        }
        promise(HardState(term: term, vote: message.to), node)
    }

    /// The term of what is said is on the disk.
    private mutating func checkDurable(_ message: Message, _ node: Int, _ deed: String) throws {
        if try durableRows(node).hardState.term < message.term {
            try violate("n\(message.from) \(deed) in term \(message.term) before the term was on disk")
        }
        promise(HardState(term: message.term, vote: nil), node)
    }

    private mutating func promise(_ state: HardState, _ node: Int) {
        if state.term > nodes[node].promised.term || (state.term == nodes[node].promised.term && state.vote != nil) {
            nodes[node].promised = state
        }
    }

    /// Nothing on a disk that nobody has written to.
    private func layout(in view: any ReadView) -> GroupLayout? {
        (try? FamilyTable.layout(of: layoutGroup, in: view)) ?? nil
    }

    func durableRows(_ node: Int) throws -> GroupStorageRows {
        let view = nodes[node].engine.durableSnapshot()
        guard let layout = layout(in: view) else { return GroupStorageRows() }
        return try GroupStorageRows.load(layout, in: view)
    }

    func isDurable(_ position: LogPosition, on node: Int) throws -> Bool {
        let view = nodes[node].engine.durableSnapshot()
        guard let layout = layout(in: view) else { return false }
        // Not by `readEntries`, to which an entry that isn't there yet is damage.
        if let row = try view.get(layout.log, key: GroupLayout.logKey(position.index)) {
            return try layout.decode(position.index, row).term == position.term
        }
        return try GroupStorageRows.load(layout, in: view).base.index >= position.index
    }

    /// What is applied is in the log of this disk: after a power cut behind this write, too.
    func checkApplied(_ applied: LogPosition, _ node: Int) throws {
        guard knobs.driver.logBytesMax < 1 << 20, case let last = try last(in: nodes[node].engine.undamagedSnapshot()),
            last.index < applied.index
        else { return }
        try violate("n\(nodes[node].id) has written that \(applied) is applied, and its log goes to \(last)")
    }

    /// Where the log on the disk ends.
    func lastDurable(_ node: Int) throws -> LogPosition { try last(in: nodes[node].engine.durableSnapshot()) }

    private func last(in view: any ReadView) throws -> LogPosition {
        guard let layout = layout(in: view) else { return .zero }
        let cursor = try view.cursor(layout.log, lower: [], upper: nil, reverse: true)
        if let (key, value) = try cursor.next({ (Array($0), Array($1)) }),
            let index = key.withUnsafeBytes({ bigEndianNumber($0) })
        {
            return LogPosition(index: index, term: try layout.decode(index, value).term)
        }
        return try GroupStorageRows.load(layout, in: view).base
    }

    /// What a process finds when it starts: promises that are kept, and a log that was once somebody's.
    func checkDirectory(_ node: Int) throws {
        let id = nodes[node].id
        let view = nodes[node].engine.undamagedSnapshot()
        guard let layout = layout(in: view) else { return }
        let rows = try GroupStorageRows.load(layout, in: view)
        let (found, promised) = (rows.hardState, nodes[node].promised)
        let isKept =
            found.term > promised.term
            || (found.term == promised.term && (promised.vote == nil || found.vote == promised.vote))
        if !isKept {
            try violate("n\(id) comes back in term \(found.term), and had promised term \(promised.term)")
        }
        var previous = rows.base
        var objection: String?
        try layout.scanLog(from: rows.base.index + 1, in: view) { row in
            let position = LogPosition(index: row.index, term: row.term)
            let known = knowledge.entries[position]
            if position.index != previous.index + 1 || known.map({ $0.previous != previous.term }) ?? false {
                objection = "n\(id) finds \(position) after \(previous) in its log, which nobody has written"
                return false
            }
            previous = position
            return true
        }
        if let objection { try violate(objection) }
        if rows.applied.position.index > previous.index {
            try violate("n\(id) has applied \(rows.applied.position) and its log ends with \(previous)")
        }
        for (name, family) in rows.families.merging(rows.staged.compactMapValues(\.family), uniquingKeysWith: { $1 })
        where try !nodes[node].engine.families().contains(family) {
            try violate("n\(id) finds \(name) named, and its family gone")
        }
    }

    /// What a replica finds when it starts counts as its own, so it must be on the disk.
    func checkFound(_ last: LogPosition, _ node: Int) throws {
        if last.index > BootstrapRecord.position.index, try !isDurable(last, on: node) {
            try violate("n\(nodes[node].id) counts entry \(last), which it found, and a power cut may take it away")
        }
    }

    /// Members by which a replica acts are on its disk: those of several changes ago could decide without the others.
    mutating func checkMembers(_ node: Int) throws {
        guard let shell = nodes[node].shell else { return }
        let index = shell.driver.core.membership.index
        nodes[node].membersSince = now
        if index > 0, knowledge.memberships.insert(index).inserted { try checkHolders(shell.driver.core.membership) }
        // Those of a snapshot come with all that it brings.
        guard index <= shell.applied.position.index, options.plant != .acknowledgeBeforeSync else { return }
        if try durableRows(node).membership.index < index {
            try violate("n\(nodes[node].id) acts by the members as of \(index), which its disk may lose")
        }
    }
}
