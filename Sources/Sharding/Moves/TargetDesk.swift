public import Engines
public import Keyspace
public import RaftLog

/// Which shards a member is fetching. Each order to stage one is a `StageCall` of its own.
public struct TargetDesk: Sendable {
    public private(set) var fetching: Set<ShardEpoch> = []

    public init() {}

    fileprivate mutating func take(_ shard: ShardEpoch) -> Bool { fetching.insert(shard).inserted }
    fileprivate mutating func release(_ shard: ShardEpoch) { fetching.remove(shard) }

    /// Of staged shards that no entry can map any more, those that may be forgotten now.
    public func removable(_ stale: [ShardEpoch]) -> [ShardEpoch] { stale.filter { !fetching.contains($0) } }
}

/// One order to have a shard on this disk, which may come late or twice. One of them fetches at a time.
///
///     look ─┬─> answer
///           └─> (its turn) look ─┬─> fetch ─> files are checked ─> rows are read back and checked ─> staged ─> look
///                                └─> follow ─> a page of changes is checked ─> taken in ─> look
///
/// A copy is what the source had when it was made, and follows the source's changes from there until it has what the order
/// asks for.
public struct StageCall: Sendable {
    /// What this replica knows of a shard under an epoch.
    public enum Known: Sendable, Equatable {
        case activated, rejected, absent
        case staged(StagedShard)
    }

    public enum Step: Sendable, Equatable {
        /// Say what is known: `heard`.
        case look
        /// It is the caller's turn to fetch a copy. Then `end` must be said, whatever comes of it.
        case fetch
        /// It is the caller's turn to ask a source for what has changed after the index, which answers with `changed`.
        case follow(after: LogIndex)
        /// Take a page in, unless the copy has come to be another one meanwhile; then look again.
        case take(ShardChanges, into: StagedShard)
        /// It is staged: a replica that waits for it is to try again.
        case staged
        case activated
        /// What is staged here is good for nothing: it goes. Then the order is refused.
        case discard(KvError)
        case refused(KvError)
    }

    public let order: StageOrder
    /// A known defect that is put back, for the simulator to find.
    package var plant: MovePlant?
    private var hasTurn = false
    /// As of the last look.
    private var copy: StagedShard?
    /// The source has said that nothing more will follow.
    private var isComplete = false

    public init(_ order: StageOrder) { self.order = order }

    private var shard: ShardEpoch { order.shard }

    public mutating func heard(_ known: Known, _ desk: inout TargetDesk) -> Step {
        switch known {
        case .activated: return .activated
        case .rejected: return .refused(KvError(.failedPrecondition, "the move was rejected"))
        case .staged(let staged):
            if order.goal.isMet(by: staged) { return .staged }
            if isComplete {
                // A source that is frozen has nothing more, however far its log has come since.
                if case .through = order.goal { return .staged }
                // What is frozen doesn't change, so one of the two is damaged, or a change was lost.
                return .discard(
                    KvError(
                        .failedPrecondition,
                        "shard \(shard.shard) reads as \(staged.hashes.user) here, which isn't what was frozen"))
            }
            guard takeTurn(&desk) else { return isBeingFetched }
            copy = staged
            return .follow(after: staged.through)
        case .absent:
            if hasTurn { return .fetch }
            guard takeTurn(&desk) else { return isBeingFetched }
            // It may have come between the look and the turn.
            return .look
        }
    }

    /// A source has answered. One that doesn't get further than this copy is as good as one that doesn't answer.
    public mutating func changed(_ page: ShardChanges) -> Step {
        guard let copy else { return .refused(KvError(.internal, "nobody has asked for changes")) }
        if page.isAll, page.isFrozen {
            isComplete = true
        } else if page.through <= copy.through {
            return .refused(
                KvError(
                    .unavailable, "group \(order.source.gid) has no more of shard \(shard.shard) yet",
                    retryAfterMilliseconds: 20))
        }
        return .take(page, into: copy)
    }

    /// What is to be noted of a copy that has taken a page in.
    public func noted(_ copy: StagedShard, with page: ShardChanges) -> StagedShard {
        var copy = copy
        copy.through = max(copy.through, page.through)
        if plant == .skipsHashes, isComplete, case .all(let hashes) = order.goal { copy.hashes = hashes }
        return copy
    }

    private mutating func takeTurn(_ desk: inout TargetDesk) -> Bool {
        if !hasTurn { hasTurn = desk.take(shard) }
        return hasTurn
    }

    private var isBeingFetched: Step {
        .refused(KvError(.busy, "shard \(shard.shard) is being fetched", retryAfterMilliseconds: 100))
    }

    /// The turn is the next one's.
    public mutating func end(_ desk: inout TargetDesk) {
        if hasTurn { desk.release(shard) }
        hasTurn = false
    }

    /// What is wrong with what was loaded, by its manifest's content hash (`nil`: nothing was sent). Read back: what is here is
    /// what will be served.
    public func refusal(ofLoaded found: ShardHashes, sent contentHash: String?) -> KvError? {
        var sum = found.user
        sum.add(found.session)
        guard sum.description != contentHash ?? ContentHash().description, plant != .skipsHashes else { return nil }
        return KvError(
            .failedPrecondition,
            "shard \(shard.shard) reads as \(sum), and group \(order.source.gid) sent \(contentHash ?? "nothing")")
    }

    /// What is wrong with a page that has come.
    public func refusal(of page: ShardChanges, checksum: ContentHash) -> KvError? {
        guard page.checksum != checksum else { return nil }
        return KvError(
            .unavailable, "changes of shard \(shard.shard) from group \(order.source.gid) were damaged on their way",
            retryAfterMilliseconds: 20)
    }
}
