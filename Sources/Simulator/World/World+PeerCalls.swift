internal import ClientCore
internal import Keyspace
internal import RaftLog
internal import Sharding

/// How a question of one node reaches another, and what ends it: the time limits are those of `PeerCalls` and `Liveness`.
extension World {
    /// Between looks whether a node that was asked is alive, and how often it may miss one.
    private static let livenessInterval: UInt64 = 500
    private static let livenessPatience: UInt64 = 1_000
    private static let livenessMissesMax = 2

    /// Asks the process that runs at `to` now. `then` is called once, unless whoever asks dies before.
    mutating func ask(
        _ question: PeerQuestion, at to: Int, by from: Int, within patience: UInt64, isWatched: Bool = true,
        then: @escaping PeerContinuation
    ) {
        let id = takeNumber()
        peerCalls[id] = PeerCall(
            from: from, life: nodes[from].life, to: to, toLife: nodes[to].life, until: now + patience,
            isWatched: isWatched, then: then)
        queue.schedule(.liveness(call: id), at: now + min(patience, Self.livenessInterval))
        guard let arrival = from == to ? now + 1 : arrivals(from: from, to: to).first else {
            peerCalls[id]?.isBroken = true
            return
        }
        if !nodes[to].isUp, nodes[to].hasStranger {
            return queue.schedule(.peerAnswer(call: id, stranger(question, to)), at: arrival)
        }
        guard nodes[to].isUp else {
            return queue.schedule(.peerAnswer(call: id, .failure(PeerFailure("nobody listens"))), at: arrival)
        }
        queue.schedule(.peerQuestion(call: id, to: to, life: nodes[to].life, question), at: arrival)
    }

    /// Asks the nodes of a group until one answers that leads, as `LeaderCaller` does.
    mutating func askLeader(
        _ question: PeerQuestion, of addresses: [String], first: String?, by node: Int, within patience: UInt64,
        then: @escaping (inout World, PeerResult, _ by: String) throws -> Void
    ) throws {
        try ask(question, LeaderCall(addresses, first: first), node, patience, PeerFailure("no address is known"), then)
    }

    private mutating func ask(
        _ question: PeerQuestion, _ call: LeaderCall, _ node: Int, _ patience: UInt64, _ last: PeerFailure,
        _ then: @escaping (inout World, PeerResult, _ by: String) throws -> Void
    ) throws {
        var call = call
        guard let address = call.next() else { return try then(&self, .failure(last), "") }
        guard let to = nodesByAddress[address] else {
            _ = call.failed(address, nil)
            return try ask(question, call, node, patience, PeerFailure("\(address) is not an address"), then)
        }
        ask(question, at: to, by: node, within: patience) { [call] world, result in
            guard case .failure(let failure) = result else { return try then(&world, result, address) }
            var call = call
            guard call.failed(address, failure.refusal) else { return try then(&world, result, address) }
            try world.ask(question, call, node, patience, failure, then)
        }
    }

    /// The address of a group's leader, by the word of the first node that knows it.
    mutating func askWhoLeads(
        _ addresses: [String], by node: Int, then: @escaping (inout World, String?) throws -> Void
    ) throws {
        let id = takeNumber()
        let places = addresses.compactMap { nodesByAddress[$0] }
        guard !places.isEmpty else { return try then(&self, nil) }
        surveys[id] = places.count
        for place in places {
            ask(.whoLeads, at: place, by: node, within: 1_000) { world, result in
                guard let left = world.surveys[id] else { return }
                world.surveys[id] = left > 1 ? left - 1 : nil
                if case .success(.leader(let leader?)) = result {
                    world.surveys[id] = nil
                    return try then(&world, leader)
                }
                if left == 1 { try then(&world, nil) }
            }
        }
    }

    /// What a node of another cluster that listens at a node's address makes of a question.
    private func stranger(_ question: PeerQuestion, _ to: Int) -> PeerResult {
        let refusal = KvError(.failedPrecondition, "this node is of another cluster or group than was meant")
        switch question {
        case .whoLeads: return .success(.leader(nil))
        default: return .failure(PeerFailure(refusal))
        }
    }

    // MARK: - Events

