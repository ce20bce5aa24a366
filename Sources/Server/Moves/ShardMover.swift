internal import Bytes
internal import Engines
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding

/// The shell of a `MoveDriver`: tells it what happens, and carries out what it asks for, question by question.
final class ShardMover: Sendable {
    private let node: Node<GroupMachine>
    private let controllers: ControllerLink
    private let target: MoveTarget
    /// Hears of every map of this cluster.
    private let note: @Sendable (ShardMap) -> Void

    init(
        node: Node<GroupMachine>, controllers: ControllerLink, target: MoveTarget,
        note: @escaping @Sendable (ShardMap) -> Void
    ) {
        self.node = node
        self.target = target
        self.controllers = controllers
        self.note = note
    }

    private enum Input: Sendable {
        case answer(MoveAnswer, to: UInt64)
        /// The replica is another, or the alarm rings: the driver looks for itself.
        case woken
    }

    /// Returns when it is cancelled.
    func run() async {
        let (inputs, post) = AsyncStream.makeStream(of: Input.self)
        node.follow { post.yield(.woken) }
        post.yield(.woken)
        var driver = MoveDriver(
            group: node.options.gid, clusterID: node.clusterID, standing, now: HostClock.monotonic())
        await withDiscardingTaskGroup { group in
            var alarm: Task<Void, Never>?
            for await input in inputs {
                driver.observe(standing)
                let now = HostClock.monotonic()
                if case .answer(let answer, let id) = input { driver.heard(answer, to: id, now: now) }
                let effects = driver.effects(now: now)
                tell(effects)
                for ask in effects.asks {
                    group.addTask { post.yield(.answer(await self.carryOut(ask.question), to: ask.id)) }
                }
                alarm?.cancel()
                alarm = Alarm.ring(at: driver.wakeAt) { post.yield(.woken) }
            }
            alarm?.cancel()
            group.cancelAll()
        }
    }

    private var standing: MoveDriver.Standing {
        guard let status = node.host?.status else { return MoveDriver.Standing(id: node.id) }
        return MoveDriver.Standing(
            id: status.id, leads: status.role == .leader && status.hasCommittedInTerm, term: status.term,
            leader: status.leader, leaderAddress: status.leader.flatMap(node.lastAddress(of:)),
            membership: status.membership, waitsFor: status.waitsFor, identity: node.groupIdentity)
    }

    private func tell(_ effects: MoveDriver.Effects) {
        if let map = effects.map { note(map) }
        if let isKnown = effects.isKnown { node.isKnown(isKnown) }
        for note in effects.notes {
            if note.isError { node.log.error("\(note)") } else { node.log.info("\(note)", metadata: note.metadata) }
        }
    }

    // MARK: - Questions

    private func carryOut(_ question: MoveQuestion) async -> MoveAnswer {
        do { return try await answer(question) } catch {
            let refusal = refusal(in: error)
            return .failed(
                .init(
                    reason(of: error), isForGood: [.failedPrecondition, .invalidArgument].contains(refusal?.code),
                    isBusy: refusal?.code == .busy))
        }
    }

    private func answer(_ question: MoveQuestion) async throws -> MoveAnswer {
        let own = node.options.gid
        switch question {
        case .map(let number): return .map(try await controllers.config(newerThan: number))
        case .records:
            let layout = node.layout
            return .records(try await node.read { try GroupReader(layout, in: $0).records() })
        case .decision(let shard): return .decision(try await target.decision(shard))
        case .command(let command):
            if case .activate = command { await Failpoint.reach("before-activate") }
            return try await propose(command)
        case .leader(let addresses): return .leader(await node.calls.leader(of: addresses))
        case .prepare(let shard, var source, let pace):
            let prepared = try await node.calls.prepare(shard, for: own, pace, &source)
            return .prepared(prepared, by: source.leader)
        case .freeze(let shard, var source):
            await Failpoint.reach("before-freeze")
            let frozen = try await node.calls.freeze(shard, for: own, &source)
            return .frozen(frozen, by: source.leader)
        case .collect(let shard, let decision, var source):
            try await node.calls.collect(shard, decision, &source)
            return .done
        case .stage(let order, let member):
            let isActivated = try await node.calls.stage(order, at: member, of: own, clusterID: node.clusterID)
            return .staged(isActivated: isActivated)
        case .report(let shard, let event):
            try await controllers.report(shard, event)
            return .done
        case .reportGroup(let addresses, let index, let identity):
            try await controllers.report(gid: own, addresses, membershipIndex: index, identity: identity)
            return .done
        case .fetch(let order): return .staged(isActivated: try await target.stage(order))
        case .snapshot(_, let address, let term):
            let refusal = try await node.fetchSnapshot(from: address, cluster: node.clusterID, term: term)
            return refusal.map { .failed(.init($0)) } ?? .done
        case .sessions: return .sessionIsDue(try await isSessionDue())
        case .sweep: return .undecided(await target.sweep())
        }
    }

    private func propose(_ command: GroupCommand) async throws -> MoveAnswer {
        switch try await node.propose(command.encoded) {
        case .stepped: return .done
        case .outOfStep(let why): return .failed(.init(why, isForGood: true))
        default: throw MoveObstacle(text: "the log answered another question")
        }
    }

    /// Whether a session is due to end, so that its rows go without waiting for a write.
    private func isSessionDue() async throws -> Bool {
        let node = node
        return try await offload {
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            let reader = GroupReader(node.layout, in: snapshot)
            let now = HostClock.wall()
            for (shard, record) in try reader.records() where record.state == .serving {
                if let end = try reader.firstSessionEnd(shard), end <= now.addingClamped(record.timeShift) {
                    return true
                }
            }
            return false
        }
    }
}

extension MoveNote {
    fileprivate var metadata: Logger.Metadata? {
        guard case .bringing(let shard, _) = self else { return nil }
        return ["epoch": "\(shard.epoch)"]
    }
}
