public import Engines
public import Keyspace
public import RaftLog

/// What a group's leader remembers as the source of moves. Each request is a `SourceCall` of its own.
public struct SourceDesk: Sendable {
    /// The fingerprints of a shard as it was when its changes began to be noted, under the epoch of the move. What has
    /// changed since is in its record, so a scan of any later moment gives them, and one is enough.
    private var hashes: [ShardID: (epoch: UInt64, hashes: ShardHashes)] = [:]
    /// What may still be written of a shard whose writers are faster than its copy, and until when that holds: a target that
    /// falls silent slows nobody.
    private var allowances: [ShardID: (bytes: Int, until: Milliseconds)] = [:]

    private static let allowanceLasts: Milliseconds = 2_000

    public init() {}

    /// Whether a write of so many bytes is taken now. Those that aren't hear "busy".
    public mutating func admits(_ bytes: Int, to shard: ShardID, now: Milliseconds) -> Bool {
        guard let allowance = allowances[shard] else { return true }
        guard now < allowance.until else {
            allowances[shard] = nil
            return true
        }
        // One that is larger than the allowance must not wait for ever.
        guard allowance.bytes > 0 else { return false }
        allowances[shard]?.bytes -= bytes
        return true
    }

    /// A member of the target is at it: what was allowed holds on.
    public mutating func renew(_ shard: ShardID, now: Milliseconds) {
        guard let allowance = allowances[shard], now < allowance.until else { return }
        allowances[shard]?.until = now + Self.allowanceLasts
    }

    /// Somebody's writes are slowed, or were lately.
    public var slowsAny: Bool { !allowances.isEmpty }

    /// - Parameter bytes: `nil`: as many as come.
    fileprivate mutating func allow(_ bytes: UInt64?, to shard: ShardID, now: Milliseconds) {
        allowances[shard] = bytes.map { (Int(clamping: $0), now + Self.allowanceLasts) }
    }

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
        allowances[shard.shard] = nil
    }
}

/// How a target's leader has a source go on while it copies.
public struct CopyPace: Sendable, Equatable {
    /// The source's leader is to know the shard's fingerprints: it is to be frozen soon, and no scan is to fall into that time.
    public var needsHashes: Bool
    /// Bytes that writers may change until the next such question; `nil`: as many as they will.
    public var bytesAllowed: UInt64?

    public init(needsHashes: Bool = false, bytesAllowed: UInt64? = nil) {
        self.needsHashes = needsHashes
        self.bytesAllowed = bytesAllowed
    }
}

/// What a source says of a shard that is being copied.
public struct PreparedShard: Sendable, Equatable {
    /// What its leader has applied.
    public var through: LogIndex
    /// Bytes that were changed since the copy began.
    public var bytes: UInt64
    /// An earlier try has frozen it: nobody is served.
    public var isFrozen: Bool

    public init(through: LogIndex, bytes: UInt64, isFrozen: Bool = false) {
        self.through = through
        self.bytes = bytes
        self.isFrozen = isFrozen
    }
}

/// What the leader of a target asks of its source.
public enum SourceQuestion: Sendable, Equatable {
    /// The group begins to copy the shard, or goes on: note what changes. Answered by `prepared`.
    case prepare(ShardEpoch, for: GroupID, CopyPace)
    /// Take no more writes of the shard: it goes to the group. Answered by `frozen`.
    case freeze(ShardEpoch, for: GroupID)
    /// The target has decided. After an activation the copy here goes, if it is what the target has. Answered by `done`.
    case collect(ShardEpoch, ShardDecision)
}

/// One request to a source, which may come late or twice. Every step is a log entry of its own group.
///
///     prepare  ─> propose ─> look (or scan, if its hashes are to be known and aren't) ─> prepared
///     freeze   ─> propose ─> look (or scan) ─> frozen
///     collect  ─> look ─> scan ─> propose ─> done          rejected ─> propose ─> done
public struct SourceCall: Sendable {
    public enum Step: Sendable, Equatable {
        /// Answer with `stepped` or `outOfStep`.
        case propose(GroupCommand)
        /// The shard as it is on the disk, in one view: `looked`.
        case look(ShardID)
        /// The same, with its hashes by a scan, if it is on the move under this epoch.
        case scan(ShardEpoch)
        case prepared(PreparedShard)
        case frozen(FrozenShard)
        case done
        /// - Parameter alarm: what people must hear of.
        case refused(KvError, alarm: String?)
    }

