internal import Keyspace

/// Moves that are under way, and those that have ended while the dashboard looked.
struct MoveLog: Sendable, Equatable {
    static let historyMax = 500
    /// More changes at a time than this are one event: a join moves hundreds of shards.
    static let eventsAtOnceMax = 10

    struct Key: Sendable, Hashable, Comparable {
        var shard: ShardID
        var epoch: UInt64

        static func < (a: Key, b: Key) -> Bool { (a.shard, a.epoch) < (b.shard, b.epoch) }
    }

    struct Entry: Sendable, Equatable {
        var key: Key
        var from: GroupID
        var to: GroupID
        var phase: Answer.MovePhase
        /// Unix milliseconds at which it was first seen; of a move that began and ended between two observations, the
        /// earlier one.
        var startedAt: UInt64
        var endedAt: UInt64?
        var copied: UInt64?
        var total: UInt64?

        var answer: Answer.Move {
            Answer.Move(
                shardId: key.shard, epoch: key.epoch, from: from, to: to, phase: phase,
                startedAt: Timestamp.text(unixMilliseconds: startedAt),
                endedAt: endedAt.map { Timestamp.text(unixMilliseconds: $0) }, copiedBytes: copied, totalBytes: total)
        }
    }

    private var live: [Key: Entry] = [:]
    /// Oldest first.
    private var history: [Entry] = []

    init() {}

    var liveAnswers: [Answer.Move] { live.values.sorted { $0.key < $1.key }.map(\.answer) }
    var historyAnswers: [Answer.Move] { history.suffix(Self.historyMax).reversed().map(\.answer) }

    /// Another cluster's moves are nobody's.
    mutating func forgetLive() { live = [:] }

    // MARK: - Configs

    /// Takes over a config of the same cluster.
    ///
    /// - Parameters:
    ///   - before: the one before; `nil` for the first, whose moves have begun at some earlier time.
    ///   - lastAt: when `before` was seen.
    mutating func observe(
        _ config: ShardMap, after before: ShardMap?, lastAt: UInt64, at now: UInt64, _ events: inout EventLog
    ) {
        var changed: [Entry] = []
        var present: Set<Key> = []
        for (shard, move) in config.moves {
            let key = Key(shard: shard, epoch: move.epoch)
            present.insert(key)
            let phase = Answer.MovePhase(move.phase)
            guard var entry = live[key] else {
                let entry = Entry(key: key, from: move.from, to: move.to, phase: phase, startedAt: now)
                live[key] = entry
                if before != nil { changed.append(entry) }
                continue
            }
            guard entry.phase != phase else { continue }
            entry.phase = phase
            if phase == .collecting { entry.copied = entry.total }
            live[key] = entry
            changed.append(entry)
        }
        var ended: [Entry] = []
        for (key, var entry) in live where !present.contains(key) {
            live[key] = nil
            let wasRejected = entry.phase == .rejected
            entry.phase =
                Self.isDone(entry, in: config, movesOnFrom: config.row(key.shard)?.move?.from) ? .done : .rejected
            if entry.phase == .done { entry.copied = entry.total }
            entry.endedAt = now
            ended.append(entry)
            // A rejection has been told already.
            if !(wasRejected && entry.phase == .rejected) { changed.append(entry) }
        }
        if let before {
            let unseen = Self.unseen(in: config, after: before, ended: ended, startedAt: lastAt, endedAt: now)
            ended += unseen
            changed += unseen
        }
        history += ended.sorted { $0.key < $1.key }
        if history.count > Self.historyMax { history.removeFirst(history.count - Self.historyMax) }
        Self.tell(changed, &events)
    }

