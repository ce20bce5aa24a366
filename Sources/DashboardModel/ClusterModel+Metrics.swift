internal import Keyspace

extension ClusterModel {
    public func metrics() -> Answer.Metrics {
        let all = allGroups
        let requests = merged()
        let capacity = capacity()
        let kinds = zip(OperationKind.allCases, requests.kinds).map { kind, requests in
            let (p50, p99) = requests.percentiles
            return Answer.Operation(
                operation: kind.rawValue, perSecond: requests.perSecond.rounded3,
                errorsPerSecond: requests.errorsPerSecond.rounded3, p50Ms: p50, p99Ms: p99)
        }
        let fsync = requests.fsync.percentiles
        let owned = (config?.map.shards ?? []).count { $0.gid != .none }
        let known = all.filter { $0.gid != .controller || !$0.nodes.isEmpty }
        return Answer.Metrics(
            totalNodes: all.reduce(0) { $0 + $1.nodes.count }, healthyNodes: healthyNodes,
            totalStorage: all.lazy.map(Self.storage).total, totalKeys: totalKeys,
            totalShards: config?.map.shardCount ?? 0,
            averageLoad: groups.isEmpty ? 0 : (Double(owned) / Double(groups.count)).rounded3,
            updatedAt: observedText, storageCapacity: capacity.total, storageFree: capacity.free,
            groups: groups.count,
            operationsPerSecond: requests.kinds.reduce(0) { $0 + $1.perSecond }.rounded3, operations: kinds,
            fsync: Answer.Fsync(perSecond: requests.fsync.perSecond.rounded3, p50Ms: fsync.p50, p99Ms: fsync.p99),
            replicationLag: lag() ?? Answer.ReplicationLag(entries: 0, groupId: nil, nodeId: nil),
            leaderless: known.filter { $0.leader == nil }.map(\.gid),
            withoutQuorum: known.filter { !$0.hasQuorum }.map(\.gid),
            underReplicated: known.filter(\.isUnderReplicated).map(\.gid))
    }

    private var healthyNodes: Int {
        allGroups.reduce(0) { sum, group in sum + group.nodes.count { group.isHealthy($0) } }
    }

    /// Of all shards, at those who serve them.
    private var totalKeys: UInt64 {
        (config?.map.shardIDs ?? []).lazy.map { shard in
            guard let gid = config?.map.row(shard)?.gid, gid != .none else { return 0 }
            return group(gid)?.shard(shard)?.keys ?? 0
        }.total
    }

    /// The node that is farthest behind of those that answer; `nil` if none does. One that is down is told elsewhere.
    private func lag() -> Answer.ReplicationLag? {
        var worst: Answer.ReplicationLag?
        for group in allGroups {
            for node in group.nodes where node.answers {
                let lag = group.lag(of: node)
                if let worst, worst.entries >= lag { continue }
                worst = Answer.ReplicationLag(
                    entries: lag, groupId: lag == 0 ? nil : group.gid, nodeId: lag == 0 ? nil : node.id)
            }
        }
        return worst
    }

    /// Each file system once, as the first node of those that answer says; a node that doesn't name its own counts by
    /// itself.
    private func capacity() -> (total: UInt64, free: UInt64) {
        var seen: Set<String> = []
        var sum = (total: UInt64(0), free: UInt64(0))
        for isAnswering in [true, false] {
            for node in allGroups.flatMap(\.nodes) where node.answers == isAnswering {
                guard let report = node.report else { continue }
                if !report.filesystem.isEmpty, !seen.insert(report.filesystem).inserted { continue }
                sum.total = sum.total.adding(report.storageCapacity)
                sum.free = sum.free.adding(report.storageFree)
            }
        }
        return sum
    }

    // MARK: - Rates

    private struct Merged {
        /// One for each `OperationKind`.
        var kinds = [MergedRequests](repeating: MergedRequests(), count: OperationKind.allCases.count)
        var fsync = MergedRequests()
        /// At least one node has answered twice.
        var isKnown = false
    }

    private func merged() -> Merged {
        var merged = Merged()
        for group in allGroups {
            for node in group.nodes {
                guard let rates = node.presentRates else { continue }
                merged.isKnown = true
                for (index, requests) in rates.requests.enumerated() { merged.kinds[index].add(requests) }
                merged.fsync.add(rates.fsync)
            }
        }
        return merged
    }

    // MARK: - History

    /// The values of `HistoryLog.names`, now.
    func sample(at now: UInt64) -> HistoryLog.Sample {
        let merged = merged()
        let percentiles = merged.kinds.map(\.percentiles)
        let fsync = merged.fsync.percentiles
        let lag = lag()
        let isAnyKnown = allGroups.contains { $0.nodes.contains { $0.report != nil } }
        var values: [Double?] = merged.kinds.map { merged.isKnown ? $0.perSecond.rounded3 : nil }
        values += percentiles.map(\.p50)
        values += percentiles.map(\.p99)
        values += [fsync.p50, fsync.p99, lag.map { Double($0.entries) }]
        values.append(config == nil ? nil : Double(totalKeys))
        values.append(isAnyKnown ? Double(allGroups.lazy.map(Self.storage).total) : nil)
        values.append(Double(healthyNodes))
        return HistoryLog.Sample(at: now, values: values)
    }
}