    /// `respond` may be called later; it does nothing once this process has ended.
    mutating func peerQuestionArrives(_ id: UInt64, _ node: Int, _ life: UInt64, _ question: PeerQuestion) throws {
        guard nodes[node].isUp, nodes[node].life == life else {
            // Nothing is heard of it where the connection can't even be reset.
            peerCalls[id]?.isBroken = true
            return
        }
        note(node, "is asked \(Self.describe(question))")
        try answer(question, on: node) { world, result in
            guard let call = world.peerCalls[id], world.nodes[node].life == life, world.nodes[node].isUp else {
                return
            }
            let bytes = Self.bytes(of: result)
            guard
                let arrival = call.from == node
                    ? world.now + 1 : world.arrivals(from: node, to: call.from, bytes: bytes).first
            else {
                world.peerCalls[id]?.isBroken = true
                return
            }
            world.queue.schedule(.peerAnswer(call: id, result), at: arrival)
        }
    }

    mutating func peerAnswerArrives(_ id: UInt64, _ result: PeerResult) throws {
        guard let call = peerCalls.removeValue(forKey: id) else { return }
        guard nodes[call.from].isUp, nodes[call.from].life == call.life else { return }
        try call.then(&self, result)
    }

    /// Who asks looks whether the other is alive, and whether the connection is.
    mutating func livenessIsDue(_ id: UInt64) throws {
        guard let call = peerCalls[id] else { return }
        guard nodes[call.from].isUp, nodes[call.from].life == call.life else {
            peerCalls[id] = nil
            return
        }
        if now >= call.until { return try peerAnswerArrives(id, .failure(PeerFailure("no answer in time"))) }
        let isCut = isCutOff(call.from, call.to)
        let hasEnded = !nodes[call.to].isUp || nodes[call.to].life != call.toLife
        if !isCut, call.isBroken || hasEnded {
            return try peerAnswerArrives(id, .failure(PeerFailure("the connection broke")))
        }
        let isSilent = isCut || hasEnded || nodes[call.to].pausedUntil > now
        peerCalls[id]?.misses = isSilent ? call.misses + 1 : 0
        if isSilent, call.isWatched, call.misses + 1 >= Self.livenessMissesMax {
            let failure = PeerFailure("\(nodes[call.to].name) doesn't answer", isSilent: true)
            return try peerAnswerArrives(id, .failure(failure))
        }
        let pause = Self.livenessInterval + (isSilent ? Self.livenessPatience : 0)
        queue.schedule(.liveness(call: id), at: min(call.until, now + pause))
    }

    private func isCutOff(_ one: Int, _ other: Int) -> Bool {
        guard one != other, !network.cut.isEmpty else { return false }
        return network.cut.contains(Network.Link(from: one, to: other))
            || network.cut.contains(Network.Link(from: other, to: one))
    }

    /// Something that a process does a little later, if it still runs.
    mutating func after(_ wait: UInt64, on node: Int, _ body: @escaping (inout World) throws -> Void) {
        queue.schedule(.later(node: node, life: nodes[node].life, body), at: now + wait)
    }

    /// What an answer takes on the wire, about.
    private static func bytes(of result: PeerResult) -> Int {
        func bytes(_ rows: [FamilyRow]) -> Int { rows.reduce(0) { $0 + $1.key.count + $1.value.count + 8 } }
        switch result {
        case .success(.rows(let rows)): return 96 + bytes(rows)
        case .success(.changes(let page, _)):
            return page.rows.reduce(96) { $0 + $1.key.count + ($1.value?.count ?? 0) + 8 }
        case .success(.snapshot(_, let contents)): return contents.reduce(300) { $0 + bytes($1) }
        case .success, .failure: return 96
        }
    }

    private static func describe(_ question: PeerQuestion) -> String {
        switch question {
        case .identify: "who it is"
        case .map(let number): "for a map above \(number.map { "\($0)" } ?? "none")"
        case .command: "to change the map"
        case .whoLeads: "who leads"
        case .source(.prepare(let shard, for: let gid, _), _): "to prepare \(shard) for group \(gid)"
        case .changes(let shard, _, let index): "what has changed in \(shard) after \(index)"
        case .source(.freeze(let shard, for: let gid), _): "to freeze \(shard) for group \(gid)"
        case .source(.collect(let shard, _), _): "to collect \(shard)"
        case .stage(let order, _): "to stage \(order.shard)"
        case .openExport(let shard, _): "for an export of \(shard)"
        case .readExport(_, let row): "for rows from \(row)"
        case .closeExport: "to close an export"
        case .snapshot: "for a snapshot"
        }
    }
}
