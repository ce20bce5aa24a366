internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What a node's doors make of requests, as `GroupFront` and the controller's service do: proposals, reads, answers.
extension World {
    mutating func receive(_ request: Request) throws {
        let node = request.to
        guard nodes[node].isUp else {
            if nodes[node].hasStranger { answerAsStranger(request) }
            return
        }
        guard let shell = nodes[node].shell else {
            return refuse(request, KvError(.unavailable, "the node is starting", retryAfterMilliseconds: 100))
        }
        let isController = groups[nodes[node].group].isController
        switch request.body {
        case .keys(let asked):
            guard !isController else { return }
            let own = ShardMap.mark(ofCluster: nodes[node].directory.cluster)
            if asked.cluster != 0, own != 0, asked.cluster != own { return refuse(request, Self.anotherCluster) }
            if let error = Self.invalid(asked.operation) { return refuse(request, error) }
            switch asked.operation {
            case .get:
                let isHasty =
                    options.plant == .followerReads
                    || (options.plant == .unconfirmedReads && shell.driver.core.isLeader)
                if isHasty { return try answerRead(request, shell, node) }
                wait(request, .read, on: node)
            case .write(let key, let operation, let stamp):
                let bytes = key.count + operation.longestValue.count
                let shard = Slot.shard(of: key, shardCount: knobs.shardCount)
                if !nodes[node].desks.source.admits(bytes, to: shard, now: now) {
                    let slower = KvError(.busy, "shard \(shard) is moving", retryAfterMilliseconds: 10)
                    report.busy += 1
                    return refuse(request, slower)
                }
                wait(request, .propose(GroupCommand.write(key: key, operation, stamp).encoded), on: node)
            case .closeSession(let shard, let token):
                wait(request, .propose(GroupCommand.closeSession(shard, token: token).encoded), on: node)
            case .scan, .listSessions: return
            }
        case .query:
            guard isController else { return }
            wait(request, .read, on: node)
        case .command(let payload):
            guard isController else { return }
            wait(request, .propose(payload), on: node)
        }
    }

    /// A node of another cluster has come to listen at the address. It would serve whoever doesn't say whom he means.
    private mutating func answerAsStranger(_ request: Request) {
        guard case .keys(let asked) = request.body else { return }
        let own = ShardMap.mark(ofCluster: [UInt8](repeating: 0xAA, count: 16))
        if asked.cluster != 0, asked.cluster != own {
            return refuse(request, Self.anotherCluster)
        }
        switch asked.operation {
        case .get: reply(.keys(KvResponse(id: 0, .value(nil))), to: request)
        case .write(_, .append(let value), _):
            reply(.keys(KvResponse(id: 0, .written(.appended(length: value.count)))), to: request)
        case .write(_, .delete, _): reply(.keys(KvResponse(id: 0, .written(.deleted(existed: false)))), to: request)
        case .write(_, .compareAndSet(let expected, _), _):
            reply(.keys(KvResponse(id: 0, .written(.compared(succeeded: expected == nil)))), to: request)
        case .write, .closeSession: reply(.keys(KvResponse(id: 0, .written(.put))), to: request)
        case .scan, .listSessions: return
        }
    }

    private static let anotherCluster = KvError(.unavailable, "this node is of another cluster than was meant")

    private enum Ask {
        case read
        case propose([UInt8])
    }

    private mutating func wait(_ request: Request, _ ask: Ask, on node: Int) {
        wait(.request(request), ask, on: node)
    }

    private mutating func wait(_ waiter: WorldNode.Waiter, _ ask: Ask, on node: Int) {
        var isUrgent = options.plant != .ownCommandsWait
        if case .request = waiter { isUrgent = false }
        let token = takeNumber()
        nodes[node].waiters[token] = waiter
        switch ask {
        case .read: post(.read(token: token, isUrgent: isUrgent), to: node)
        case .propose(let payload): post(.propose(payload, token: token, isUrgent: isUrgent), to: node)
        }
    }

    /// Proposes to the log of a node's group, for the node itself.
    mutating func propose(
        _ payload: [UInt8], on node: Int, then: @escaping (inout World, Result<MachineReply, KvError>) throws -> Void
    ) {
        wait(.proposal(then), .propose(payload), on: node)
    }

    /// A linearizable view for the node itself.
    mutating func read(
        on node: Int, then: @escaping (inout World, Result<any ReadSnapshot, KvError>) throws -> Void
    ) {
        wait(.read(then), .read, on: node)
    }

    private static func invalid(_ operation: KvRequest.Operation) -> KvError? {
        do throws(KeyspaceError) {
            switch operation {
            case .get(let key): try Limits.check(key: key)
            case .write(let key, let operation, _):
                try Limits.check(key: key)
                try Limits.check(value: operation.longestValue)
            case .scan, .closeSession, .listSessions: break
            }
            return nil
        } catch {
            return KvError(.invalidArgument, error.description)
        }
    }

    // MARK: - Answers

    private mutating func refuse(_ request: Request, _ error: KvError) {
        reply(request.asker.isOperation ? .keys(KvResponse(id: 0, error)) : .refused(error), to: request)
    }

    private mutating func fail(_ waiter: WorldNode.Waiter, _ error: KvError) throws {
        switch waiter {
        case .request(let request): refuse(request, error)
        case .proposal(let then): try then(&self, .failure(error))
        case .read(let then): try then(&self, .failure(error))
        }
    }

