/// Which library keeps an engine's bytes.
public enum EngineKind: String, CaseIterable, Sendable, Codable, CustomStringConvertible {
    case rocksdb
    case lmdb
    case sqlite
    /// A sorted map in memory, with an exact model of what a crash loses. For tests and simulation.
    case memory

    public var description: String { rawValue }

    /// The engines that keep data on a disk.
    public static let durable: [EngineKind] = [.rocksdb, .lmdb, .sqlite]
}

/// When a write batch is safe from a crash.
public enum Durability: Sendable {
    /// Atomic, ordered and visible at once; after a process or system crash a prefix of the
    /// buffered batches survives, and with it every synced batch before its end.
    case buffered
    /// Operations that may lag (`WriteBatch.mayLag`) are as in a buffered batch; all others are on disk before `write`
    /// returns, and no crash takes them back whatever else it takes. A snapshot may see these a moment before those.
    case logged
    /// On disk (fsync) before `write` returns, together with every buffered batch before it.
    case synced
}

/// The physical identity of a column family: ours, never the engine's, and never reused within a directory.
public struct FamilyID: RawRepresentable, Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public static func < (left: FamilyID, right: FamilyID) -> Bool { left.rawValue < right.rawValue }

    public var description: String { "family \(rawValue)" }
}

/// What an engine can do beyond the floor that all share. Ask this, never which engine it is.
public struct EngineCapabilities: Sendable, Equatable {
    /// Names of the forms in which it exports and ingests a family, best first. `ChunkFormat.portable`, which every
    /// engine knows, is among them.
    public var formats: [String]
    /// Free bytes below which the engine's own work (flushes, compactions, checkpoints of its log) may find no room.
    public var headroomBytes: UInt64

    public init(formats: [String], headroomBytes: UInt64 = 0) {
        self.formats = formats
        self.headroomBytes = headroomBytes
    }

    /// The best form that both ends know: the sender's first choice that the receiver takes.
    public func format(for receiver: [String]) -> String {
        formats.first(where: receiver.contains) ?? ChunkFormat.portable
    }
}

/// Approximate answers about one family.
public struct FamilyStatistics: Sendable, Equatable {
    public var keys: UInt64
    public var bytes: UInt64

    public init(keys: UInt64, bytes: UInt64) {
        self.keys = keys
        self.bytes = bytes
    }
}

/// Answers about a whole engine.
public struct EngineStatistics: Sendable, Equatable {
    /// Bytes that the directory occupies on disk.
    public var storageBytes: UInt64
    /// Bytes within the files that new rows can take without the files' growing.
    public var reusableBytes: UInt64
    /// The engine is holding writers back (compaction or checkpoint debt).
    public var isStalled: Bool

    public init(storageBytes: UInt64, reusableBytes: UInt64 = 0, isStalled: Bool) {
        self.storageBytes = storageBytes
        self.reusableBytes = reusableBytes
        self.isStalled = isStalled
    }
}

/// Limits shared by every engine, so that replicas on different engines accept the same data.
public enum EngineLimits {
    /// LMDB's hard limit is 511 bytes; everyone keeps it.
    public static let keyBytesMax = 511
    /// Enough for a value of 8 MiB, its record header, and a log entry that carries it.
    public static let valueBytesMax = 64 << 20
}
