internal import RaftLog

/// When a copy is as good as complete, and how far writers are slowed at most.
public struct CopyLimits: Sendable, Equatable {
    /// With so many bytes to follow a shard is frozen.
    public var bytesLeftMax: UInt64
    /// Writers are never slowed further than to this in a round.
    public var bytesAllowedMin: UInt64

    public init(bytesLeftMax: UInt64 = 256 << 10, bytesAllowedMin: UInt64 = 128 << 10) {
        self.bytesLeftMax = bytesLeftMax
        self.bytesAllowedMin = bytesAllowedMin
    }
}

/// How far the copy of a shard is that is served meanwhile: when is another round worth it, how much may be written until
/// then, and when is so little left that the shard is frozen for it?
///
/// Each round brings over what was changed during the one before, and in it the source takes no more changes than half of
/// that. Nobody notices as long as changes come at less than half the rate at which they are carried over; and since rounds
/// get shorter by half, all of them together take no longer than the first one twice.
struct CopyProgress: Sendable {
    private let limits: CopyLimits
    private(set) var rounds = 0
    /// What the source had applied when the last round began.
    private(set) var through: LogIndex = 0
    /// Bytes that the source had changed when the last round began.
    private var bytes: UInt64 = 0
    private var bytesAllowed: UInt64?

    init(_ limits: CopyLimits) { self.limits = limits }

    /// What the source is asked before the next round.
    var pace: CopyPace { CopyPace(needsHashes: rounds > 0, bytesAllowed: bytesAllowed) }

    /// What was changed since the last round began.
    func left(for prepared: PreparedShard) -> UInt64 { prepared.bytes - min(bytes, prepared.bytes) }

    func isEnough(for prepared: PreparedShard) -> Bool {
        guard rounds > 0 else { return false }
        // A single large value may be more than what is allowed.
        return left(for: prepared) <= limits.bytesLeftMax || bytesAllowed == limits.bytesAllowedMin
    }

    /// The next round brings over what the source has now.
    mutating func begin(_ prepared: PreparedShard) {
        if rounds > 0 {
            let left = left(for: prepared)
            bytesAllowed = max(limits.bytesAllowedMin, min(bytesAllowed ?? left, left) / 2)
        }
        through = prepared.through
        bytes = prepared.bytes
        rounds += 1
    }
}
