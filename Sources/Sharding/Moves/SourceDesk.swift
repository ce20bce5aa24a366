public import Keyspace
public import RaftLog

/// What a group's leader remembers as the source of moves. Each request is a `SourceCall` of its own.
public struct SourceDesk: Sendable {
    /// A frozen shard doesn't change, so its fingerprints are computed once. One epoch of a shard is frozen at a time.
    private var hashes: [ShardID: (epoch: UInt64, hashes: ShardHashes)] = [:]

    public init() {}

    func hashes(_ shard: ShardEpoch) -> ShardHashes? {
        guard let kept = hashes[shard.shard], kept.epoch == shard.epoch else { return nil }
        return kept.hashes
    }

    mutating func keep(_ found: ShardHashes, of shard: ShardEpoch) {
        if let kept = hashes[shard.shard], kept.epoch > shard.epoch { return }
        hashes[shard.shard] = (shard.epoch, found)
    }

    mutating func forget(_ shard: ShardEpoch) {
        if hashes[shard.shard]?.epoch == shard.epoch { hashes[shard.shard] = nil }
    }
}

/// What the leader of a target asks of its source.
public enum SourceQuestion: Sendable, Equatable {
    /// Take no more writes of the shard: it goes to the group. Answered by `frozen`.
    case freeze(ShardEpoch, for: GroupID)
    /// The target has decided. After an activation the copy here goes, if it is what the target has. Answered by `done`.
    case collect(ShardEpoch, ShardDecision)
}

/// One request to a source, which may come late or twice. Every step is a log entry of its own group.
///
///     freeze   ─> propose ─> scan (or look, if its hashes are known) ─> frozen
///     collect  ─> look ─> scan ─> propose ─> done          rejected ─> propose ─> done
public struct SourceCall: Sendable {
    public enum Step: Sendable, Equatable {
        /// Answer with `stepped` or `outOfStep`.
        case propose(GroupCommand)
        /// The shard's record and time, of one view: `looked`.
        case look(ShardID)
        /// The hashes of the shard by a scan of what is on the disk, if it is frozen under this epoch, and its time:
        /// `scanned`.
        case scan(ShardEpoch)
        case frozen(FrozenShard)
        case done
        /// - Parameter alarm: what people must hear of.
        case refused(KvError, alarm: String?)
    }

    public enum Finding: Sendable, Equatable {
        case stepped
        case outOfStep(String)
        case looked(ShardRecord?, time: Milliseconds)
        case scanned(ShardHashes?, time: Milliseconds)
    }

    private enum Phase {
        case freezing, timing(ShardHashes), fingerprinting
        case looking(ShardHashes), comparing(ShardHashes), removing, thawing
    }

    private let shard: ShardEpoch
    private var phase: Phase
    private let first: Step
    /// A known defect that is put back, for the simulator to find.
    package var plant: MovePlant?

    public init(_ question: SourceQuestion) {
        switch question {
        case .freeze(let shard, let target):
            self.shard = shard
            (phase, first) = (.freezing, .propose(.freeze(shard, to: target)))
        case .collect(let shard, .activated(let theirs)):
            self.shard = shard
            (phase, first) = (.looking(theirs), .look(shard.shard))
        case .collect(let shard, .rejected):
            self.shard = shard
            (phase, first) = (.thawing, .propose(.unfreeze(shard)))
        }
    }

    public func begin() -> Step { first }

    public mutating func heard(_ finding: Finding, _ desk: inout SourceDesk) -> Step {
        switch (phase, finding) {
        case (_, .outOfStep(let why)): return .refused(KvError(.failedPrecondition, why), alarm: nil)
        case (.freezing, .stepped):
            if let hashes = desk.hashes(shard) {
                phase = .timing(hashes)
                return .look(shard.shard)
            }
            phase = .fingerprinting
            return .scan(shard)
        case (.timing(let hashes), .looked(let record, let time)):
            guard case .frozen(_, shard.epoch)? = record?.state else { return notFrozen }
            return .frozen(FrozenShard(hashes: hashes, logTime: time))
        case (.fingerprinting, .scanned(let found, let time)):
            guard let found else { return notFrozen }
            desk.keep(found, of: shard)
            return .frozen(FrozenShard(hashes: found, logTime: time))
        case (.looking(let theirs), .looked(let record, _)):
            if let record, record.state == .gone, record.epoch >= shard.epoch {
                desk.forget(shard)
                return .done
            }
            // By a scan of what is on the disk now: once this copy is gone, nothing can tell any more.
            phase = .comparing(theirs)
            return .scan(shard)
        case (.comparing(let theirs), .scanned(let found, _)):
            guard let own = found else { return notFrozen }
            guard own == theirs || plant == .collectsUncompared else {
                let sentence =
                    "shard \(shard.shard) has other contents here than at the target; both copies are kept"
                return .refused(
                    KvError(.failedPrecondition, sentence),
                    alarm:
                        "shard \(shard.shard): the target activated \(theirs.user), here is \(own.user); keeping both")
            }
            phase = .removing
            return .propose(.collect(shard))
        case (.removing, .stepped), (.thawing, .stepped):
            desk.forget(shard)
            return .done
        default: return .refused(KvError(.internal, "the answer was of another question"), alarm: nil)
        }
    }

    private var notFrozen: Step {
        .refused(
            KvError(.failedPrecondition, "shard \(shard.shard) is not frozen under epoch \(shard.epoch)"), alarm: nil)
    }
}
