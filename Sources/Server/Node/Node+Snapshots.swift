internal import Bytes
internal import Engines
internal import Foundation
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

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
                let refusal = try await calls.offerSnapshot(
                    to: member, of: options.gid, clusterID: clusterID, term: host?.status.term ?? 0,
                    from: options.address)
                if let refusal {
                    log.info("node \(member.id) doesn't take a snapshot: \(refusal)")
                    // Refused, for example while another snapshot arrives there: not again at once.
                    try? await Task.sleep(for: .seconds(1))
                }
                done(refusal == nil)
            } catch {
                log.warning("snapshot to node \(member.id) failed: \(reason(of: error))")
                // The peer may be down: not again at once.
                try? await Task.sleep(for: .milliseconds(500))
                done(false)
            }
        }
    }

    /// Fetches a snapshot of this group and hands it to the replica; the reason if it can't be.
    ///
    /// - Parameter term: of the leader that offers it; one of a later term takes the place of what an earlier one sends.
    func fetchSnapshot(from address: String, cluster: [UInt8], term: Term) async throws -> String? {
        guard let host else { return "the node is starting" }
        guard let turn = beginReceiving(term) else { return "another snapshot is being received" }
        defer { endReceiving(turn) }
        let place = try directory.staging.make("in")
        defer { directory.staging.remove(place) }
        let order = ExportFetch.Order(
            party: Party(clusterID: cluster, gid: options.gid, identity: groupIdentity),
            what: .snapshot(for: incarnation), formats: host.formats)
        let fetch = ExportFetch(
            order, from: [address], of: "the group", into: place, liveness: calls.liveness, rate: options.moveRate,
            room: { [space] in space.room }
        ) { self.isReceiving(turn) }
        let fetched = try await fetch.run()
        let header = try SnapshotHeader(encoded: fetched.header)
        try await offload { try host.install(header, manifests: fetched.manifests, from: place) }
        log.info("loaded a snapshot at \(header.applied.position) from \(address) (\(Self.forms(fetched.manifests)))")
        return nil
    }

    static func forms(_ manifests: [FamilyManifest]) -> String {
        let names = Set(manifests.map(\.format)).sorted()
        return names.isEmpty ? "no families" : names.joined(separator: ", ")
    }

    // MARK: - Exports

    /// Makes files of what a receiver asks for.
    /// - Parameter exportShard: writes a frozen shard's family, if it has any rows, into a directory's `0`; `nil` in a
    ///   node that has no shards.
    func openExport(
        _ question: ExportQuestion, of party: Party, formats: [String],
        exportShard: (@Sendable (ShardEpoch, [String], String) throws -> (LogIndex, [FamilyManifest]))?
    ) async throws -> ExportOffer {
        guard let host else { throw unavailable() }
        try check(party)
        switch question {
        case .snapshot(let life):
            let status = host.status
            guard let member = status.membership.members.first(where: { $0.incarnation == life }) else {
                throw KvError(.failedPrecondition, "the receiver is not a member of the group")
            }
            guard status.waitsFor == nil else {
                throw KvError(.unavailable, "this node waits for a snapshot itself")
            }
            return try await exports.open(in: directory.staging) { directory in
                let made = try host.exportSnapshot(for: member.id, formats: formats, to: directory)
                return (made.header.encoded, made.manifests)
            }
        case .shard(let shard):
            guard let exportShard else { throw KvError(.failedPrecondition, "a controller node has no shards") }
            let subject = ExportDesk.Subject(shard: shard, formats: formats)
            if !exports.has(subject) { try await checkRoomForShard(shard.shard) }
            return try await exports.open(subject, in: directory.staging) { directory in
                let (through, manifests) = try exportShard(shard, formats, directory)
                return (bigEndianBytes(through), manifests)
            }
        case .copy(let fromLeader): return try await openCopy(fromLeader: fromLeader, of: host)
        }
    }

    /// The whole group for a tool that is no member, in the form that needs no engine.
    private func openCopy(fromLeader: Bool, of host: ReplicaHost<Machine>) async throws -> ExportOffer {
        let status = host.status
        if obstacle != nil { throw unavailable() }
        guard status.waitsFor == nil else {
            throw KvError(.unavailable, "this node waits for a snapshot itself")
        }
        if fromLeader, status.role != .leader { throw notLeader() }
        guard status.role == .leader || status.leader != nil else {
            throw KvError(
                .noLeader, "\(options.role) \(options.gid) has no quorum that this node knows of; start its other nodes"
            )
        }
        let leads = status.role == .leader
        // Everything that was acknowledged before is applied when this returns. A leader whose quorum is gone steps down,
        // and the read is refused.
        if leads { try await read { _ in } }
        try await checkRoomForCopy()
        var export = try await exports.open(in: directory.staging) { directory in
            let made = try host.exportSnapshot(for: nil, formats: [ChunkFormat.portable], to: directory)
            return (made.header.encoded, made.manifests)
        }
        export.source = .init(id: options.id, engine: engine.kind.rawValue, leads: leads)
        return export
    }

    /// A shard's export lies on this node's disk until it has been read. Other shards' clients must not pay for it.
    private func checkRoomForShard(_ shard: ShardID) async throws {
        let (engine, layout) = (engine, layout)
        let needed = try await offload { () throws -> UInt64 in
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            guard let family = try layout.family(ShardRecord.family(shard), in: snapshot) else { return 0 }
            return try engine.statistics(of: family).bytes
        }
        let room = space.room
        guard needed <= room else {
            throw KvError(
                .noSpace,
                "an export of shard \(shard) takes about \(needed >> 20) MiB until it has been read, and \(room >> 20) MiB may be used"
            )
        }
    }

    /// A copy lies on this node's disk until it has been read. Portable chunks hold what the engine's files hold.
    private func checkRoomForCopy() async throws {
        let engine = engine
        let statistics = try await offload { try engine.statistics() }
        let needed = statistics.storageBytes - min(statistics.storageBytes, statistics.reusableBytes)
        let room = space.room
        guard needed <= room else {
            throw KvError(
                .noSpace,
                "a copy takes about \(needed >> 20) MiB on its disk until it has been read, and \(room >> 20) MiB may be used"
            )
        }
    }
}
