internal import Bytes
internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// Follows the shard map, and, in the leader of a group, brings home the shards that the map gives it.
///
/// The target drives a move. Everything that must survive is in the logs; a new leader begins at the top and
/// every step that was taken already answers so at once.
final class ShardMover: Sendable {
    /// From one source: its shards wait for each other, so that few are frozen at a time. Other sources' don't.
    private static let movesAtOnce = 4

    private let node: Node<GroupMachine>
    private let controllers: ControllerLink
    /// Hears of every map of this cluster.
    private let note: @Sendable (ShardMap) -> Void
    private let target: MoveTarget
    /// The membership that the controller was last told.
    private let reported = Mutex<UInt64>(0)
    private let isReporting = Mutex<Bool>(false)
    private let config = Mutex<ShardMap?>(nil)
    /// Moves under way, with their sources.
    private let running = Mutex<[ShardEpoch: GroupID]>([:])
    /// Moves that failed lately, and when to try again (monotonic milliseconds).
    private let resting = Mutex<[ShardEpoch: UInt64]>([:])

    init(
        node: Node<GroupMachine>, controllers: ControllerLink, target: MoveTarget,
        note: @escaping @Sendable (ShardMap) -> Void
    ) {
        self.node = node
        self.target = target
        self.controllers = controllers
        self.note = note
    }

    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.watch() }
            group.addTask { await self.passTime() }
            group.addTask { await self.tidy() }
            while !Task.isCancelled {
                if isLeading, let config = config.withLock({ $0 }) { await step(config, &group) }
                try? await Task.sleep(for: .milliseconds(30))
            }
        }
    }

    /// Brings what this replica lacks, and forgets what it no longer needs.
    private func tidy() async {
        var turn = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(100))
            if let name = node.host?.status.waitsFor {
                await bringMissing(name)
                // A snapshot that doesn't reach beyond the entry comes to nothing: not again at once.
                try? await Task.sleep(for: .milliseconds(500))
            }
            turn += 1
            if turn % 50 == 0 { await target.sweep() }
        }
    }

    private var isLeading: Bool {
        guard let status = node.host?.status else { return false }
        return status.role == .leader && status.hasCommittedInTerm
    }

    private func watch() async {
        while !Task.isCancelled {
            do {
                let next = try await controllers.config(newerThan: config.withLock { $0?.number })
                // Controllers that know nothing of this cluster have nothing to say here.
                guard next.clusterID == node.clusterID else {
                    node.log.error(
                        "the controllers answer for cluster \(next.clusterID.hexadecimal), and this node belongs to \(node.clusterID.hexadecimal); start it with the right ones"
                    )
                    try? await Task.sleep(for: .seconds(10))
                    continue
                }
                note(next)
                config.withLock { $0 = next }
            } catch {
                // Without a controller the group serves what it has.
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    /// Lets log time pass while a session is due to end, so that its rows go without waiting for a write.
    private func passTime() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(10))
            guard isLeading else { continue }
            let node = node
            let isDue = try? await offload { () -> Bool in
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
            if isDue == true { _ = try? await node.propose(GroupCommand.passTime.encoded) }
        }
    }

    private func step(_ config: ShardMap, _ group: inout DiscardingTaskGroup) async {
        let own = node.options.gid
        let node = node
        let records = try? await offload { () -> [ShardID: ShardRecord] in
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            return try GroupReader(node.layout, in: snapshot).records()
        }
        guard let records else { return }
        guard let known = config.groups[own] else {
            // It may join again as it first did.
            reported.withLock { $0 = 0 }
            return await freezeOverruled(config, records)
        }
        let identity = node.groupIdentity
        guard known.identity.isEmpty || identity.isEmpty || known.identity == identity else {
            // Its disks were all lost. To begin with empty shards would answer "absent" for what was acknowledged.
            return node.foundedAnew()
        }
        node.isKnown()
        if known.identity == identity || identity.isEmpty { await adopt(config, records) }
        await freezeOverruled(config, records)
        if isReporting.withLock({ isReporting -> Bool in
            defer { isReporting = true }
            return !isReporting
        }) {
            group.addTask {
                await self.reportAddresses(config)
                self.isReporting.withLock { $0 = false }
            }
        }
        // What the map knows nothing of yet takes no part in moves: it may be forgotten again.
        guard known.identity == identity || identity.isEmpty else { return }
        let now = HostClock.monotonic()
        resting.withLock { $0 = $0.filter { $0.value > now } }
        for (number, move) in config.moves where move.to == own {
            let shard = ShardEpoch(shard: number, epoch: move.epoch)
            guard resting.withLock({ $0[shard] == nil }) else { continue }
            let begins = running.withLock { running -> Bool in
                guard running[shard] == nil, running.values.count(where: { $0 == move.from }) < Self.movesAtOnce else {
                    return false
                }
                running[shard] = move.from
                return true
            }
            guard begins else { continue }
            group.addTask {
                do {
                    try await self.bring(shard, from: move.from, config)
                } catch {
                    if !Task.isCancelled {
                        self.node.log.info(
                            "move of shard \(shard.shard) from group \(move.from) waits: \(reason(of: error))")
                        // Its place goes to another one meanwhile.
                        self.resting.withLock { $0[shard] = HostClock.monotonic() + 500 }
                    }
                }
                _ = self.running.withLock { $0.removeValue(forKey: shard) }
            }
        }
    }

    /// Clients find the group by the map: after a change of members the map must follow.
    private func reportAddresses(_ config: ShardMap) async {
        guard let membership = node.host?.status.membership, let known = config.groups[node.options.gid] else { return }
        let identity = node.groupIdentity
        let isNew = known.identity != identity && !identity.isEmpty
        guard isNew || (membership.index > 0 && reported.withLock({ $0 < membership.index })) else { return }
        let addresses = membership.members.map(\.address)
        do {
            if isNew || known.addresses != addresses {
                try await controllers.report(
                    gid: node.options.gid, addresses, membershipIndex: membership.index, identity: identity)
                node.log.info("the shard map now names \(addresses.joined(separator: ", "))")
            }
            reported.withLock { $0 = membership.index }
        } catch {
            node.log.info("the controller doesn't take this group's addresses: \(reason(of: error))")
            // Not again at once; a later membership, or a later leader, tries anew.
            if [.failedPrecondition, .invalidArgument].contains(refusal(in: error)?.code) {
                reported.withLock { $0 = membership.index }
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// Shards that were given to this group with nothing in them: nothing to copy. Others come by a move.
    private func adopt(_ config: ShardMap, _ records: [ShardID: ShardRecord]) async {
        guard let host = node.host else { return }
        var proposals: [([UInt8], @Sendable (ProposalResult<GroupReply>) -> Void)] = []
        for shard in config.shardIDs
        where config[shard].gid == node.options.gid && config[shard].isBlank && records[shard] == nil {
            let command = GroupCommand.adopt(
                ShardEpoch(shard: shard, epoch: config[shard].epoch), shardCount: config.shardCount)
            proposals.append((command.encoded, { _ in }))
        }
        if !proposals.isEmpty {
            host.submit(proposals: proposals, reads: [])
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Two groups must not answer for one shard. The frozen copy stays, for an operator to look at.
    private func freezeOverruled(_ config: ShardMap, _ records: [ShardID: ShardRecord]) async {
        for (shard, record) in records.sorted(by: { $0.key < $1.key }) {
            guard let (gid, epoch) = config.row(shard).map({ ($0.gid, $0.epoch) }) else { continue }
            guard record.isOverruled(by: gid, epoch: epoch, own: node.options.gid) else { continue }
            node.log.error(
                "group \(gid) serves shard \(shard) under epoch \(epoch), and this group knows nothing of the move: it was recovered by force; the shard is frozen here"
            )
            let freeze = GroupCommand.freeze(ShardEpoch(shard: shard, epoch: epoch), to: gid)
            _ = try? await node.propose(freeze.encoded)
        }
    }

    // MARK: - One move

    private func source(_ gid: GroupID, _ group: ShardMap.Group) async -> SourceGroup {
        SourceGroup(
            party: Party(clusterID: node.clusterID, gid: gid, identity: group.identity), addresses: group.addresses,
            leader: await node.calls.leader(of: group.addresses))
    }

    private func bring(_ shard: ShardEpoch, from gid: GroupID, _ config: ShardMap) async throws {
        guard let group = config.groups[gid] else { return }
        var source = await source(gid, group)

        var decided = try await target.decision(shard)
        var members: [MemberID] = []
        if decided == nil {
            node.log.info("bringing shard \(shard.shard) from group \(gid)", metadata: ["epoch": "\(shard.epoch)"])
            let frozen = try await node.calls.freeze(shard, for: node.options.gid, &source)
            members = try await stage(shard, frozen.hashes, source)
            await Failpoint.reach("before-activate")
            let activation = Activation(
                hashes: frozen.hashes, logTime: frozen.logTime, shardCount: config.shardCount,
                stagedBy: members.map(\.life))
            switch try await node.propose(GroupCommand.activate(shard, activation).encoded) {
            case .stepped: break
            case .outOfStep(let why): throw MoveObstacle(text: why)
            default: throw MoveObstacle(text: "the log answered another question")
            }
            decided = try await target.decision(shard)
        }
        switch decided {
        case .activated(let hashes):
            try await controllers.report(shard, .activated)
            // Until a quorum has mapped the shard, the source's copy is what a member that lacks it falls back on.
            try await awaitActivation(shard, hashes, source)
            try await node.calls.collect(shard, .activated(hashes), &source)
            try await controllers.report(shard, .collected)
            node.log.info("shard \(shard.shard) is here: \(hashes.user)")
        case .rejected:
            try await controllers.report(shard, .rejected)
            try await node.calls.collect(shard, .rejected, &source)
            try await controllers.report(shard, .collected)
        case nil: throw MoveObstacle(text: "the activation is not visible yet")
        }
    }

    /// A member that has staged a shard.
    private struct MemberID: Sendable {
        var life: Incarnation
        var isVoter: Bool
        var hasActivated: Bool
    }

    /// How long the last members are waited for once a quorum has the shard, beyond as long as the quorum took.
    private static let laggardsWait: Duration = .seconds(1)

    /// Has every member of this group fetch the shard; returns those that have it, which are a quorum.
    private func stage(
        _ shard: ShardEpoch, _ hashes: ShardHashes, _ source: SourceGroup
    ) async throws -> [MemberID] {
        guard let membership = node.host?.status.membership else { throw MoveObstacle(text: "the node is stopping") }
        let order = StageOrder(shard: shard, hashes: hashes, source: source.party, addresses: source.inOrder)
        let (answers, post) = AsyncStream.makeStream(of: MemberID?.self)
        let began = ContinuousClock.now
        for member in membership.members {
            // Not cancelled when the rest goes on: a laggard's copy is of use when it comes to apply.
            Task {
                post.yield(try? await self.askToStage(member, order))
            }
        }
        var staged: [MemberID] = []
        var answered = 0
        var timer: Task<Void, Never>?
        defer { timer?.cancel() }
        for await answer in answers {
            answered += 1
            if let answer { staged.append(answer) }
            let hasQuorum = staged.count(where: \.isVoter) >= membership.quorum
            if answered == membership.members.count { break }
            // The others can't make a quorum any more.
            if staged.count + membership.members.count - answered < membership.quorum { break }
            if hasQuorum, timer == nil {
                let wait = ContinuousClock.now - began + Self.laggardsWait
                timer = Task {
                    try? await Task.sleep(for: wait)
                    post.finish()
                }
            }
        }
        guard staged.count(where: \.isVoter) >= membership.quorum else {
            throw MoveObstacle(
                text: "\(staged.count) of \(membership.members.count) members have staged shard \(shard.shard)")
        }
        return staged
    }

    private func askToStage(_ member: Member, _ order: StageOrder) async throws -> MemberID {
        let hasActivated = try await node.calls.stage(
            order, at: member, of: node.options.gid, clusterID: node.clusterID)
        return MemberID(
            life: member.incarnation, isVoter: member.standing == .voter, hasActivated: hasActivated)
    }

    /// Waits until a quorum has applied the activation.
    private func awaitActivation(
        _ shard: ShardEpoch, _ hashes: ShardHashes, _ source: SourceGroup
    ) async throws {
        for _ in 0..<100 {
            guard let membership = node.host?.status.membership else { break }
            let members = try await stage(shard, hashes, source)
            if members.count(where: { $0.isVoter && $0.hasActivated }) >= membership.quorum { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw MoveObstacle(text: "too few members have applied the activation of shard \(shard.shard)")
    }

    // MARK: - A replica that lacks a shard

    /// The log says that a quorum has a shard which isn't here. As long as the source has it, it is fetched from there;
    /// after that whoever has applied the activation has a snapshot.
    private func bringMissing(_ name: String) async {
        guard let shard = StagedShard.shard(ofName: name), let host = node.host else { return }
        if let config = config.withLock({ $0 }), let move = config.row(shard.shard)?.move, move.epoch == shard.epoch,
            let group = config.groups[move.from]
        {
            do {
                var source = await source(move.from, group)
                let frozen = try await node.calls.freeze(shard, for: node.options.gid, &source)
                _ = try await target.stage(
                    StageOrder(shard: shard, hashes: frozen.hashes, source: source.party, addresses: source.inOrder))
                return
            } catch {
                node.log.info("shard \(shard.shard) can't be had from group \(move.from): \(reason(of: error))")
            }
        }
        let others = host.status.membership.members.filter { $0.id != node.id }
        let leader = host.status.leader
        for member in others.sorted(by: { ($0.id == leader ? 0 : 1, $0.id) < ($1.id == leader ? 0 : 1, $1.id) }) {
            do {
                if let reason = try await node.fetchSnapshot(
                    from: member.address, cluster: node.clusterID, term: host.status.term)
                {
                    node.log.info("no snapshot from node \(member.id): \(reason)")
                } else {
                    return
                }
            } catch {
                node.log.info("no snapshot from node \(member.id): \(reason(of: error))")
            }
        }
    }
}
