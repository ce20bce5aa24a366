internal import Bytes
internal import Engines
internal import RaftLog

/// What clients and the operator do.
extension Simulation {
    mutating func client() throws {
        if now < options.faultyTime + options.healingTime * 3 / 4, requests < options.requestsMax ?? .max {
            queue.schedule(.client, at: now + UInt64.random(in: 5...120, using: &random))
        }
        // Clients ask whoever they believe to lead; often that is somebody who no longer does.
        let believers = nodes.indices.filter { nodes[$0].shell?.driver.core.isLeader == true }
        guard let node = believers.randomElement(using: &random) else { return }
        // Sometimes many at once: more than a leader that is cut off can ever commit.
        let count = chance(2) ? 40 : Int.random(in: 1...4, using: &random)
        for _ in 0..<count {
            requests += 1
            if chance(30) {
                try read(node)
            } else {
                let number = takeNumber()
                let payload = chance(4) ? try stage(number, node) : bigEndianBytes(number)
                knowledge.proposals[number] = now
                post(.propose(payload, token: number), to: node)
            }
        }
    }

    private mutating func read(_ node: Int) throws {
        let token = takeNumber()
        let term = nodes[node].shell?.driver.core.term ?? 0
        knowledge.reads[token] = Knowledge.Read(
            floor: knowledge.acknowledgedIndex, newestTerm: knowledge.newestTerm, term: term)
        if options.plant == .unconfirmedReads { return try readIsReady(node, token) }
        post(.read(token: token), to: node)
    }

    /// Loads a family beside the log of a random quorum, as the leader of a move has its members do. Sometimes one too
    /// few: then the command must do nothing.
    private mutating func stage(_ number: UInt64, _ leader: Int) throws -> [UInt8] {
        guard let membership = nodes[leader].shell?.driver.core.membership else { return bigEndianBytes(number) }
        let up = membership.voters.shuffled(using: &random).map { Int($0.rawValue) }.filter { node in
            nodes[node].shell != nil && nodes[node].fullUntil <= now
                && membership[nodes[node].id]?.incarnation == nodes[node].incarnation
        }
        let wanted =
            chance(10)
            ? membership.quorum - 1 : Int.random(in: membership.quorum...membership.members.count, using: &random)
        var lives: [Incarnation] = []
        for node in up.prefix(wanted) {
            try stage(number, on: node)
            lives.append(nodes[node].incarnation)
        }
        report.stages += 1
        note(leader, "command \(number) needs what \(lives.count) have staged")
        return JournalMachine.payload(number, stagedBy: lives)
    }

    mutating func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    /// The operator replaces the node that lost its disk, as the log of that node says, and adds and removes others.
    mutating func operate() throws {
        queue.schedule(
            .operator, at: now + (isHealed ? 150 : UInt64.random(in: 50...knobs.operatorPace, using: &random)))
        try replaceDamaged()
        if knowledge.damaged != nil { return }
        // Whoever is asked is whoever believes to lead.
        let believers = nodes.indices.filter { nodes[$0].shell?.driver.core.isLeader == true }
        let asked = chance(30) ? believers.randomElement(using: &random) : currentLeader
        guard let leader = asked, let membership = nodes[leader].shell?.driver.core.membership else { return }
        guard let wiped = knowledge.wiped else { return try changeMembers(leader, membership) }
        let member = membership[nodes[wiped].id]
        if member?.incarnation == nodes[wiped].incarnation {
            if member?.standing == .voter { knowledge.wiped = nil }
            return
        }
        let id = nodes[wiped].id
        let change: MembershipChange =
            member == nil
            ? .add(id, address: "n\(id)", incarnation: nodes[wiped].incarnation)
            : .replace(id, address: "n\(id)", incarnation: nodes[wiped].incarnation)
        post(.change(change), to: leader)
    }

    /// Between two and all nodes are members. One that comes back after it was removed has its old disk.
    private mutating func changeMembers(_ leader: Int, _ membership: Membership) throws {
        guard knobs.changesMembers, !isHealed else { return }
        // A hasty operator asks for the next change before it has heard of the last.
        for _ in 0..<(chance(20) ? 2 : 1) {
            let node = Int.random(in: nodes.indices, using: &random)
            let id = nodes[node].id
            if membership[id] != nil {
                guard membership.voters.count > 2 || !membership.isVoter(id), chance(60) else { continue }
                post(.change(.remove(id)), to: leader)
            } else {
                if nodes[node].life == 0 { try start(node) }
                post(.change(.add(id, address: "n\(id)", incarnation: nodes[node].incarnation)), to: leader)
            }
        }
    }
}
