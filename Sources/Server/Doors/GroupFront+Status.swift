internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding
internal import Synchronization

/// What a group's node says of its shards.
extension GroupFront {
    /// Shards with so few keys are counted for a status; more would take too long.
    private static let countedKeysMax = 1_000
    private static let countedBytesMax: UInt64 = 1 << 20
    /// Of all shards together: dashboards ask every second.
    private struct CountingBudget {
        var keys = 20_000
        var bytes: UInt64 = 8 << 20

        /// False: an estimate must do.
        mutating func take(keys: UInt64, bytes: UInt64) -> Bool {
            guard keys <= min(GroupFront.countedKeysMax, self.keys),
                bytes <= min(GroupFront.countedBytesMax, self.bytes)
            else { return false }
            self.keys -= Int(keys)
            self.bytes -= bytes
            return true
        }
    }

    /// Adds to a node's status what its group's rows say.
    ///
    /// - Parameters:
    ///   - isExact: count keys and hash what the shards hold, by scanning.
    ///   - exactShards: the same for these alone.
    func complete(_ status: inout NodeStatus, isExact: Bool, exactShards: Set<ShardID>) throws {
        status.config = newestConfig.withLock { $0 }
        let snapshot = try node.engine.snapshot()
        defer { snapshot.close() }
        let reader = GroupReader(node.layout, in: snapshot)
        status.logTimeMs = try reader.logTime()
        status.transfers = target.transfers
        let index = try reader.applied().position.index
        var budget = CountingBudget()
        for (shard, record) in try reader.records().sorted(by: { $0.key < $1.key }) where record.state != .gone {
            let isExact = isExact || exactShards.contains(shard)
            let load = node.metrics.load(of: shard)
            var row = ShardStatus(
                shard: shard, state: .serving, epoch: record.epoch, reads: load.reads, writes: load.writes)
            if case .frozen = record.state {
                row.state = .bePulling
            } else if collecting.withLock({ $0.contains(shard) }) {
                row.state = .gcing
            }
            if let family = try reader.family(shard) {
                (row.keys, row.bytes) = try Self.count(
                    family, sessions: record.sessions, in: snapshot, exact: isExact, budget: &budget, node.engine)
            }
            if isExact {
                let hashes = try reader.hashes(shard)
                row.exact = .init(
                    appliedIndex: index, userHash: hashes.user.description,
                    sessionHash: hashes.session.description)
            }
            status.shards.append(row)
        }
        let here = Set(status.shards.map(\.shard))
        for shard in try target.pulling(reader).subtracting(here).sorted() {
            let load = node.metrics.load(of: shard)
            status.shards.append(
                ShardStatus(shard: shard, state: .pulling, reads: load.reads, writes: load.writes))
        }
    }

    /// User keys, and the bytes of keys and values: counted if asked for or if they are few, else as the engine
    /// estimates them.
    private static func count(
        _ family: FamilyID, sessions: Int, in snapshot: any ReadSnapshot, exact: Bool, budget: inout CountingBudget,
        _ engine: any StorageEngine
    ) throws -> (keys: UInt64, bytes: UInt64) {
        if !exact {
            let estimate = try engine.statistics(of: family)
            // Engines count every row; a session has two.
            let keys = estimate.keys - min(estimate.keys, UInt64(sessions) * 2)
            if !budget.take(keys: keys, bytes: estimate.bytes) { return (keys, estimate.bytes) }
        }
        var keys: UInt64 = 0
        var bytes: UInt64 = 0
        try snapshot.scan(family, lower: [ShardRows.user], upper: [ShardRows.user + 1]) { key, value in
            keys += 1
            bytes += UInt64(key.count + value.count - 2)
            return true
        }
        return (keys, bytes)
    }
}
