internal import Bytes
internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// A target member's side of moves: carries out what a `StageCall` says, fetches a copy of a shard from the source, lets it
/// follow what changes there, and keeps it aside until the log maps it.
final class MoveTarget: Sendable {
    private let node: Node<GroupMachine>
    private let state = Mutex(State())

    private struct State {
        var desk = TargetDesk()
        /// How far what is being fetched has come.
        var progress: [ShardEpoch: TransferProgress] = [:]
    }

    init(node: Node<GroupMachine>) { self.node = node }

    /// Shards that are being fetched or lie ready.
    func pulling(_ reader: GroupReader) throws(EngineError) -> Set<ShardID> {
        Set(try reader.stagedShards().map(\.shard)).union(state.withLock { $0.desk.fetching.map(\.shard) })
    }

    var transfers: [NodeStatus.Transfer] {
        state.withLock { $0.progress }.sorted { $0.key.shard < $1.key.shard }.map { shard, progress in
            NodeStatus.Transfer(
                shard: shard.shard, epoch: shard.epoch, copiedBytes: min(progress.copied, progress.total),
                totalBytes: progress.total)
        }
    }

    /// What this group's log has decided of a move.
    func decision(_ shard: ShardEpoch) async throws -> ShardDecision? {
        let layout = node.layout
        return try await node.read { try GroupReader(layout, in: $0).decision(shard) }
    }

    private func known(_ shard: ShardEpoch) async throws -> StageCall.Known {
        let node = node
        return try await offload {
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            let reader = GroupReader(node.layout, in: snapshot)
            switch try reader.decision(shard) {
            case .activated: return .activated
            case .rejected: return .rejected
            case nil: return try reader.staged(shard).map { .staged($0) } ?? .absent
            }
        }
    }

    /// Makes sure that the shard is on this disk; true if the log has mapped it already.
    func stage(_ order: StageOrder) async throws -> Bool {
        guard let host = node.host else { throw node.unavailable() }
        var call = StageCall(order)
        defer {
            state.withLock { state in
                call.end(&state.desk)
                // Of whoever has the turn.
                if !state.desk.fetching.contains(order.shard) { state.progress[order.shard] = nil }
            }
        }
        while true {
            let known = try await known(order.shard)
            switch state.withLock({ call.heard(known, &$0.desk) }) {
            case .look: continue
            case .activated: return true
            case .refused(let error): throw error
            case .staged:
                host.tryStagedAgain()
                return false
            case .fetch:
                let progress = TransferProgress()
                state.withLock { $0.progress[order.shard] = progress }
                try await bring(call, host, progress)
            case .follow(let index): try await follow(&call, after: index, host)
            case .take: throw KvError(.internal, "a page was taken in before it came")
            case .discard(let error):
                node.log.critical("\(error.message)")
                guard case .staged(let copy) = known else { throw error }
                try await offload {
                    try host.discardStaged([StagedShard.name(order.shard)], noted: copy.encoded)
                }
                throw error
            }
        }
    }

    /// Brings the copy on by one page, from the first source that has more.
    private func follow(_ call: inout StageCall, after index: LogIndex, _ host: ReplicaHost<GroupMachine>) async throws
    {
        let order = call.order
        var last: any Error = MoveObstacle(text: "group \(order.source.gid) has no members")
        for address in order.addresses {
            let sent: (page: ShardChanges, checksum: ContentHash)
            do {
                sent = try await node.calls.changes(of: order.shard, after: index, from: order.source, at: address)
            } catch {
                last = error
                continue
            }
            if let refusal = call.refusal(of: sent.page, checksum: sent.checksum) {
                last = refusal
                continue
            }
            switch call.changed(sent.page) {
            case .take(let page, let copy): return try await take(page, into: copy, call, host)
            case .refused(let error): last = error
            default: throw KvError(.internal, "a page was answered with another step")
            }
        }
        throw last
    }

    private func take(
        _ page: ShardChanges, into copy: StagedShard, _ call: StageCall, _ host: ReplicaHost<GroupMachine>
    ) async throws {
        let node = node
        _ = try await offload {
            try node.noticingDamage {
                try host.changeStaged(StagedShard.name(call.order.shard), noted: copy.encoded) {
                    (row) throws(EngineError) in
                    var next = copy
                    for change in page.rows { next.take(change, before: try row(change.key)) }
                    return ReplicaHost<GroupMachine>.StagedChange(
                        rows: page.rows.map { ($0.key, $0.value) }, note: call.noted(next, with: page).encoded)
                }
            }
        }
    }

    private func bring(
        _ call: StageCall, _ host: ReplicaHost<GroupMachine>, _ progress: TransferProgress
    ) async throws {
        let (order, staging) = (call.order, node.directory.staging)
        let directory = try staging.make("in")
        defer { staging.remove(directory) }
        let space = node.space
        let fetch = ExportFetch(
            ExportFetch.Order(party: order.source, what: .shard(order.shard), formats: host.formats),
            from: order.addresses, of: "group \(order.source.gid)", into: directory, liveness: node.calls.liveness,
            rate: node.options.moveRate, room: { space.room }, progress: progress)
        let fetched = try await fetch.run()
        guard let through = fetched.header.withUnsafeBytes({ bigEndianNumber($0) }) else {
            throw MoveObstacle(text: "group \(order.source.gid) doesn't say as of when its copy is")
        }
        let (node, name, manifest) = (node, StagedShard.name(order.shard), fetched.manifests.first)
        try await offload {
            guard let manifest else {
                let note = StagedShard(hashes: ShardHashes(), sessions: 0, through: through).encoded
                return try host.stage(name, StagedFamily(family: nil, note: note))
            }
            let family = try host.load(manifest, from: "\(directory)/0")
            do {
                let snapshot = try node.engine.snapshot()
                defer { snapshot.close() }
                let found = try ShardRows.hashes(of: family, in: snapshot)
                if let refusal = call.refusal(ofLoaded: found, sent: manifest.contentHash) { throw refusal }
                let sessions = try ShardRows.sessions(of: family, in: snapshot)
                let note = StagedShard(hashes: found, sessions: sessions, through: through).encoded
                try host.stage(name, StagedFamily(family: family, note: note))
            } catch {
                host.discard([family])
                throw error
            }
        }
        node.log.info(
            "copied shard \(order.shard.shard) from group \(order.source.gid)",
            metadata: [
                "epoch": "\(order.shard.epoch)", "form": "\(manifest?.format ?? "none")", "as of": "\(through)",
            ])
    }

    /// Forgets what no entry of the log can map any more, and says what is staged besides.
    func sweep() async -> [ShardEpoch] {
        let node = node
        guard let host = node.host else { return [] }
        // As of before the look: what is fetched meanwhile was not stale then.
        let desk = state.withLock { $0.desk }
        do {
            return try await offload {
                let snapshot = try node.engine.snapshot()
                defer { snapshot.close() }
                let reader = GroupReader(node.layout, in: snapshot)
                let stale = try reader.staleStagedShards()
                try host.discardStaged(desk.removable(stale).map(StagedShard.name))
                return try reader.undecided()
            }
        } catch {
            node.log.warning("sweeping staged shards: \(error)")
            return []
        }
    }
}
