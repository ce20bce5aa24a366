public import Engines
internal import Foundation
public import Keyspace
internal import RaftLog
internal import Sharding

extension StoreReport {
    /// What is read to make a report.
    public struct Options: Sendable {
        /// Read the families for keys, bytes and hashes; otherwise only the tables.
        public var readsContents = true
        /// Values listed for each shard.
        public var biggest = 3
        /// One group alone.
        public var gid: GroupID?

        public init() {}
    }

    /// Reads a store. Memory doesn't grow with what it holds.
    public static func read(
        _ store: InspectedStore, _ options: Options = Options(), _ progress: ReadProgress = ReadProgress()
    ) throws(EngineError) -> StoreReport {
        var groups: [GroupReport] = []
        for group in try store.groups(options.gid) {
            groups.append(try GroupReport.read(group, options, progress))
        }
        let manifest = store.archive?.manifest
        return StoreReport(
            path: store.path, kind: store.kind, isSealed: store.isSealed,
            format: manifest?.format ?? store.identity?.format, clusterId: try store.clusterId(),
            engine: store.engineKind, createdAtMs: manifest?.createdAtMs, madeBy: manifest?.madeBy,
            configNumber: manifest?.configNumber, incarnation: store.identity?.incarnation,
            isCopy: store.identity.map { $0.isCopy == true }, movedTo: store.identity?.movedTo, groups: groups)
    }
}

extension GroupReport {
    static func read(
        _ group: InspectedGroup, _ options: StoreReport.Options, _ progress: ReadProgress
    ) throws(EngineError) -> GroupReport {
        progress.enter("the tables of \(group.title)")
        let rows = try group.rows()
        var report = GroupReport(
            role: group.role, gid: group.gid, nodeId: group.nodeId, engine: group.engine,
            applied: Position(rows.applied.position), logTimeMs: rows.applied.logTime,
            membershipIndex: rows.membership.index,
            members: rows.membership.members.map {
                MemberReport(
                    id: $0.id.rawValue, address: $0.address, incarnation: $0.incarnation.description,
                    standing: $0.standing.text)
            })
        if group.hasLog {
            report.term = rows.hardState.term
            report.vote = rows.hardState.vote?.rawValue
            report.log = try logRange(group, base: Position(rows.base), progress)
        }
        if group.isController {
            report.map = try map(of: group, progress)
        } else {
            try report.readShards(group, options, progress)
        }
        return report
    }

    private static func logRange(
        _ group: InspectedGroup, base: Position, _ progress: ReadProgress
    ) throws(EngineError) -> LogRange {
        var range = LogRange(base: base)
        progress.enter("\(group.layout.log) (the log of \(group.title))")
        try group.layout.scanLog(in: group.view) { row in
            progress.count(row.rowBytes)
            if range.entries == 0 { range.firstIndex = row.index }
            range.lastIndex = row.index
            range.lastTerm = row.term
            range.entries += 1
            range.bytes += UInt64(row.rowBytes)
            return true
        }
        return range
    }

    private mutating func readShards(
        _ group: InspectedGroup, _ options: StoreReport.Options, _ progress: ReadProgress
    ) throws(EngineError) {
        let reader = group.reader
        shardCount = try group.shardCount()
        logTimeMs = try reader.logTime()
        var contents: [ShardID: ShardContents] = [:]
        if options.readsContents {
            for family in try group.shardFamilies() {
                contents[family.shard] = try ShardContents.read(
                    family, of: group, biggest: options.biggest, progress)
            }
        }
        shards = try reader.records().sorted { $0.key < $1.key }.map { shard, record in
            var row = ShardReport(
                shard: shard, state: "serving", epoch: record.epoch,
                rejectedEpoch: record.rejectedEpoch > 0 ? record.rejectedEpoch : nil, sessions: record.sessions,
                contents: contents[shard])
            switch record.state {
            case .serving: break
            case .gone: row.state = "gone"
            case .frozen(let to, let epoch):
                row.state = "frozen"
                row.movesTo = to
                row.moveEpoch = epoch
            }
            return row
        }
        var staged: [StagedReport] = []
        for shard in try reader.stagedShards().sorted(by: { ($0.shard, $0.epoch) < ($1.shard, $1.epoch) }) {
            guard let found = try reader.staged(shard) else { continue }
            staged.append(
                StagedReport(
                    shard: shard.shard, epoch: shard.epoch, keys: found.hashes.user.count,
                    contentHash: found.hashes.user.description, sessions: found.sessions))
        }
        self.staged = staged
        decisions = try reader.decisions().map { shard, decision in
            switch decision {
            case .activated(let hashes):
                DecisionReport(
                    shard: shard.shard, epoch: shard.epoch, decision: "activated",
                    contentHash: hashes.user.description)
            case .rejected: DecisionReport(shard: shard.shard, epoch: shard.epoch, decision: "rejected")
            }
        }
    }

    private static func map(
        of group: InspectedGroup, _ progress: ReadProgress
    ) throws(EngineError) -> ShardMapReport? {
        guard let map = try ControllerMachine.map(number: nil, layout: group.layout, in: group.view) else { return nil }
        var configs: UInt64 = 0
        if let family = try group.rows().families[ControllerMachine.configsFamily] {
            try group.scan(family, ControllerMachine.configsFamily, progress) { _, _ in
                configs += 1
                return true
            }
        }
        return ShardMapReport(map, configs: configs)
    }
}

extension GroupReport.Position {
    init(_ position: LogPosition) { self.init(index: position.index, term: position.term) }
}

extension ShardMapReport {
    init(_ map: ShardMap, configs: UInt64) {
        self.init(
            configNumber: map.number, clusterId: BytesText.hex(map.clusterID), configs: configs,
            groups: map.groups.sorted { $0.key < $1.key }.map { gid, group in
                Group(
                    gid: gid, addresses: group.addresses, isLeaving: group.isLeaving,
                    shards: map.shards.count { $0.gid == gid })
            },
            shards: map.shardIDs.map { shard in
                let row = map[shard]
                return Row(
                    shard: shard, gid: row.gid, epoch: row.epoch,
                    move: row.move.map { Move(from: $0.from, to: $0.to, epoch: $0.epoch, phase: $0.phase.text) })
            })
    }
}