    /// A move that the config has no more is done if the target serves the shard, or did and hands it on; else it was
    /// rejected.
    private static func isDone(_ entry: Entry, in config: ShardMap, movesOnFrom source: GroupID?) -> Bool {
        let shard = entry.key.shard
        switch entry.phase {
        case .collecting, .done: return true
        case .rejected: return false
        case .moving, .aborting:
            if source == entry.to { return true }
            guard let row = config.row(shard) else { return false }
            // By force the source serves again under the next epoch, and nothing is on the move.
            if row.gid == entry.from, row.epoch == entry.key.epoch + 1, row.move == nil { return false }
            // A rejected shard stays where it was. One that is elsewhere, or has moved on since, came through the target.
            return row.gid != entry.from || row.epoch > entry.key.epoch
        }
    }

    /// Moves that no config of ours had: the shard is with another group than before.
    private static func unseen(
        in config: ShardMap, after before: ShardMap, ended: [Entry], startedAt: UInt64, endedAt: UInt64
    ) -> [Entry] {
        let known = Set(before.moves.map(\.shard)).union(config.moves.map(\.shard)).union(ended.map(\.key.shard))
        return config.shardIDs.compactMap { shard in
            guard let old = before.row(shard)?.gid, !known.contains(shard) else { return nil }
            let row = config[shard]
            guard old != .none, row.gid != .none, old != row.gid else { return nil }
            return Entry(
                key: Key(shard: shard, epoch: row.epoch), from: old, to: row.gid, phase: .done,
                startedAt: startedAt, endedAt: endedAt)
        }
    }

    // MARK: - Progress

    /// Takes over what the nodes of a group that answer say now of what they fetch; who says nothing any more has
    /// changed nothing.
    ///
    /// Every member of the target copies for itself, and may begin anew. The bar is that of the one that has got
    /// farthest: that there is one which lags or is down would otherwise look as if nothing moved.
    mutating func observe(_ transfers: [NodeStatus.Transfer], of gid: GroupID) {
        var farthest: [Key: (copied: UInt64, total: UInt64)] = [:]
        for transfer in transfers {
            let key = Key(shard: transfer.shard, epoch: transfer.epoch)
            let (copied, total) = farthest[key] ?? (0, 0)
            farthest[key] = (max(copied, transfer.copiedBytes), max(total, transfer.totalBytes))
        }
        for (key, progress) in farthest {
            guard let entry = live[key], entry.to == gid, entry.phase == .moving || entry.phase == .aborting else {
                continue
            }
            live[key]?.copied = progress.copied
            if progress.total > 0 { live[key]?.total = progress.total }
        }
    }

    // MARK: - Events

    private static func tell(_ changed: [Entry], _ events: inout EventLog) {
        for phase in [Answer.MovePhase.moving, .aborting, .collecting, .done, .rejected] {
            let moves = changed.filter { $0.phase == phase }.sorted { $0.key < $1.key }
            let severity: Answer.Event.Severity = phase == .rejected ? .warning : .info
            guard moves.count <= eventsAtOnceMax else {
                events.add(.move, severity, "\(moves.count) shards \(many(phase))")
                continue
            }
            for move in moves {
                events.add(.move, severity, group: move.to, shard: move.key.shard, sentence(move))
            }
        }
    }

    private static func many(_ phase: Answer.MovePhase) -> String {
        switch phase {
        case .moving: "start to move"
        case .collecting: "are served by their targets"
        case .done: "have moved"
        case .rejected: "stay where they were: their moves have ended"
        case .aborting: "are to stay where they are"
        }
    }

    private static func sentence(_ move: Entry) -> String {
        let shard = "shard \(move.key.shard)"
        return switch move.phase {
        case .moving: "\(shard) starts to move from group \(move.from) to group \(move.to)"
        case .collecting: "group \(move.to) serves \(shard); group \(move.from) still has its copy"
        case .done: "\(shard) has moved from group \(move.from) to group \(move.to)"
        case .rejected: "\(shard) doesn't go to group \(move.to); it stays with group \(move.from)"
        case .aborting: "the move of \(shard) to group \(move.to) is being aborted"
        }
    }
}
