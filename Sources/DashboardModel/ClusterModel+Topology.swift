internal import Bytes
internal import Keyspace
internal import Telemetry

extension ClusterModel {
    public func dashboard() -> Answer.Dashboard {
        Answer.Dashboard(
            topology: topology(), metrics: metrics(), shards: shards(), moves: moves(), events: events(limit: 100),
            status: status())
    }

    public func status() -> Answer.Status {
        let clusterID = config?.map.clusterID.hexadecimal ?? ""
        return Answer.Status(
            sequence: sequence, version: settings.version, allowActions: settings.allowActions,
            updateIntervalMs: settings.updateIntervalMs, collectedAt: observedText,
            clusterId: clusterID.isEmpty ? nil : clusterID,
            controller: Answer.Controller(
                reachable: configError == nil && sequence > 0, error: configError,
                since: configMissingSince.map { Timestamp.text(unixMilliseconds: $0) }),
            missing: allGroups.flatMap { group in
                group.nodes.compactMap { node in
                    guard let error = node.error, let since = node.downSince else { return nil }
                    return Answer.Missing(
                        groupId: group.gid, nodeId: node.id, address: node.address, error: error,
                        since: Timestamp.text(unixMilliseconds: since))
                }
            })
    }

    var observedText: String? { observedAt.map { Timestamp.text(unixMilliseconds: $0) } }

    // MARK: - Topology

    public func topology() -> Answer.Topology {
        var served: [GroupID: [ShardID]] = [:]
        var shardMap: [String: GroupID] = [:]
        for shard in config?.map.shardIDs ?? [] {
            let gid = config?.map.row(shard)?.gid ?? .none
            served[gid, default: []].append(shard)
            shardMap["\(shard)"] = gid
        }
        let leaving = Set((config?.map.groups ?? [:]).filter(\.value.isLeaving).keys)
        return Answer.Topology(
            configCluster: Answer.ConfigCluster(
                configNum: config?.map.number ?? 0, nodes: answers(of: controller), leaderId: controller.leader?.id,
                totalStorage: Self.storage(controller)),
            shardGroups: groups.map { group in
                let shards = served[group.gid] ?? []
                let reports = shards.compactMap { group.shard($0) }
                return Answer.ShardGroup(
                    groupId: group.gid, nodes: answers(of: group), shards: shards, totalStorage: Self.storage(group),
                    leaderId: group.leader?.id, keys: reports.lazy.map(\.keys).total,
                    bytes: reports.lazy.map(\.bytes).total, leaving: leaving.contains(group.gid),
                    hasQuorum: group.hasQuorum)
            },
            shardMap: shardMap, totalShards: config?.map.shardCount ?? 0, updatedAt: observedText)
    }

    static func storage(_ group: GroupState) -> UInt64 {
        group.nodes.lazy.map { $0.report?.storageBytes ?? 0 }.total
    }

    private func answers(of group: GroupState) -> [Answer.Node] {
        group.nodes.map { node in
            let (report, rates) = (node.report, node.presentRates)
            return Answer.Node(
                id: node.id, address: node.address, role: (report?.role ?? .unknown).rawValue,
                term: report?.term ?? 0, commitIndex: report?.commitIndex ?? 0, lastApplied: report?.lastApplied ?? 0,
                storageBytes: report?.storageBytes ?? 0, healthy: group.isHealthy(node),
                lastSeen: node.lastSeen.map { Timestamp.text(unixMilliseconds: $0) }, groupId: group.gid,
                error: node.error, downSince: node.downSince.map { Timestamp.text(unixMilliseconds: $0) },
                condition: report?.condition ?? "", engine: report?.engine ?? "", version: report?.version ?? "",
                firstIndex: report?.firstIndex ?? 0, lastIndex: report?.lastIndex ?? 0, lagEntries: group.lag(of: node),
                voter: group.isVoter(node), storageCapacity: report?.storageCapacity ?? 0,
                storageFree: report?.storageFree ?? 0, reusableBytes: report?.reusableBytes ?? 0,
                shortOfSpace: report?.isShortOfSpace ?? false, httpAddress: report?.httpAddress ?? "",
                startedAt: Self.startText(report), leaderChanges: report?.leaderChanges ?? 0,
                proposalsPending: report?.proposalsPending ?? 0, snapshotsInstalled: report?.snapshotsInstalled ?? 0,
                snapshotsSent: report?.snapshotsSent ?? 0, fsync: rates.flatMap(Self.fsync),
                operationsPerSecond: (rates?.requestsPerSecond ?? 0).rounded3, peers: Self.peers(report))
        }
    }

