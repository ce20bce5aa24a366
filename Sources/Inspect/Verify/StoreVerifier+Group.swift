internal import Bytes
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

extension StoreVerifier {
    /// The checks for a group's shard families, by name; a table that contradicts itself is found on the way.
    func makeShardChecks(_ group: InspectedGroup) throws(EngineError) -> [String: ShardCheck] {
        var checks: [String: ShardCheck] = [:]
        guard !group.isController else { return checks }
        try attempt("the shard records of \(group.title)") { () throws(EngineError) in
            let reader = group.reader
            let families = try group.rows().families
            let records = try reader.records()
            let count = try group.shardCount()
            for (shard, record) in records {
                guard let count, shard.index < count else {
                    throw .corruption(place: "shard \(shard) of \(count.map(String.init) ?? "no") shards")
                }
                if record.sessions < 0 || record.sessions > SessionLimits.sessionsMax {
                    damage("shard \(shard) of \(group.title)", "its record counts \(record.sessions) sessions")
                }
            }
            for (name, _) in families.sorted(by: { $0.key < $1.key }) {
                if let shard = ShardRecord.shard(ofChanges: name) {
                    if records[shard]?.tracking == nil {
                        damage(
                            "\(name) of \(group.title)", "it notes what changes in a shard that nobody copies")
                    }
                    continue
                }
                guard let shard = ShardRecord.shard(ofFamily: name) else {
                    damage("the table of families of \(group.title)", "it names \(name), which is no shard")
                    continue
                }
                guard let count, let record = records[shard] else {
                    damage("\(name) of \(group.title)", "its shard has a family and no record")
                    continue
                }
                if record.state == .gone {
                    damage("\(name) of \(group.title)", "its shard has gone, and its family is here")
                }
                checks[name] = ShardCheck(shard: shard, shardCount: count, sessionsRecorded: record.sessions)
            }
            for (shard, record) in records.sorted(by: { $0.key < $1.key })
            where families[ShardRecord.family(shard)] == nil && record.sessions != 0 {
                damage("shard \(shard) of \(group.title)", "\(record.sessions) sessions, and no family that holds them")
            }
        }
        return checks
    }

    /// What the tables of a group say of each other.
    func verifyTables(of group: InspectedGroup) throws(EngineError) {
        try attempt("the tables of \(group.title)") { () throws(EngineError) in
            let rows = try group.rows()
            let applied = rows.applied.position
            if rows.membership.index > applied.index {
                damage(
                    "the tables of \(group.title)",
                    "the membership is of entry \(rows.membership.index), and applied is \(applied)")
            }
            if group.isController {
                try verifyMaps(of: group, rows)
            } else {
                _ = try group.reader.decisions()
                _ = try group.reader.logTime()
            }
        }
    }

    private func verifyMaps(of group: InspectedGroup, _ rows: GroupStorageRows) throws(EngineError) {
        let current = try ControllerMachine.map(number: nil, layout: group.layout, in: group.view)
        _ = try ControllerMachine.hold(layout: group.layout, in: group.view)
        guard let current else {
            if rows.families[ControllerMachine.configsFamily] != nil {
                damage("controller", "versions of a shard map, and no current one")
            }
            return
        }
        guard let family = rows.families[ControllerMachine.configsFamily] else {
            damage("controller", "a shard map, and no family of its versions")
            return
        }
        var expected: UInt64 = 0
        var problem: String?
        var newest: ShardMap?
        try group.scan(family, ControllerMachine.configsFamily, progress) { key, value in
            guard key.count == 8, bigEndianNumber(key) == expected else {
                problem = "version \(expected) of the shard map is missing"
                return false
            }
            guard let map = try? ShardMap(encoded: Array(value)), map.number == expected else {
                problem = "version \(expected) of the shard map can't be read"
                return false
            }
            newest = map
            expected += 1
            return true
        }
        if let problem { return damage("configs of controller", problem) }
        if newest != current { damage("configs of controller", "the newest version is not the current shard map") }
        for (shard, row) in current.shards.enumerated() {
            let gids = [row.gid] + (row.move.map { [$0.from, $0.to] } ?? [])
            for gid in gids where gid != 0 && current.groups[gid] == nil {
                damage("the shard map", "shard \(shard) is of group \(gid), which has not joined")
            }
            if let move = row.move, move.epoch < row.epoch || (move.phase.isOpen && move.epoch == row.epoch) {
                damage("the shard map", "shard \(shard) moves under epoch \(move.epoch) and serves under \(row.epoch)")
            }
        }
    }
}
