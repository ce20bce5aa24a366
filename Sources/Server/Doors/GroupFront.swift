internal import Engines
internal import Keyspace
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// Turns requests of clients into proposals and reads.
final class GroupFront: KvHandler {
    /// Bytes of pairs in one page of a scan.
    private static let pageBytesMax = 1 << 20
    private static let pagePairsMax = 1_000
    private static let anotherCluster = KvError(.unavailable, "this node is of another cluster than was meant")
    let node: Node<GroupMachine>
    let source: MoveSource
    let target: MoveTarget
    /// The newest config that this node has heard of: tells clients to ask again.
    let newestConfig = Mutex<UInt64>(0)
    /// Shards that this group serves already and whose source has not removed its copy yet.
    let collecting = Mutex<Set<ShardID>>([])
    private let shardCount = Mutex<Int?>(nil)

    init(node: Node<GroupMachine>, source: MoveSource, target: MoveTarget) {
        self.node = node
        self.source = source
        self.target = target
    }

    func note(_ map: ShardMap) {
        newestConfig.withLock { $0 = max($0, map.number) }
        // Fixed when a cluster begins.
        if map.shardCount > 0 { shardCount.withLock { $0 = $0 ?? map.shardCount } }
        let own = map.moves.filter { $0.move.to == node.options.gid && $0.move.phase == .collecting }
        collecting.withLock { $0 = Set(own.map(\.shard)) }
    }

    func handle(_ requests: [KvRequest], reply: any ResponseSink) {
        guard let host = node.host else {
            return reply.send(requests.map { KvResponse(id: $0.id, node.unavailable()) })
        }
        var proposals: [([UInt8], @Sendable (ProposalResult<GroupReply>) -> Void)] = []
        var reads: [@Sendable (ReadResult) -> Void] = []
        let now = HostClock.nanoseconds()
        let cluster = ShardMap.mark(ofCluster: node.clusterID)
        for request in requests {
            let id = request.id
            let pending = NodeMetrics.Operation(request.operation).map { operation in
                NodeMetrics.Pending(operation: operation, shard: shard(of: request.operation), start: now)
            }
            func refuse(_ error: KvError) { finish(pending, KvResponse(id: id, error), reply) }
            if request.cluster != 0, cluster != 0, request.cluster != cluster {
                // The address is another cluster's by now. Nothing was done, and nobody here leads who was meant.
                refuse(Self.anotherCluster)
                continue
            }
            switch request.operation {
            case .get(let key):
                if let error = Self.invalid(key: key) {
                    refuse(error)
                    continue
                }
                reads.append { result in
                    self.finish(pending, reply.isFull ? Self.crowded(id) : self.answer(id, key, result), reply)
                }
            case .scan(let scan):
                reads.append { result in
                    self.finish(pending, reply.isFull ? Self.crowded(id) : self.answer(id, scan, result), reply)
                }
            case .listSessions(let question):
                reads.append { result in self.finish(pending, self.answer(id, question, result), reply) }
            case .closeSession(let shard, let token):
                if token.count == SessionStamp.tokenBytes {
                    proposals.append(
                        (
                            GroupCommand.closeSession(shard, token: token).encoded,
                            { result in self.finish(pending, self.answer(id, result), reply) }
                        ))
                } else {
                    refuse(KvError(.invalidArgument, "a session token has \(SessionStamp.tokenBytes) bytes"))
                }
            case .write(let key, let operation, let stamp):
                if let error = Self.invalid(key: key, operation, stamp) {
                    refuse(error)
                } else if operation.addsData, node.space.isShort, host.status.role == .leader {
                    refuse(Self.noSpace)
                } else if let shard = shard(of: request.operation),
                    !source.admits(key.count + operation.longestValue.count, to: shard)
                {
                    refuse(
                        KvError(
                            .busy, "shard \(shard) is moving, and is written faster than it is copied",
                            retryAfterMilliseconds: 10))
                } else {
                    let command = GroupCommand.write(key: key, operation, stamp)
                    proposals.append(
                        (command.encoded, { result in self.finish(pending, self.answer(id, result), reply) }))
                }
            }
        }
        host.submit(proposals: proposals, reads: reads)
    }

