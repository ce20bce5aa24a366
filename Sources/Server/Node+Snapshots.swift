internal import Engines
internal import Foundation
internal import GRPCCore
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Synchronization
internal import Wire

/// Snapshots of a group, from one member to another: the leader asks, the follower fetches.
extension Node: ReplicaTransport {
    func send(_ messages: [Message], membership: Membership) {
        for message in messages {
            guard let address = address(of: message.to, in: membership) else { continue }
            links.send(message, to: address)
        }
    }

    func sendSnapshot(from sender: ReplicaID, to member: Member, done: @escaping @Sendable (Bool) -> Void) {
        Task {
            do {
                guard let endpoint = Address(member.address) else { return done(false) }
                let connection = try Connection(endpoint)
                let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
                var request = Flotilla_V1_TakeSnapshotRequest()
                request.clusterID = Data(clusterID)
                request.gid = options.gid
                request.toIncarnation = Data(member.incarnation.bytes)
                request.fromAddress = options.address
                let answer = try await peer.takeSnapshot(request, options: .flotilla())
                if !answer.accepted {
                    log.info("node \(member.id) doesn't take a snapshot: \(answer.reason)")
                    // Refused, for example while another snapshot arrives there: not again at once.
                    try? await Task.sleep(for: .seconds(1))
                }
                done(answer.accepted)
            } catch {
                log.warning("snapshot to node \(member.id) failed: \(error)")
                // The peer may be down: not again at once.
                try? await Task.sleep(for: .milliseconds(500))
                done(false)
            }
        }
    }

    /// As a follower: somebody has a snapshot for us.
    func takeSnapshot(_ request: Flotilla_V1_TakeSnapshotRequest) async throws -> Flotilla_V1_TakeSnapshotResponse {
        var response = Flotilla_V1_TakeSnapshotResponse()
        guard request.gid == options.gid, clusterID.isEmpty || request.clusterID.array == clusterID else {
            response.reason = "the snapshot is of another group or cluster"
            return response
        }
        guard request.toIncarnation.array == incarnation.bytes else {
            response.reason = "the snapshot is for an earlier life of this node; its disk was lost"
            return response
        }
        if let reason = try await fetchSnapshot(from: request.fromAddress, cluster: request.clusterID.array) {
            response.reason = reason
        } else {
            response.accepted = true
        }
        return response
    }

    /// Fetches a snapshot of this group and hands it to the replica; the reason if it can't be.
    func fetchSnapshot(from address: String, cluster: [UInt8]) async throws -> String? {
        guard let host else { return "the node is starting" }
        guard let turn = beginReceiving() else { return "another snapshot is being received" }
        defer { endReceiving(turn) }
        let directory = try host.makeStaging("in")
        defer { host.removeStaging(directory) }
        var request = Flotilla_V1_OpenExportRequest()
        request.clusterID = Data(cluster)
        request.gid = options.gid
        request.snapshotFor = Data(incarnation.bytes)
        request.formats = host.formats
        // The export and the loading show no progress of their own, and are none the less under way.
        let pulse = Task { while !Task.isCancelled, goOnReceiving(turn) { try? await Task.sleep(for: .seconds(1)) } }
        defer { pulse.cancel() }
        let fetched = try await ExportFetch(request, from: address, into: directory, room: space.room) {
            self.goOnReceiving(turn)
        }
        let header = try SnapshotHeader(encoded: fetched.header)
        try await offload { try host.install(header, manifests: fetched.manifests, from: directory) }
        log.info("loaded a snapshot at \(header.applied.position) from \(address) (\(Self.forms(fetched.manifests)))")
        return nil
    }

    static func forms(_ manifests: [FamilyManifest]) -> String {
        let names = Set(manifests.map(\.format)).sorted()
        return names.isEmpty ? "no families" : names.joined(separator: ", ")
    }

    // MARK: - Exports

    func openExport(
        _ request: Flotilla_V1_OpenExportRequest, shards: (any ShardPeer)?
    ) async throws -> Flotilla_V1_Export {
        guard let host else { throw unavailable().status }
        guard request.gid == options.gid, request.clusterID.array == clusterID else {
            throw Flotilla_V1_Error(.failedPrecondition, "this node is of another group or cluster").status
        }
        let formats = request.formats
        switch request.what {
        case .snapshotFor(let bytes):
            let status = host.status
            guard let life = Incarnation(bytes: bytes.array),
                let member = status.membership.members.first(where: { $0.incarnation == life })
            else { throw Flotilla_V1_Error(.failedPrecondition, "the receiver is not a member of the group").status }
            guard status.waitsFor == nil else {
                throw Flotilla_V1_Error(.unavailable, "this node waits for a snapshot itself").status
            }
            return try await exports.open(in: host) { directory in
                let made = try host.exportSnapshot(for: member.id, formats: formats, to: directory)
                return (made.header.encoded, made.manifests)
            }
        case .shard(let asked):
            guard let shards else { throw RPCError(code: .unimplemented, message: "a controller node has no shards") }
            return try await exports.open(in: host) { directory in
                ([], try shards.export(asked, formats: formats, to: directory))
            }
        case .copy(let asked): return try await openCopy(asked, of: host)
        case nil: throw Flotilla_V1_Error(.invalidArgument, "the request names nothing to export").status
        }
    }

    /// The whole group for a tool that is no member, in the form that needs no engine.
    private func openCopy(
        _ asked: Flotilla_V1_GroupCopy, of host: ReplicaHost<Machine>
    ) async throws -> Flotilla_V1_Export {
        let status = host.status
        if condition != nil { throw unavailable().status }
        guard status.waitsFor == nil else {
            throw Flotilla_V1_Error(.unavailable, "this node waits for a snapshot itself").status
        }
        if asked.fromLeader, status.role != .leader { throw notLeader().status }
        guard status.role == .leader || status.leader != nil else {
            throw Flotilla_V1_Error(
                .noLeader, "\(options.role) \(options.gid) has no quorum that this node knows of; start its other nodes"
            ).status
        }
        let leads = status.role == .leader
        // Everything that was acknowledged before is applied when this returns. A leader whose quorum is gone steps down,
        // and the read is refused.
        if leads { try await read { _ in } }
        try await checkRoomForCopy()
        var export = try await exports.open(in: host) { directory in
            let made = try host.exportSnapshot(for: nil, formats: [ChunkFormat.portable], to: directory)
            return (made.header.encoded, made.manifests)
        }
        export.source.id = options.id
        export.source.engine = engine.kind.rawValue
        export.source.leads = leads
        return export
    }

    /// A copy lies on this node's disk until it has been read. Portable chunks hold what the engine's files hold.
    private func checkRoomForCopy() async throws {
        let engine = engine
        let statistics = try await offload { try engine.statistics() }
        let needed = statistics.storageBytes - min(statistics.storageBytes, statistics.reusableBytes)
        let room = space.room
        guard needed <= room else {
            throw Flotilla_V1_Error(
                .noSpace,
                "a copy takes about \(needed >> 20) MiB on its disk until it has been read, and \(room >> 20) MiB may be used"
            ).status
        }
    }
}
