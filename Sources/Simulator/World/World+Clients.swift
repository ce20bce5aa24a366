internal import ClientCore
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Clients, and what becomes of the steps that their cores say.
extension World {
    mutating func newClient(_ number: Int, life: UInt64) -> WorldClient {
        let offset = [0, 0, 40, -40, 7_200_000, -3_600_000][Int.random(in: 0..<6, using: &random)]
        let state = ClientState(
            attemptPatience: .milliseconds(Int64(knobs.attemptPatience)),
            sessionLifetime: .milliseconds(Int64(knobs.sessionLifetime)), seed: random.next())
        return WorldClient(
            number: number, life: life, clockOffset: Int64(offset), state: state,
            controllers: ControllerState(seed: random.next()))
    }

    var time: Duration { .milliseconds(Int64(now)) }
    private func wall(of client: WorldClient) -> UInt64 { UInt64(Self.epoch + Int64(now) + client.clockOffset) }

    /// The first whole millisecond that is not before it.
    static func milliseconds(_ moment: Duration) -> UInt64 {
        let (seconds, attoseconds) = moment.components
        return UInt64(max(0, seconds)) * 1_000
            + UInt64((max(0, attoseconds) + 999_999_999_999_999) / 1_000_000_000_000_000)
    }

    static func key(_ number: Int) -> [UInt8] { Array("key\(number)".utf8) }

    // MARK: - What clients want

    mutating func clientActs(_ number: Int, _ life: UInt64) throws {
        let client = clients[number]
        guard client.life == life else { return }
        guard now < options.faultyTime + options.healingTime / 2 else { return }
        queue.schedule(.client(number, life: life), at: now + delay(knobs.clientPace))
        if !isCalm, chance(1), chance(30) { return try crash(client) }
        if chance(2) { try closeSessions(client) }
        guard client.operations.count < knobs.operationsMax else { return }
        let key = Int.random(in: 0..<knobs.keys, using: &random)
        let id = history.operations.count
        let value = Array("<\(id)>".utf8)
        let long = value + [UInt8](repeating: UInt8(ascii: "."), count: knobs.padding)
        let operation: KeyOperation?
        switch UInt64.random(in: 0..<100, using: &random) {
        case 0..<40: operation = nil
        case 40..<58: operation = .put(value: long)
        case 58..<78: operation = .append(value: value)
        case 78..<88: operation = .delete
        default: operation = .compareAndSet(expected: client.seen[key], value: chance(85) ? value : nil)
        }
        history.operations.append(
            ClusterHistory.Operation(
                key: key, client: number, call: operation.map { .write($0) } ?? .get, began: takeNumber()))
        let kind: WorldClient.Operation.Kind =
            if let operation { .write(key: Self.key(key), operation) } else { .get(key: Self.key(key)) }
        note(at: client.name, "#\(id) begins: \(history.describe(id))")
        let patience = pick([300, 1_500, 5_000])
        begin(
            id, kind,
            KvCall(.key(Self.key(key)), isWrite: operation != nil, end: time + .milliseconds(Int64(patience))), client)
        try proceed(id, client)
    }

    /// It is done with its sessions. Writes that are under way stay in theirs, and may be refused.
    private mutating func closeSessions(_ client: WorldClient) throws {
        for (shard, token) in client.state.sessions.retireAll() {
            let id = history.operations.count
            history.operations.append(
                ClusterHistory.Operation(key: nil, client: client.number, call: .get, began: takeNumber()))
            note(at: client.name, "#\(id) begins: close the session of shard \(shard)")
            begin(
                id, .close(shard, token: token),
                KvCall(.shard(shard), isWrite: false, changes: true, end: time + .milliseconds(1_000)), client)
            try proceed(id, client)
        }
    }

    /// The program is gone; what it had asked for may still happen.
    private mutating func crash(_ client: WorldClient) throws {
        note(at: client.name, "crash with \(client.operations.count) operations under way")
        report.clientCrashes += 1
        for id in client.operations.keys.sorted() { try end(id, .unknown) }
        let next = newClient(client.number, life: client.life + 1)
        clients[client.number] = next
        queue.schedule(.client(next.number, life: next.life), at: now + delay(500))
    }

    private func begin(_ id: Int, _ kind: WorldClient.Operation.Kind, _ call: KvCall, _ client: WorldClient) {
        client.operations[id] = WorldClient.Operation(kind: kind, call: call)
    }

    private mutating func proceed(_ id: Int, _ client: WorldClient) throws {
        try advance(id, client) { [time = self.time, wall = wall(of: client)] call, state in
            call.begin(&state, now: time, wall: wall)
        }
    }

    // MARK: - Steps

    private mutating func advance(
        _ id: Int, _ client: WorldClient, _ input: (inout KvCall, inout ClientState) -> KvCall.Step
    ) throws {
        guard var operation = client.operations[id] else { return }
        client.operations[id] = nil
        var step = input(&operation.call, &client.state)
        while case .openSession = step {
            var token: [UInt8] = []
            for _ in 0..<2 {
                withUnsafeBytes(of: random.next().bigEndian) { token += $0 }
            }
            report.sessions += 1
            step = operation.call.opened(token, &client.state, now: time)
        }
        operation.attempt += 1
        operation.isAsking = false
        switch step {
        case .openSession: return
        case .ask(let ask):
            operation.isAsking = true
            client.operations[id] = operation
            return try self.ask(id, operation, ask, client)
        case .askMap(let until):
            client.operations[id] = operation
            let owner = PendingCall.Owner.clientMap(
                client: client.number, life: client.life, operation: id, attempt: operation.attempt)
            try call(.query, changes: false, within: until - time, owner)
            return
        case .wait(let until):
            client.operations[id] = operation
            schedule(id, operation, client, at: until)
            return
        case .done(let result): try finish(id, operation, result, client)
        case .failed(let failure): try finish(id, failure, client)
        }
    }

