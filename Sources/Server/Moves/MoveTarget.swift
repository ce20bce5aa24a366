internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// A target member's side of moves: fetches a frozen shard from the source and keeps it aside until the log maps it.
final class MoveTarget: Sendable {
    private let node: Node<GroupMachine>
    /// Shards that are being fetched.
    private let fetching = Mutex<[ShardEpoch: TransferProgress]>([:])

    init(node: Node<GroupMachine>) { self.node = node }

    /// Shards that are being fetched or lie ready.
    func pulling(_ reader: GroupReader) throws(EngineError) -> Set<ShardID> {
        Set(try reader.stagedShards().map(\.shard)).union(fetching.withLock { $0.keys.map(\.shard) })
    }

    var transfers: [NodeStatus.Transfer] {
        fetching.withLock { $0 }.sorted { $0.key.shard < $1.key.shard }.map { shard, progress in
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

    private enum Known: Sendable { case activated, staged, absent }

    private func known(_ shard: ShardEpoch, _ hashes: ShardHashes) async throws -> Known {
        let node = node
        return try await offload {
            let snapshot = try node.engine.snapshot()
            defer { snapshot.close() }
            let reader = GroupReader(node.layout, in: snapshot)
            switch try reader.decision(shard) {
            case .activated: return .activated
            case .rejected: throw MoveObstacle(text: "the move was rejected")
            case nil: break
            }
            guard let staged = try reader.staged(shard) else { return .absent }
            guard staged.hashes == hashes else {
                // A frozen shard doesn't change, so one of the two is damaged.
                throw MoveObstacle(text: "shard \(shard.shard) is staged here with other contents")
            }
            return .staged
        }
    }

    /// Makes sure that the shard is on this disk; true if the log has mapped it already.
    func stage(_ order: StageOrder) async throws -> Bool {
        let (shard, hashes, gid) = (order.shard, order.hashes, order.source.gid)
        guard let host = node.host else { throw node.unavailable() }
        switch try await known(shard, hashes) {
        case .activated: return true
        case .staged:
            host.tryStagedAgain()
            return false
        case .absent: break
        }
        let progress = TransferProgress()
        let isFree = fetching.withLock { fetching -> Bool in
            guard fetching[shard] == nil else { return false }
            fetching[shard] = progress
            return true
        }
        guard isFree else {
            throw KvError(.busy, "shard \(shard.shard) is being fetched", retryAfterMilliseconds: 100)
        }
        defer { _ = fetching.withLock { $0.removeValue(forKey: shard) } }
        // It may have come between the look and the turn.
        switch try await known(shard, hashes) {
        case .activated: return true
        case .staged: return false
        case .absent: break
        }
        let staging = node.directory.staging
        let directory = try staging.make("in")
        defer { staging.remove(directory) }
        let fetched = try await fetch(order, host, into: directory, progress)
        let node = node
        try await offload {
            var staged = StagedFamily(family: nil, note: StagedShard(hashes: hashes, sessions: 0).encoded)
            var sum = hashes.user
            sum.add(hashes.session)
            if let manifest = fetched.manifest {
                guard manifest.contentHash == sum.description else {
                    throw MoveObstacle(text: "group \(gid) sent \(manifest.contentHash), and froze \(sum)")
                }
                let family = try host.load(manifest, from: "\(fetched.directory)/0")
                do {
                    let snapshot = try node.engine.snapshot()
                    defer { snapshot.close() }
                    // Read back: what is here is what will be served.
                    let found = try ShardRows.hashes(of: family, in: snapshot)
                    guard found == hashes else {
                        throw MoveObstacle(
                            text: "shard \(shard.shard) reads as \(found.user), not \(hashes.user)"
                        )
                    }
                    let sessions = try ShardRows.sessions(of: family, in: snapshot)
                    staged = StagedFamily(
                        family: family, note: StagedShard(hashes: hashes, sessions: sessions).encoded)
                    try host.stage(StagedShard.name(shard), staged)
                } catch {
                    host.discard([family])
                    throw error
                }
                return
            } else if sum.count != 0 {
                throw MoveObstacle(text: "group \(gid) sent nothing, and froze \(sum)")
            }
            try host.stage(StagedShard.name(shard), staged)
        }
        node.log.info(
            "staged shard \(shard.shard) from group \(gid)",
            metadata: ["epoch": "\(shard.epoch)", "form": "\(fetched.manifest?.format ?? "none")"])
        return false
    }

    private struct Fetched: Sendable {
        var manifest: FamilyManifest?
        var directory: String
    }

    /// From the first member of the source that has the shard frozen.
    private func fetch(
        _ order: StageOrder, _ host: ReplicaHost<GroupMachine>, into directory: String, _ progress: TransferProgress
    ) async throws -> Fetched {
        let what = ExportFetch.Order(
            party: order.source, what: .shard(order.shard), formats: host.formats)
        var failure: any Error = MoveObstacle(text: "group \(order.source.gid) has no members")
        for (number, address) in order.addresses.enumerated() {
            let place = "\(directory)/\(number)"
            do {
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
                guard let endpoint = Address(toCall: address) else {
                    throw MoveObstacle(text: "\(address) is not an address")
                }
                let room = node.space.room
                let fetched = try await node.calls.liveness.whileAlive(endpoint) {
                    try await ExportFetch.run(what, from: address, into: place, room: room, progress: progress)
                }
                return Fetched(manifest: fetched.manifests.first, directory: place)
            } catch {
                if Task.isCancelled { throw error }
                failure = MoveObstacle(text: "group \(order.source.gid)'s node at \(address): \(reason(of: error))")
            }
        }
        throw failure
    }

    /// Forgets what no entry of the log can map any more.
    func sweep() async {
        let node = node
        guard let host = node.host else { return }
        let fetching = fetching.withLock { Set($0.keys) }
        do {
            try await offload {
                let snapshot = try node.engine.snapshot()
                defer { snapshot.close() }
                let stale = try GroupReader(node.layout, in: snapshot).staleStagedShards()
                try host.discardStaged(stale.filter { !fetching.contains($0) }.map(StagedShard.name))
            }
        } catch {
            node.log.warning("sweeping staged shards: \(error)")
        }
    }
}
