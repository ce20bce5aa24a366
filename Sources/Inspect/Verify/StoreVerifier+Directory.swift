internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

extension StoreVerifier {
    /// Every row of every family, the tables that name the families, each group's log, and what they say of each other.
    func verifyDirectory(_ path: String) throws(EngineError) {
        let store = try InspectedStore(path, progress)
        guard let engine = store.engine, let view = store.engineSnapshot else { return }
        if let identity = store.identity {
            try verify(identity, of: store)
        } else {
            warn(path, "it has no file FLOTILLA; the engine was told by its files")
        }
        let present = try engine.families()
        var owners: [FamilyID: String] = [FamilyTable.node: "the table of groups"]
        func claim(_ family: FamilyID, _ name: String) {
            if let other = owners[family] { damage("\(family)", "it is named twice: \(other), and \(name)") }
            owners[family] = name
            if !present.contains(family) { damage("\(family) (\(name))", "the tables name it, and it doesn't exist") }
        }
        for group in store.groups {
            claim(group.layout.log, "the log of \(group.title)")
            claim(group.layout.meta, "the tables of \(group.title)")
            try attempt("the tables of \(group.title)") { () throws(EngineError) in
                let rows = try group.rows()
                for (name, family) in rows.families.sorted(by: { $0.key < $1.key }) {
                    claim(family, "\(name) of \(group.title)")
                }
                for (name, staged) in rows.staged.sorted(by: { $0.key < $1.key }) {
                    if let family = staged.family { claim(family, "\(name), staged, of \(group.title)") }
                }
            }
        }
        try attempt("\(FamilyTable.node) (the table of groups)") { () throws(EngineError) in
            if let next = try FamilyTable.nextNumber(in: view), let last = present.last, last.rawValue >= next {
                damage("the table of groups", "the next family is number \(next), and \(last) exists")
            }
        }
        var read: Set<FamilyID> = []
        for group in store.groups {
            read.formUnion(try verifyShards(of: group, present: Set(present)))
            try verifyTables(of: group)
            if present.contains(group.layout.log) {
                read.insert(group.layout.log)
                try verifyLog(of: group)
            }
        }
        // The rest is read for its checksums: tables, and families that nothing names.
        for family in present where !read.contains(family) {
            let name = owners[family]
            var rows: UInt64 = 0
            try attempt("\(family) (\(name ?? "nothing names it"))") { () throws(EngineError) in
                progress.enter("\(family) (\(name ?? "nothing names it"))")
                let previous = KeyBuffer()
                var isOrdered = true
                try view.scan(family) { key, value in
                    rows += 1
                    progress.count(key.count + value.count)
                    isOrdered = previous.advance(to: key)
                    return isOrdered
                }
                if !isOrdered { throw .corruption(place: "keys out of order") }
            }
            if name == nil, rows > 0 {
                warn("\(family)", "\(rows) rows that nothing names; the node removes them at its next start")
            }
        }
    }

    /// Whom `FLOTILLA` names, and whom the engine's rows name.
    private func verify(_ identity: DirectoryIdentity, of store: InspectedStore) throws(EngineError) {
        for group in store.groups where group.gid.rawValue != identity.groupId || group.role != identity.role {
            damage("FLOTILLA", "it says \(identity.summary), and the engine holds \(group.title)")
        }
        if identity.hasJoined == true, store.groups.isEmpty {
            damage("FLOTILLA", "it says \(identity.summary), and the engine holds no group")
        }
        for group in store.groups {
            try attempt("the bootstrap record of \(group.title)") { () throws(EngineError) in
                guard let cluster = identity.clusterId, let founded = try group.foundedCluster() else { return }
                if cluster != founded {
                    damage("FLOTILLA", "it says cluster \(cluster), and \(group.title) was founded in \(founded)")
                }
            }
            try attempt("the tables of \(group.title)") { () throws(EngineError) in
                let member = try group.rows().membership[ReplicaID(identity.nodeId)]
                guard let member, member.incarnation.description != identity.incarnation else { return }
                // A node whose disk was lost, or which has been replaced, is in the right to look like this.
                warn(
                    "FLOTILLA",
                    "its incarnation is \(identity.incarnation), and member \(identity.nodeId) of \(group.title) has "
                        + "\(member.incarnation)")
            }
        }
    }

