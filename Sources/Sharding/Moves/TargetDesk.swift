internal import Engines
public import Keyspace

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
///           └─> (its turn) look ─> fetch ─> files are checked ─> rows are read back and checked ─> staged
public struct StageCall: Sendable {
    /// What this replica knows of a shard under an epoch.
    public enum Known: Sendable, Equatable {
        case activated, rejected, absent
        case staged(ShardHashes)
    }

    public enum Step: Sendable, Equatable {
        /// Say what is known: `heard`.
        case look
        /// It is the caller's turn to fetch. Then `end` must be said, whatever comes of it.
        case fetch
        /// It is staged: a replica that waits for it is to try again.
        case staged
        case activated
        case refused(KvError)
    }

    public let order: StageOrder
    /// A known defect that is put back, for the simulator to find.
    package var plant: MovePlant?
    private var hasTurn = false

    public init(_ order: StageOrder) { self.order = order }

    private var shard: ShardEpoch { order.shard }

    public mutating func heard(_ known: Known, _ desk: inout TargetDesk) -> Step {
        switch known {
        case .activated: return .activated
        case .rejected: return .refused(KvError(.failedPrecondition, "the move was rejected"))
        case .staged(let hashes):
            guard hashes == order.hashes else {
                // A frozen shard doesn't change, so one of the two is damaged.
                return .refused(
                    KvError(.failedPrecondition, "shard \(shard.shard) is staged here with other contents"))
            }
            return .staged
        case .absent:
            if hasTurn { return .fetch }
            guard desk.take(shard) else {
                return .refused(
                    KvError(.busy, "shard \(shard.shard) is being fetched", retryAfterMilliseconds: 100))
            }
            hasTurn = true
            // It may have come between the look and the turn.
            return .look
        }
    }

    /// The turn is the next one's.
    public mutating func end(_ desk: inout TargetDesk) {
        if hasTurn { desk.release(shard) }
        hasTurn = false
    }

    /// What is wrong with what was sent, by its manifest's content hash (`nil`: nothing was sent).
    public func refusal(ofSent contentHash: String?) -> KvError? {
        var sum = order.hashes.user
        sum.add(order.hashes.session)
        let gid = order.source.gid
        if let contentHash {
            guard contentHash != sum.description else { return nil }
            return KvError(.failedPrecondition, "group \(gid) sent \(contentHash), and froze \(sum)")
        }
        guard sum.count != 0 else { return nil }
        return KvError(.failedPrecondition, "group \(gid) sent nothing, and froze \(sum)")
    }

    /// What is wrong with what was loaded. Read back: what is here is what will be served.
    public func refusal(ofLoaded found: ShardHashes) -> KvError? {
        guard found != order.hashes, plant != .skipsHashes else { return nil }
        return KvError(
            .failedPrecondition, "shard \(shard.shard) reads as \(found.user), not \(order.hashes.user)")
    }
}
