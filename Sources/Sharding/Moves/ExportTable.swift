internal import Bytes
public import Keyspace
public import RaftLog

/// Which exports a node has, who shares them, and when they go.
///
///     (open) ─> making ─┬─> open ─┬─> closed by the last of its holders
///                       │         └─> idle for too long
///                       └─> failed
///
/// An export is files on a disk, so their number is bounded; one that is the same for all is made once. Its number comes
/// from the caller, who draws it: whoever knows it may read.
public struct ExportTable: Sendable {
    /// Exports that are open or being made.
    public static let openMax = 8
    /// One that nobody has read for so long goes.
    public static let idleMax: Milliseconds = 60_000

    /// What several receivers may ask for, and get one export of.
    public struct Subject: Sendable, Hashable {
        public var shard: ShardEpoch
        public var formats: [String]

        public init(shard: ShardEpoch, formats: [String]) {
            self.shard = shard
            self.formats = formats
        }
    }

    public enum Seat: Sendable, Equatable {
        /// The caller makes it, and says `made` or `failed`.
        case make
        /// Somebody else is making it, under this number. The caller is counted as a holder.
        case wait(UInt64)
        /// It is there, under this number. The caller is counted as a holder.
        case ready(UInt64)
        /// There are as many as there may be.
        case full
    }

    private struct Export {
        var subject: Subject?
        var isMade = false
        /// Receivers that have it, or wait for it, and haven't closed it.
        var holders = 1
        /// Streams that read from it.
        var readers = 0
        var usedAt: Milliseconds

        var isIdle: Bool { isMade && readers == 0 }
    }

    private var exports: [UInt64: Export] = [:]

    public init() {}

    /// - Parameter subject: what it is of, if others may have it too.
    public mutating func open(_ subject: Subject?, as number: UInt64, now: Milliseconds) -> Seat {
        if let subject, let (shared, export) = exports.first(where: { $0.value.subject == subject }) {
            // Counted now: the first one may have closed it before this one hears that it is there.
            exports[shared]?.holders += 1
            exports[shared]?.usedAt = now
            return export.isMade ? .ready(shared) : .wait(shared)
        }
        guard exports.count < Self.openMax, exports[number] == nil else { return .full }
        exports[number] = Export(subject: subject, usedAt: now)
        return .make
    }

    public mutating func made(_ number: UInt64, now: Milliseconds) {
        invariant(exports[number]?.isMade == false, "export \(number) is made twice, or by nobody")
        exports[number]?.isMade = true
        exports[number]?.usedAt = now
    }

    public mutating func failed(_ number: UInt64) { exports[number] = nil }

    /// Whether it is there, or is being made: then another receiver costs no room.
    public func has(_ subject: Subject) -> Bool { exports.values.contains { $0.subject == subject } }

    /// Whether it may be read. If so `endRead` must follow.
    public mutating func beginRead(_ number: UInt64) -> Bool {
        guard exports[number]?.isMade == true else { return false }
        exports[number]?.readers += 1
        return true
    }

    public mutating func endRead(_ number: UInt64, now: Milliseconds) {
        exports[number]?.readers -= 1
        exports[number]?.usedAt = now
    }

    /// One receiver has what it wants. Returns whether it was the last, and the files go.
    public mutating func close(_ number: UInt64) -> Bool {
        guard let export = exports[number], export.isMade else { return false }
        exports[number]?.holders -= 1
        guard export.holders == 1 else { return false }
        exports[number] = nil
        return true
    }

    /// Exports that nobody has read for too long, whose files go.
    public mutating func removeIdle(now: Milliseconds) -> [UInt64] {
        let idle = exports.filter { $0.value.isIdle && now > $0.value.usedAt + Self.idleMax }.keys.sorted()
        for number in idle { exports[number] = nil }
        return idle
    }

    /// When to look again whether it is idle; `nil`: it has gone.
    public func looksIdle(_ number: UInt64, now: Milliseconds) -> Milliseconds? {
        guard let export = exports[number] else { return nil }
        return (export.isIdle ? export.usedAt : now) + Self.idleMax + 1
    }
}