    /// The families that were read.
    private func verifyShards(of group: InspectedGroup, present: Set<FamilyID>) throws(EngineError) -> Set<FamilyID> {
        var read: Set<FamilyID> = []
        guard !group.isController else { return read }
        let checks = try makeShardChecks(group)
        var rows = GroupStorageRows()
        // What can't be read here has been found already.
        do throws(EngineError) { rows = try group.rows() } catch { if !error.isDamage { throw error } }
        for (name, family) in rows.families.sorted(by: { $0.key < $1.key }) where present.contains(family) {
            guard let check = checks[name] else { continue }
            read.insert(family)
            let place = group.place(of: family, name)
            let isRead = try attempt(place) { () throws(EngineError) in
                try group.scan(family, name, progress) { key, value in
                    check.add(key, value)
                    return true
                }
            }
            if isRead { check.finish { damage(place, $0) } }
        }
        try attempt("the staged shards of \(group.title)") { () throws(EngineError) in
            for shard in try group.reader.stagedShards() { _ = try group.reader.staged(shard) }
        }
        for (name, staged) in rows.staged.sorted(by: { $0.key < $1.key }) {
            guard let shard = StagedShard.shard(ofName: name), let note = try? StagedShard(encoded: staged.note) else {
                damage("the staged shards of \(group.title)", "\(name) can't be read")
                continue
            }
            guard let family = staged.family, present.contains(family) else {
                if staged.family == nil, note.hashes != ShardHashes() {
                    damage("\(name), staged, of \(group.title)", "it has no family, and its note counts records")
                }
                continue
            }
            read.insert(family)
            let place = group.place(of: family, "\(name), staged,")
            var hashes = ShardHashes()
            let count = (try? group.shardCount()) ?? nil
            let check = count.map {
                ShardCheck(shard: shard.shard, shardCount: $0, sessionsRecorded: note.sessions)
            }
            let isRead = try attempt(place) { () throws(EngineError) in
                try group.scan(family, "\(name), staged,", progress) { key, value in
                    ShardRows.add(key: key, value: value, to: &hashes)
                    check?.add(key, value)
                    return true
                }
                if hashes != note.hashes { throw .corruption(place: "its content hash is not what its note says") }
            }
            if isRead { check?.finish { damage(place, $0) } }
        }
        return read
    }

    /// Checksums, continuity, terms that never fall, and a position that lies within.
    private func verifyLog(of group: InspectedGroup) throws(EngineError) {
        let place = "the log of \(group.title)"
        try attempt(place) { () throws(EngineError) in
            let rows = try group.rows()
            let (base, applied) = (rows.base, rows.applied)
            var term = base.term
            var last = base.index
            var problem: String?
            progress.enter("\(group.layout.log) (\(place))")
            try group.layout.scanLog(in: group.view) { row in
                progress.count(row.rowBytes)
                if row.index != last &+ 1 { problem = problem ?? "entry \(last &+ 1) is missing" }
                if row.term < term { problem = problem ?? "the term falls at entry \(row.index)" }
                if row.index == applied.position.index, row.term != applied.position.term {
                    problem = problem ?? "applied is \(applied.position), and the entry has term \(row.term)"
                }
                if row.index <= applied.position.index, row.stamp > applied.logTime {
                    problem = problem ?? "entry \(row.index) is applied, and its stamp is ahead of log time"
                }
                term = row.term
                last = row.index
                return problem == nil
            }
            if let problem { throw .corruption(place: problem) }
            guard (base.index...last).contains(applied.position.index) else {
                throw .corruption(place: "applied is \(applied.position), and the log is \(base)...\(last)")
            }
            if rows.hardState.term < term {
                throw .corruption(place: "the replica's term is \(rows.hardState.term), and the log's \(term)")
            }
        }
    }
}