    private static func startText(_ report: NodeStatus?) -> String? {
        guard let started = report?.startedAt, started != 0 else { return nil }
        return Timestamp.text(unixMilliseconds: started)
    }

    private static func fsync(_ rates: NodeRates) -> Answer.NodeFsync? {
        guard let p50 = rates.fsync.latency.quantile(0.5), let p99 = rates.fsync.latency.quantile(0.99) else {
            return nil
        }
        return Answer.NodeFsync(
            perSecond: rates.fsync.perSecond.rounded3, p50Ms: p50.milliseconds, p99Ms: p99.milliseconds)
    }

    private static func peers(_ report: NodeStatus?) -> [Answer.Peer] {
        (report?.peers ?? []).sorted { ($0.id, $0.address) < ($1.id, $1.address) }.map {
            Answer.Peer(
                id: $0.id, address: $0.address, roundTripMs: $0.roundTripNanoseconds.map { Double($0).milliseconds },
                heardAgoMs: $0.heardAgoMs)
        }
    }

    // MARK: - Shards

    public func shards() -> [Answer.Shard] {
        guard let map = config?.map else { return [] }
        return map.shardIDs.map { shard in
            let row = map[shard]
            let (gid, move) = (row.gid, row.move)
            let group = gid == .none ? nil : group(gid)
            let report = group?.shard(shard)
            let rates = group?.rates(ofShard: shard) ?? (reads: 0, writes: 0)
            return Answer.Shard(
                shardId: shard, groupId: gid, state: Self.state(gid, group, report, move?.phase),
                keys: report?.keys ?? 0, bytes: report?.bytes ?? 0, epoch: row.epoch,
                readsPerSecond: rates.reads.rounded3, writesPerSecond: rates.writes.rounded3,
                move: move.map {
                    Answer.ShardMove(from: $0.from, to: $0.to, phase: Answer.MovePhase($0.phase))
                })
        }
    }

    private static func state(
        _ gid: GroupID, _ group: GroupState?, _ report: ShardStatus?, _ phase: ShardMap.Move.Phase?
    ) -> String {
        if gid == .none { return "Unowned" }
        guard let group, group.answers else { return "Unknown" }
        if phase == .collecting { return ShardStatus.State.gcing.rawValue }
        // While the target is down, a shard that is to move is still served.
        if let report { return report.state.rawValue }
        return phase?.isOpen == true ? ShardStatus.State.bePulling.rawValue : "Unknown"
    }

    // MARK: - Moves

    public func moves() -> Answer.Moves {
        Answer.Moves(
            live: moveLog.liveAnswers, history: moveLog.historyAnswers,
            hold: config?.hold.map {
                Answer.Hold(holder: $0.holder.clipped, until: Timestamp.text(unixMilliseconds: $0.until))
            },
            waiting: (config?.hold?.waiting ?? [:]).filter { config?.map.row($0.key) != nil }.sorted { $0.key < $1.key }
                .map { Answer.Waiting(shardId: $0, to: $1) })
    }

    // MARK: - The past

    /// Newest first; 1 to 1,000.
    public func events(limit: Int) -> [Answer.Event] { events.newest(max(limit, 1)) }

    /// The last 1 to 3,600 seconds before the last observation.
    public func history(windowSeconds: Int) -> Answer.History {
        historyLog.answer(windowSeconds: windowSeconds, intervalMs: settings.updateIntervalMs)
    }
}