    /// A shard in one view of the disk.
    public struct Sight: Sendable, Equatable {
        public var record: ShardRecord?
        public var time: Milliseconds
        public var applied: LogIndex
        /// Of all its rows.
        public var hashes: ShardHashes?

        public init(record: ShardRecord?, time: Milliseconds, applied: LogIndex, hashes: ShardHashes? = nil) {
            self.record = record
            self.time = time
            self.applied = applied
            self.hashes = hashes
        }

        /// - Parameter epoch: the shard's hashes are wanted, if it is on the move under this epoch.
        public init(_ shard: ShardID, scannedUnder epoch: UInt64? = nil, in reader: GroupReader) throws(EngineError) {
            record = try reader.record(shard)
            time = try reader.time(of: shard)
            applied = try reader.applied().position.index
            if let epoch, record?.isMoving(under: epoch) == true { hashes = try reader.hashes(shard) }
        }

        /// As the shard was when its changes began to be noted.
        fileprivate func hashesBefore(_ epoch: UInt64) -> ShardHashes? {
            guard var before = hashes, let record, record.isMoving(under: epoch) else { return nil }
            before.remove(record.changed(under: epoch))
            return before
        }
    }

    public enum Finding: Sendable, Equatable {
        case stepped
        case outOfStep(String)
        case looked(Sight)
    }

    private enum Phase {
        case preparing(CopyPace), sizing(CopyPace)
        case freezing, timing
        case looking(ShardHashes), comparing(ShardHashes), removing, thawing
    }

    private let shard: ShardEpoch
    private var phase: Phase
    private let first: Step
    /// A known defect that is put back, for the simulator to find.
    package var plant: MovePlant?

    public init(_ question: SourceQuestion) {
        switch question {
        case .prepare(let shard, let target, let pace):
            self.shard = shard
            (phase, first) = (.preparing(pace), .propose(.prepare(shard, to: target)))
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

    public mutating func heard(_ finding: Finding, _ desk: inout SourceDesk, now: Milliseconds) -> Step {
        switch (phase, finding) {
        case (_, .outOfStep(let why)): return .refused(KvError(.failedPrecondition, why), alarm: nil)
        case (.preparing(let pace), .stepped):
            desk.allow(pace.bytesAllowed, to: shard.shard, now: now)
            phase = .sizing(pace)
            return pace.needsHashes && desk.hashes(shard) == nil ? .scan(shard) : .look(shard.shard)
        case (.sizing, .looked(let sight)):
            guard let record = sight.record, record.isMoving(under: shard.epoch) else { return notMoving }
            if let before = sight.hashesBefore(shard.epoch) {
                desk.keep(before, of: shard)
                // A scan takes its time, in which more was written.
                return .look(shard.shard)
            }
            return .prepared(
                PreparedShard(
                    through: sight.applied, bytes: record.tracking?.bytes ?? 0, isFrozen: record.state != .serving))
        case (.freezing, .stepped):
            phase = .timing
            return desk.hashes(shard) == nil ? .scan(shard) : .look(shard.shard)
        case (.timing, .looked(let sight)):
            guard let record = sight.record, case .frozen(_, shard.epoch) = record.state else { return notFrozen }
            if let before = sight.hashesBefore(shard.epoch) { desk.keep(before, of: shard) }
            guard var hashes = desk.hashes(shard) else { return .scan(shard) }
            hashes.add(record.changed(under: shard.epoch))
            return .frozen(FrozenShard(hashes: hashes, logTime: sight.time))
        case (.looking(let theirs), .looked(let sight)):
            if let record = sight.record, record.state == .gone, record.epoch >= shard.epoch {
                desk.forget(shard)
                return .done
            }
            // By a scan of what is on the disk now: once this copy is gone, nothing can tell any more.
            phase = .comparing(theirs)
            return .scan(shard)
        case (.comparing(let theirs), .looked(let sight)):
            guard let own = sight.hashes, case .frozen(_, shard.epoch)? = sight.record?.state else { return notFrozen }
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

    private var notMoving: Step {
        .refused(
            KvError(.failedPrecondition, "shard \(shard.shard) is not on the move under epoch \(shard.epoch)"),
            alarm: nil)
    }
}