    private func finish(_ pending: NodeMetrics.Pending?, _ response: KvResponse, _ reply: any ResponseSink) {
        // Counted before it is sent: who has an answer finds it in the counts.
        if let pending { node.metrics.answered(pending, response, at: HostClock.nanoseconds()) }
        reply.send([response])
    }

    /// Whose load a request is; `nil` before the group has learned how many shards there are.
    private func shard(of operation: KvRequest.Operation) -> ShardID? {
        let key: [UInt8]
        switch operation {
        case .get(let read): key = read
        case .write(let written, _, _): key = written
        case .closeSession(let shard, _): return shard.index < Limits.shardCountMax ? shard : nil
        case .listSessions(let question):
            return question.shard.index < Limits.shardCountMax ? question.shard : nil
        case .scan(let scan): return scan.shard.index < Limits.shardCountMax ? scan.shard : nil
        }
        guard let count = shardCount.withLock({ $0 }) else { return nil }
        return key.withUnsafeBytes { Slot.shard(of: $0, shardCount: count) }
    }

    private static let noSpace = KvError(
        .noSpace, "the leader's disk is nearly full: deletes are taken, new values are not; make room on it")

    private static func crowded(_ id: UInt64) -> KvResponse {
        KvResponse(id: id, KvError(.busy, "too many answers wait for this client", retryAfterMilliseconds: 20))
    }

    private static func invalid(key: [UInt8]) -> KvError? {
        do throws(KeyspaceError) { try Limits.check(key: key) } catch {
            return KvError(.invalidArgument, error.description)
        }
        return nil
    }

    /// Refuses what the log would refuse, before it costs a log entry.
    private static func invalid(key: [UInt8], _ operation: KeyOperation, _ stamp: SessionStamp?) -> KvError? {
        do throws(KeyspaceError) {
            try Limits.check(key: key)
            try Limits.check(value: operation.longestValue)
        } catch {
            return KvError(.invalidArgument, error.description)
        }
        guard let stamp else { return nil }
        guard stamp.token.count == SessionStamp.tokenBytes, stamp.sequence > 0 else {
            return KvError(
                .invalidArgument,
                "a session token has \(SessionStamp.tokenBytes) bytes, and its writes count from 1")
        }
        return nil
    }

    // MARK: - Answers

    private func answer(_ id: UInt64, _ result: ProposalResult<GroupReply>) -> KvResponse {
        switch result {
        case .applied(_, .key(let reply)): KvResponse(id: id, .written(reply))
        case .applied(_, .refused(let refusal)): KvResponse(id: id, error(refusal))
        case .applied(_, .stepped): KvResponse(id: id, .written(.put))
        case .applied: KvResponse(id: id, KvError(.internal, "the log answered another question"))
        case .notLeader: KvResponse(id: id, node.notLeader())
        case .busy:
            KvResponse(id: id, KvError(.busy, "too many requests wait", retryAfterMilliseconds: 10))
        case .unknown:
            KvResponse(
                id: id,
                KvError(
                    .outcomeUnknown, "leadership was lost before the write was answered; repeat it in its session"))
        }
    }

    private func error(_ refusal: KeyRefusal) -> KvError {
        switch refusal {
        case .wrongGroup(let shard):
            KvError(
                .wrongGroup, node.obstacle ?? "group \(node.options.gid) doesn't serve shard \(shard)",
                config: newestConfig.withLock { $0 }, retryAfterMilliseconds: 20)
        case .frozen(let shard):
            KvError(
                .busy, "shard \(shard) is being moved", config: newestConfig.withLock { $0 },
                retryAfterMilliseconds: 10)
        case .sessionExpired(let logTime):
            KvError(.sessionExpired, "the session is over by the group's time; begin a new one", logTime: logTime)
        case .sessionTooLong(let logTime):
            KvError(
                .sessionExpired,
                "a session ends at most \(SessionLimits.lifetimeMax / 3_600_000) hours ahead of the group's time; begin one "
                    + "that ends earlier", logTime: logTime)
        case .busy(let why): KvError(.busy, why, retryAfterMilliseconds: 50)
        case .invalid(let why): KvError(.invalidArgument, why)
        }
    }