    private mutating func schedule(
        _ id: Int, _ operation: WorldClient.Operation, _ client: WorldClient, at moment: Duration
    ) {
        queue.schedule(
            .attemptEnds(client: client.number, life: client.life, operation: id, attempt: operation.attempt),
            at: max(now, Self.milliseconds(moment)))
    }

    private mutating func ask(
        _ id: Int, _ operation: WorldClient.Operation, _ ask: KvCall.Ask, _ client: WorldClient
    ) throws {
        let asked: KvRequest.Operation
        switch operation.kind {
        case .get(let key): asked = .get(key: key)
        case .close(let shard, let token): asked = .closeSession(shard, token: token)
        case .write(let key, let write):
            var stamp = ask.stamp
            if options.plant == .retriesInNewSession, operation.wasLost {
                stamp?.token = Array(repeating: UInt8(truncatingIfNeeded: takeNumber()), count: SessionStamp.tokenBytes)
                stamp?.sequence = 1
                stamp?.lowestUnanswered = 1
            }
            if let stamp { history.writes[ClusterHistory.Stamp(stamp)] = id }
            asked = .write(key: key, write, stamp)
        }
        note(at: client.name, "#\(id) asks \(ask.address)")
        try send(
            KvRequest(id: 0, config: ask.config, cluster: options.plant == .clusterUnsaid ? 0 : ask.cluster, asked),
            to: ask.address, ask.patience,
            for: WorldClient.Waiter(operation: id, attempt: operation.attempt), client)
    }

    /// What has come of an attempt.
    mutating func tell(_ waiter: WorldClient.Waiter, _ outcome: AskOutcome, _ client: WorldClient) throws {
        let id = waiter.operation
        guard let operation = client.operations[id], operation.attempt == waiter.attempt, operation.isAsking else {
            return
        }
        var outcome = outcome
        if case .lost = outcome {
            client.operations[id]?.wasLost = true
            if options.plant == .lostTakenForNotSent { outcome = .notSent }
        }
        if trace != nil { note(at: client.name, "#\(id) hears \(Self.describe(outcome))") }
        try advance(id, client) { [time = self.time] call, state in call.heard(outcome, &state, now: time) }
    }

    /// A pause is over.
    mutating func attemptEnds(_ number: Int, _ life: UInt64, _ id: Int, _ attempt: Int) throws {
        let client = clients[number]
        guard client.life == life, let operation = client.operations[id], operation.attempt == attempt,
            !operation.isAsking
        else { return }
        try advance(id, client) { [time = self.time] call, state in call.woken(&state, now: time) }
    }

    mutating func mapArrived(
        _ result: Result<ShardMap, CallFailure>, _ number: Int, _ life: UInt64, _ id: Int, _ attempt: Int
    ) throws {
        let client = clients[number]
        guard client.life == life, client.operations[id]?.attempt == attempt else { return }
        try advance(id, client) { [time = self.time] call, state in
            switch result {
            case .success(let map): call.mapArrived(map, &state, now: time)
            case .failure(let failure): call.mapMissing(failure, &state, now: time)
            }
        }
    }

    // MARK: - Ends

    private mutating func finish(
        _ id: Int, _ operation: WorldClient.Operation, _ result: KvResponse.Result, _ client: WorldClient
    ) throws {
        switch result {
        case .value(let value):
            if let key = history.operations[id].key { client.seen[key] = value }
            try end(id, .value(value))
        case .written(let reply): try end(id, .written(reply))
        case .page, .sessions, .failed: try violate("operation #\(id) has the answer of another one")
        }
    }

    private mutating func finish(_ id: Int, _ failure: CallFailure, _ client: WorldClient) throws {
        note(at: client.name, "#\(id) fails: \(failure.message)")
        let isUnknown = failure.code == .outcomeUnknown && options.plant != .unknownCalledFailed
        try end(id, isUnknown ? .unknown : .failed)
    }

    private mutating func end(_ id: Int, _ outcome: ClusterHistory.Outcome) throws {
        history.operations[id].ended = takeNumber()
        history.operations[id].outcome = outcome
        guard history.operations[id].key != nil else { return }
        note(at: clients[history.operations[id].client].name, "#\(id) ends: \(history.describe(id))")
        switch outcome {
        case .open: return
        case .value, .written: report.answered += 1
        case .unknown: report.unknown += 1
        case .failed:
            report.failed += 1
            if history.operations[id].isExecuted {
                try violate("write #\(id) was executed, and its client hears that nothing was done")
            }
        }
    }

    static func describe(_ outcome: AskOutcome) -> String {
        switch outcome {
        case .answered(let response):
            switch response.result {
            case .failed(let error): "\(error.code): \(error.message)"
            case .value, .written, .page, .sessions: "the answer"
            }
        case .notSent: "that nobody is there"
        case .lost: "nothing"
        }
    }
}