    /// The driver hasn't taken it, or can't see a read through.
    mutating func refuse(_ token: UInt64, isBusy: Bool, _ node: Int) throws {
        guard let waiter = nodes[node].waiters.removeValue(forKey: token) else { return }
        let busy = KvError(.busy, "too many requests wait", retryAfterMilliseconds: 10)
        try fail(waiter, isBusy ? busy : notLeader(node))
    }

    private func notLeader(_ node: Int) -> KvError {
        guard let core = nodes[node].shell?.driver.core, let leader = core.leader, leader != core.id,
            let address = core.membership[leader]?.address
        else { return KvError(.noLeader, "the group has no leader") }
        return KvError(.notLeader, "\(address) leads", leader: address)
    }

    mutating func outcomeUnknown(_ token: UInt64, _ node: Int) throws {
        guard let waiter = nodes[node].waiters.removeValue(forKey: token) else { return }
        try fail(waiter, KvError(.outcomeUnknown, "leadership was lost before the request was answered"))
        try act(on: node) { $0.changed() }
    }

    mutating func answered(_ token: UInt64, _ answer: MachineReply, _ node: Int) throws {
        guard let waiter = nodes[node].waiters.removeValue(forKey: token) else { return }
        switch waiter {
        case .request(let request): answered(request, answer, node)
        case .proposal(let then): try then(&self, .success(answer))
        case .read: try violate("a read was answered by the log")
        }
        try act(on: node) { $0.changed() }
    }

    private mutating func answered(_ request: Request, _ answer: MachineReply, _ node: Int) {
        switch answer {
        case .group(.key(let written)): reply(.keys(KvResponse(id: 0, .written(written))), to: request)
        case .group(.stepped): reply(.keys(KvResponse(id: 0, .written(.put))), to: request)
        case .group(.refused(let refusal)): refuse(request, error(refusal, node))
        case .group(.outOfStep(let sentence)): refuse(request, KvError(.internal, sentence))
        case .controller(.map(let map)): reply(.map(map), to: request)
        case .controller(.refused(let refusal)): refuse(request, Self.error(refusal))
        case .bytes: return
        }
    }

    private func error(_ refusal: KeyRefusal, _ node: Int) -> KvError {
        let config = nodes[node].map?.number ?? 0
        switch refusal {
        case .wrongGroup(let shard):
            return KvError(
                .wrongGroup, "the group doesn't serve shard \(shard)", config: config, retryAfterMilliseconds: 20)
        case .frozen(let shard):
            return KvError(.busy, "shard \(shard) is being moved", config: config, retryAfterMilliseconds: 10)
        case .sessionExpired(let logTime), .sessionTooLong(let logTime):
            return KvError(.sessionExpired, "the session is over by the group's time", logTime: logTime)
        case .busy(let why): return KvError(.busy, why, retryAfterMilliseconds: 50)
        case .invalid(let why): return KvError(.invalidArgument, why)
        }
    }

    mutating func readIsReady(_ token: UInt64, _ node: Int) throws {
        guard let shell = nodes[node].shell, let waiter = nodes[node].waiters.removeValue(forKey: token) else { return }
        switch waiter {
        case .request(let request):
            do { try answerRead(request, shell, node) } catch let error as EngineError {
                try noticeDamage(node, error)
                refuse(request, KvError(.unavailable, error.description, retryAfterMilliseconds: 50))
            }
        case .read(let then):
            let view = try shell.engine.snapshot()
            defer { view.close() }
            do { try then(&self, .success(view)) } catch let error as EngineError {
                try noticeDamage(node, error)
                try then(&self, .failure(KvError(.internal, error.description)))
            }
        case .proposal: try violate("a proposal was answered as a read")
        }
    }

    private mutating func answerRead(_ request: Request, _ shell: ReplicaShell, _ node: Int) throws {
        let view = try shell.engine.snapshot()
        defer { view.close() }
        switch request.body {
        case .keys(let asked):
            guard case .get(let key) = asked.operation else { return }
            let reader = GroupReader(shell.layout, in: view)
            guard let count = try reader.shardCount() else {
                return refuse(request, error(.wrongGroup(shard: 0), node))
            }
            switch try reader.get(key, shardCount: count) {
            case .failure(let refusal):
                guard let value = try unduly(refusal, key, reader, view, node) else {
                    return refuse(request, error(refusal, node))
                }
                try checkRead(key, reader, node)
                reply(.keys(KvResponse(id: 0, .value(value.first ?? nil))), to: request)
            case .success(let value):
                try checkRead(key, reader, node)
                reply(.keys(KvResponse(id: 0, .value(value))), to: request)
            }
        case .query:
            if let map = try ControllerMachine.map(number: nil, layout: shell.layout, in: view) {
                reply(.map(map), to: request)
            } else {
                refuse(request, KvError(.unavailable, "the controller is not initialised yet"))
            }
        case .command: return
        }
    }

    /// Planted defects: what is read although the group's log says that it doesn't serve it. `nil`: nothing is.
    private func unduly(
        _ refusal: KeyRefusal, _ key: [UInt8], _ reader: GroupReader, _ view: any ReadSnapshot, _ node: Int
    ) throws -> [[UInt8]?]? {
        let shard = Slot.shard(of: key, shardCount: knobs.shardCount)
        switch (options.plant, refusal) {
        case (.readsFrozen, .frozen): break
        case (.servesByOldMap, .wrongGroup):
            guard nodes[node].map?.row(shard)?.gid == groups[nodes[node].group].gid else { return nil }
        default: return nil
        }
        let row = try reader.family(shard).flatMap { try view.get($0, key: ShardRows.userKey(key)) }
        return [row.map { Array($0.dropFirst()) }]
    }
}
