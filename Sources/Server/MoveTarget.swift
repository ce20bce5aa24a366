internal import Engines
internal import Foundation
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// A target member's side of moves: fetches a frozen shard from the source and keeps it aside until the log maps it.
final class MoveTarget: Sendable {
    private let node: Node<GroupMachine>
    /// Shards that are being fetched.
    private let fetching = Mutex<[ShardEpoch: TransferProgress]>([:])

    init(node: Node<GroupMachine>) { self.node = node }

    /// Shards that are being fetched or lie ready.
    func pulling(_ reader: GroupReader) throws(EngineError) -> Set<Int> {
        Set(try reader.stagedShards().map(\.shard)).union(fetching.withLock { $0.keys.map(\.shard) })
    }

    var transfers: [Flotilla_V1_Transfer] {
        fetching.withLock { $0 }.sorted { $0.key.shard < $1.key.shard }.map { shard, progress in
            var row = Flotilla_V1_Transfer()
            row.shard = UInt32(shard.shard)
            row.epoch = shard.epoch
            row.totalBytes = progress.total
            row.copiedBytes = min(progress.copied, progress.total)
            return row
        }
    }

    func stage(_ request: Flotilla_V1_StageShardRequest) async throws -> Flotilla_V1_StageShardResponse {
        guard request.gid == node.options.gid, request.clusterID.array == node.clusterID else {
            throw Flotilla_V1_Error(.failedPrecondition, "this node is of another group or cluster").status
        }
        guard request.toIncarnation.array == node.incarnation.bytes else {
            throw Flotilla_V1_Error(.failedPrecondition, "this is another life of the node; its disk was lost").status
        }
        guard let user = ContentHash(request.userHash), let session = ContentHash(request.sessionHash) else {
            throw Flotilla_V1_Error(.invalidArgument, "the request holds a malformed hash").status
        }
        let shard = ShardEpoch(shard: Int(request.shard), epoch: request.epoch)
        var response = Flotilla_V1_StageShardResponse()
        response.incarnation = request.toIncarnation
        response.activated = try await stage(
            shard, ShardHashes(user: user, session: session), from: request.from, at: request.addresses)
        return response
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
            case .rejected: throw MoveObstacle(text: "the move was rejected").status
            case nil: break
            }
            guard let staged = try reader.staged(shard) else { return .absent }
            guard staged.hashes == hashes else {
                // A frozen shard doesn't change, so one of the two is damaged.
                throw MoveObstacle(text: "shard \(shard.shard) is staged here with other contents").status
            }
            return .staged
        }
    }

    /// Makes sure that the shard is on this disk; true if the log has mapped it already.
    func stage(
        _ shard: ShardEpoch, _ hashes: ShardHashes, from gid: UInt64, at addresses: [String]
    ) async throws -> Bool {
        guard let host = node.host else { throw node.unavailable().status }
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
            throw Flotilla_V1_Error(.busy, "shard \(shard.shard) is being fetched", retryAfterMilliseconds: 100).status
        }
        defer { _ = fetching.withLock { $0.removeValue(forKey: shard) } }
        // It may have come between the look and the turn.
        switch try await known(shard, hashes) {
        case .activated: return true
        case .staged: return false
        case .absent: break
        }
        let directory = try host.makeStaging("in")
        defer { host.removeStaging(directory) }
        let fetched = try await fetch(shard, from: gid, at: addresses, host, into: directory, progress)
        let node = node
        try await offload {
            var staged = StagedFamily(family: nil, note: StagedShard(hashes: hashes, sessions: 0).encoded)
            var sum = hashes.user
            sum.add(hashes.session)
            if let manifest = fetched.manifest {
                guard manifest.contentHash == sum.description else {
                    throw MoveObstacle(text: "group \(gid) sent \(manifest.contentHash), and froze \(sum)").status
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
                        ).status
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
                throw MoveObstacle(text: "group \(gid) sent nothing, and froze \(sum)").status
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
        _ shard: ShardEpoch, from gid: UInt64, at addresses: [String], _ host: ReplicaHost<GroupMachine>,
        into directory: String, _ progress: TransferProgress
    ) async throws -> Fetched {
        var request = Flotilla_V1_OpenExportRequest()
        request.clusterID = Data(node.clusterID)
        request.gid = gid
        request.shard.gid = gid
        request.shard.shard = UInt32(shard.shard)
        request.shard.epoch = shard.epoch
        request.formats = host.formats
        var failure: any Error = MoveObstacle(text: "group \(gid) has no members")
        for (number, address) in addresses.enumerated() {
            let place = "\(directory)/\(number)"
            do {
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: false)
                let fetched = try await ExportFetch(
                    request, from: address, into: place, room: node.space.room, progress: progress)
                return Fetched(manifest: fetched.manifests.first, directory: place)
            } catch {
                if Task.isCancelled { throw error }
                failure = error
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

/// Why a step of a move couldn't be taken now.
struct MoveObstacle: Error {
    var text: String

    var status: any Error { Flotilla_V1_Error(.failedPrecondition, text).status }
}