    /// What is damaged here may be whole at another replica, which is to lead then.
    private func unreadable(_ error: EngineError) -> KvError {
        node.host?.noteDamage(error)
        guard case .corruption = error, let voters = node.host?.status.membership.voters.count, voters > 1 else {
            return KvError(.internal, error.description)
        }
        return KvError(.unavailable, "\(error); another replica is to answer", retryAfterMilliseconds: 50)
    }

    private func readFailure(_ result: ReadResult) -> KvError {
        switch result {
        case .notLeader: node.notLeader()
        case .busy, .ready: KvError(.busy, "too many requests wait", retryAfterMilliseconds: 10)
        case .failed(let error): KvError(.internal, error.description)
        }
    }

    private func knownShardCount(_ reader: GroupReader) throws(EngineError) -> Int? {
        if let known = shardCount.withLock({ $0 }) { return known }
        let found = try reader.shardCount()
        shardCount.withLock { $0 = found }
        return found
    }

    private func answer(_ id: UInt64, _ key: [UInt8], _ result: ReadResult) -> KvResponse {
        guard case .ready(let snapshot) = result else { return KvResponse(id: id, readFailure(result)) }
        let reader = GroupReader(node.layout, in: snapshot)
        do throws(EngineError) {
            guard let count = try knownShardCount(reader) else {
                return KvResponse(id: id, error(.wrongGroup(shard: 0)))
            }
            switch try reader.get(key, shardCount: count) {
            case .failure(let refusal): return KvResponse(id: id, error(refusal))
            case .success(let value): return KvResponse(id: id, .value(value))
            }
        } catch {
            return KvResponse(id: id, unreadable(error))
        }
    }

    private func answer(_ id: UInt64, _ question: KvSessionQuestion, _ result: ReadResult) -> KvResponse {
        guard case .ready(let snapshot) = result else { return KvResponse(id: id, readFailure(result)) }
        let reader = GroupReader(node.layout, in: snapshot)
        do throws(EngineError) {
            if let refusal = try outOfRange(question.shard, reader) { return KvResponse(id: id, refusal) }
            let limit = question.limit == 0 ? Self.pagePairsMax : min(question.limit, Self.pagePairsMax)
            let page = try reader.sessions(question.shard, after: question.after, limit: limit)
            switch page {
            case .failure(let refusal): return KvResponse(id: id, error(refusal))
            case .success(let page):
                return KvResponse(
                    id: id,
                    .sessions(page.sessions, more: page.more, logTime: try reader.time(of: question.shard)))
            }
        } catch {
            return KvResponse(id: id, unreadable(error))
        }
    }

    private func outOfRange(_ shard: ShardID, _ reader: GroupReader) throws(EngineError) -> KvError? {
        guard let count = try knownShardCount(reader) else { return error(.wrongGroup(shard: 0)) }
        guard shard.index >= count else { return nil }
        return KvError(.invalidArgument, "shard \(shard) is out of range; there are shards 0 to \(count - 1)")
    }

    private func answer(_ id: UInt64, _ scan: KvScan, _ result: ReadResult) -> KvResponse {
        guard case .ready(let snapshot) = result else { return KvResponse(id: id, readFailure(result)) }
        let reader = GroupReader(node.layout, in: snapshot)
        do throws(EngineError) {
            if let refusal = try outOfRange(scan.shard, reader) { return KvResponse(id: id, refusal) }
            let limit = scan.limit == 0 ? Self.pagePairsMax : min(scan.limit, Self.pagePairsMax)
            let page = try reader.scan(
                scan.shard, start: scan.start, end: scan.end, limit: limit, keysOnly: scan.keysOnly,
                bytesMax: Self.pageBytesMax)
            switch page {
            case .failure(let refusal): return KvResponse(id: id, error(refusal))
            case .success(let page): return KvResponse(id: id, .page(pairs: page.pairs, more: page.more))
            }
        } catch {
            return KvResponse(id: id, unreadable(error))
        }
    }
}
