internal import Engines
internal import Foundation
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// Follows the shard map, and, in the leader of a group, brings home the shards that the map gives it.
///
/// The target drives a move. Everything that must survive is in the logs; a new leader begins at the top and
/// every step that was taken already answers so at once.
final class ShardMover: Sendable {
    /// From one source: its shards wait for each other, so that few are frozen at a time. Other sources' don't.
    private static let movesAtOnce = 4

    private let node: Node<GroupMachine>
    private let controllers: ControllerLink
    private let front: GroupFront
    private let target: MoveTarget
    private let caller: LeaderCaller
    /// The membership that the controller was last told.
    private let reported = Mutex<UInt64>(0)
    private let isReporting = Mutex<Bool>(false)
    private let config = Mutex<Flotilla_V1_Config?>(nil)
    /// Moves under way, with their sources.
    private let running = Mutex<[ShardEpoch: UInt64]>([:])
    /// Moves that failed lately, and when to try again (monotonic milliseconds).
    private let resting = Mutex<[ShardEpoch: UInt64]>([:])

    init(node: Node<GroupMachine>, controllers: ControllerLink, front: GroupFront, target: MoveTarget) {
        self.node = node
        self.target = target
        self.controllers = controllers
        self.front = front
        caller = LeaderCaller(connections: node.connections)
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
                guard next.clusterID.array == node.clusterID else {
                    node.log.error(
                        "the controllers answer for cluster \(next.clusterID.hexadecimal), and this node belongs to \(node.clusterID.hexadecimal); start it with the right ones"
                    )
                    try? await Task.sleep(for: .seconds(10))
                    continue
                }
                front.note(next)
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
                for (shard, record) in try reader.records() where record.state == .serving && record.sessions > 0 {
                    if let end = try reader.firstSessionEnd(shard), end <= now { return true }
                }
                return false
            }
            if isDue == true { _ = try? await node.propose(GroupCommand.passTime.encoded) }
        }
    }

    private func step(_ config: Flotilla_V1_Config, _ group: inout DiscardingTaskGroup) async {
        let own = node.options.gid
        let node = node
        let records = try? await offload { () -> [Int: ShardRecord] in
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            return try GroupReader(node.layout, in: snapshot).records()
        }
        guard let records else { return }
        await adopt(config, records)
        await freezeOverruled(config, records)
        if !config.groups.contains(where: { $0.gid == own }) {
            // It may join again as it first did.
            reported.withLock { $0 = 0 }
        } else if isReporting.withLock({ isReporting -> Bool in
            defer { isReporting = true }
            return !isReporting
        }) {
            group.addTask {
                await self.reportAddresses(config)
                self.isReporting.withLock { $0 = false }
            }
        }
        let now = HostClock.monotonic()
        resting.withLock { $0 = $0.filter { $0.value > now } }
        for move in config.moves where move.to == own {
            let shard = ShardEpoch(shard: Int(move.shard), epoch: move.epoch)
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
                            "move of shard \(shard.shard) from group \(move.from) waits: \(Self.reason(error))")
                        // Its place goes to another one meanwhile.
                        self.resting.withLock { $0[shard] = HostClock.monotonic() + 500 }
                    }
                }
                _ = self.running.withLock { $0.removeValue(forKey: shard) }
            }
        }
    }

    /// Clients find the group by the map: after a change of members the map must follow.
    private func reportAddresses(_ config: Flotilla_V1_Config) async {
        guard let membership = node.host?.status.membership, membership.index > 0,
            let known = config.groups.first(where: { $0.gid == node.options.gid }),
            reported.withLock({ $0 < membership.index })
        else { return }
        let addresses = membership.members.map(\.address)
        do {
            if known.addresses != addresses {
                try await controllers.report(gid: node.options.gid, addresses, membershipIndex: membership.index)
                node.log.info("the shard map now names \(addresses.joined(separator: ", "))")
            }
            reported.withLock { $0 = membership.index }
        } catch {
            node.log.info("the controller doesn't take this group's addresses: \(Self.reason(error))")
            // Not again at once; a later membership, or a later leader, tries anew.
            if Flotilla_V1_Error(error)?.code == .failedPrecondition { reported.withLock { $0 = membership.index } }
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let refusal = Flotilla_V1_Error(error) { return refusal.message }
        if let error = error as? MoveObstacle { return error.text }
        return "\(error)"
    }

    /// Shards that nobody had before: nothing to copy. Only under the first epoch; later ones come by a move.
    private func adopt(_ config: Flotilla_V1_Config, _ records: [Int: ShardRecord]) async {
        guard let host = node.host else { return }
        var proposals: [([UInt8], @Sendable (ProposalResult<GroupReply>) -> Void)] = []
        for (shard, gid) in config.shards.enumerated()
        where gid == node.options.gid && config.epochs[shard] == 1 && records[shard] == nil {
            let command = GroupCommand.adopt(
                ShardEpoch(shard: shard, epoch: 1), shardCount: Int(config.shardCount))
            proposals.append((command.encoded, { _ in }))
        }
        if !proposals.isEmpty {
            host.submit(proposals: proposals, reads: [])
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Two groups must not answer for one shard. The frozen copy stays, for an operator to look at.
    private func freezeOverruled(_ config: Flotilla_V1_Config, _ records: [Int: ShardRecord]) async {
        for (shard, record) in records.sorted(by: { $0.key < $1.key })
        where config.shards.indices.contains(shard) && config.epochs.indices.contains(shard) {
            let (gid, epoch) = (config.shards[shard], config.epochs[shard])
            guard record.isOverruled(by: gid, epoch: epoch, own: node.options.gid) else { continue }
            node.log.error(
                "group \(gid) serves shard \(shard) under epoch \(epoch), and this group knows nothing of the move: it was recovered by force; the shard is frozen here"
            )
            let freeze = GroupCommand.freeze(ShardEpoch(shard: shard, epoch: epoch), to: gid)
            _ = try? await node.propose(freeze.encoded)
        }
    }

    // MARK: - One move

    private func decision(_ shard: ShardEpoch) async throws -> ShardDecision? {
        let layout = node.layout
        return try await node.read { try GroupReader(layout, in: $0).decision(shard) }
    }

    /// The nodes of a source group. The one that leads is asked first: a node that is paused or cut off would hold
    /// up every step of a move, and the shard is frozen meanwhile.
    private struct Source: Sendable {
        var addresses: [String]
        var leader: String?
    }

    private func locate(_ addresses: [String]) async -> Source {
        let pool = node.connections
        let leader = await withTaskGroup(of: String?.self) { group in
            for address in addresses {
                group.addTask {
                    guard let endpoint = Address(address), let connection = try? pool.connection(to: endpoint) else {
                        return nil
                    }
                    let status = Flotilla_V1_Status.Client(wrapping: connection.client)
                    let answer = try? await status.members(
                        Flotilla_V1_MembersRequest(), options: .flotilla(timeout: .seconds(1)))
                    guard let answer, answer.hasLeaderID else { return nil }
                    return answer.members.first { $0.id == answer.leaderID }?.address
                }
            }
            for await found in group {
                guard let found else { continue }
                group.cancelAll()
                return found as String?
            }
            return nil
        }
        return Source(addresses: addresses, leader: leader)
    }

    private func ask<Result: Sendable>(
        _ source: Source, timeout: Duration = .seconds(30),
        _ body: @Sendable (Flotilla_V1_Peer.Client<Connection.Transport>, CallOptions) async throws -> Result
    ) async throws -> Result {
        try await caller.call(source.addresses, first: source.leader, timeout: timeout) { client, options in
            try await body(Flotilla_V1_Peer.Client(wrapping: client), options)
        }.result
    }

    private func bring(_ shard: ShardEpoch, from gid: UInt64, _ config: Flotilla_V1_Config) async throws {
        guard let addresses = config.groups.first(where: { $0.gid == gid })?.addresses else { return }
        var request = Flotilla_V1_ShardEpoch()
        request.gid = gid
        request.shard = UInt32(shard.shard)
        request.epoch = shard.epoch
        request.to = node.options.gid
        let source = await locate(addresses)

        var decided = try await decision(shard)
        var members: [MemberID] = []
        if decided == nil {
            node.log.info("bringing shard \(shard.shard) from group \(gid)", metadata: ["epoch": "\(shard.epoch)"])
            let hashes = try await freeze(request, source)
            members = try await stage(shard, hashes.hashes, from: gid, source)
            await Failpoint.reach("before-activate")
            let activation = Activation(
                hashes: hashes.hashes, logTime: hashes.logTime, shardCount: Int(config.shardCount),
                stagedBy: members.map(\.life))
            switch try await node.propose(GroupCommand.activate(shard, activation).encoded) {
            case .stepped: break
            case .outOfStep(let why): throw MoveObstacle(text: why)
            default: throw MoveObstacle(text: "the log answered another question")
            }
            decided = try await decision(shard)
        }
        switch decided {
        case .activated(let hashes):
            try await controllers.report(shard: shard.shard, epoch: shard.epoch, .activated)
            // Until a quorum has mapped the shard, the source's copy is what a member that lacks it falls back on.
            try await awaitActivation(shard, hashes, from: gid, source)
            try await collect(request, .activated, hashes, source)
            try await controllers.report(shard: shard.shard, epoch: shard.epoch, .collected)
            node.log.info("shard \(shard.shard) is here: \(hashes.user)")
        case .rejected:
            try await controllers.report(shard: shard.shard, epoch: shard.epoch, .rejected)
            try await collect(request, .rejected, ShardHashes(), source)
            try await controllers.report(shard: shard.shard, epoch: shard.epoch, .collected)
        case nil: throw MoveObstacle(text: "the activation is not visible yet")
        }
    }

    private func freeze(
        _ request: Flotilla_V1_ShardEpoch, _ source: Source
    ) async throws -> (hashes: ShardHashes, logTime: Milliseconds) {
        let frozen = try await ask(source) { try await $0.freezeShard(request, options: $1) }
        guard let user = ContentHash(frozen.userHash), let session = ContentHash(frozen.sessionHash) else {
            throw MoveObstacle(text: "group \(request.gid) sent a malformed hash")
        }
        return (ShardHashes(user: user, session: session), frozen.logTimeMs)
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
        _ shard: ShardEpoch, _ hashes: ShardHashes, from gid: UInt64, _ source: Source
    ) async throws -> [MemberID] {
        guard let membership = node.host?.status.membership else { throw MoveObstacle(text: "the node is stopping") }
        let addresses = [source.leader].compactMap { $0 } + source.addresses.filter { $0 != source.leader }
        let (answers, post) = AsyncStream.makeStream(of: MemberID?.self)
        let began = ContinuousClock.now
        for member in membership.members {
            // Not cancelled when the rest goes on: a laggard's copy is of use when it comes to apply.
            Task {
                post.yield(try? await self.askToStage(member, shard, hashes, from: gid, addresses))
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

    private func askToStage(
        _ member: Member, _ shard: ShardEpoch, _ hashes: ShardHashes, from gid: UInt64, _ addresses: [String]
    ) async throws -> MemberID {
        guard let endpoint = Address(member.address) else { throw MoveObstacle(text: "no address") }
        var request = Flotilla_V1_StageShardRequest()
        request.clusterID = Data(node.clusterID)
        request.gid = node.options.gid
        request.toIncarnation = Data(member.incarnation.bytes)
        request.shard = UInt32(shard.shard)
        request.epoch = shard.epoch
        request.from = gid
        request.addresses = addresses
        request.userHash = hashes.user.description
        request.sessionHash = hashes.session.description
        let peer = Flotilla_V1_Peer.Client(wrapping: try node.connections.connection(to: endpoint).client)
        let answer = try await peer.stageShard(request, options: .flotilla(timeout: .seconds(600)))
        guard answer.incarnation.array == member.incarnation.bytes else { throw MoveObstacle(text: "another life") }
        return MemberID(
            life: member.incarnation, isVoter: member.standing == .voter, hasActivated: answer.activated)
    }

    /// Waits until a quorum has applied the activation.
    private func awaitActivation(
        _ shard: ShardEpoch, _ hashes: ShardHashes, from gid: UInt64, _ source: Source
    ) async throws {
        for _ in 0..<100 {
            guard let membership = node.host?.status.membership else { break }
            let members = try await stage(shard, hashes, from: gid, source)
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
        if let config = config.withLock({ $0 }),
            let move = config.moves.first(where: { Int($0.shard) == shard.shard && $0.epoch == shard.epoch }),
            let addresses = config.groups.first(where: { $0.gid == move.from })?.addresses
        {
            var request = Flotilla_V1_ShardEpoch()
            request.gid = move.from
            request.shard = UInt32(shard.shard)
            request.epoch = shard.epoch
            request.to = node.options.gid
            do {
                let frozen = try await freeze(request, await locate(addresses))
                _ = try await target.stage(shard, frozen.hashes, from: move.from, at: addresses)
                return
            } catch {
                node.log.info("shard \(shard.shard) can't be had from group \(move.from): \(Self.reason(error))")
            }
        }
        let others = host.status.membership.members.filter { $0.id != node.id }
        let leader = host.status.leader
        for member in others.sorted(by: { ($0.id == leader ? 0 : 1, $0.id) < ($1.id == leader ? 0 : 1, $1.id) }) {
            do {
                if let reason = try await node.fetchSnapshot(from: member.address, cluster: node.clusterID) {
                    node.log.info("no snapshot from node \(member.id): \(reason)")
                } else {
                    return
                }
            } catch {
                node.log.info("no snapshot from node \(member.id): \(Self.reason(error))")
            }
        }
    }

    private func collect(
        _ shard: Flotilla_V1_ShardEpoch, _ decision: Flotilla_V1_Decision, _ hashes: ShardHashes, _ source: Source
    ) async throws {
        var request = Flotilla_V1_CollectShardRequest()
        request.gid = shard.gid
        request.shard = shard.shard
        request.epoch = shard.epoch
        request.decision = decision
        request.userHash = hashes.user.description
        request.sessionHash = hashes.session.description
        _ = try await ask(source) { [request] in try await $0.collectShard(request, options: $1) }
    }
}
