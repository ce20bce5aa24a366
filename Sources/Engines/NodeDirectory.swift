internal import Foundation
internal import Synchronization

/// Who a directory belongs to: the file `FLOTILLA`, read before anything else is touched.
public struct DirectoryIdentity: Codable, Sendable, Equatable {
    /// The newest layout of a node directory that this program writes and reads.
    public static let formatNewest = 2
    /// The oldest that it reads. Format 1 had no checks on LMDB's and SQLite's values.
    public static let formatOldest = 2

    public var format: Int
    public var engine: EngineKind
    /// "controller" or "group".
    public var role: String
    public var groupId: UInt64
    public var nodeId: UInt64
    /// 32 hexadecimal digits, drawn when the directory was made.
    public var incarnation: String
    /// 32 hexadecimal digits; absent until the node has joined a cluster.
    public var clusterId: String?
    /// The engine holds, or has held, the rows of a member. If they are gone the directory is as good as wiped, and
    /// must not begin anew under the same incarnation.
    public var hasJoined: Bool?
    /// A copy for inspection or backup. It carries votes that the original may have gone beyond, so no server runs on it.
    public var isCopy: Bool?
    /// Where the node lives now, if not here: its directory was converted to another engine's.
    public var movedTo: String?

    public init(
        engine: EngineKind, role: String, groupId: UInt64, nodeId: UInt64, incarnation: String,
        format: Int = formatNewest
    ) {
        self.format = format
        self.engine = engine
        self.role = role
        self.groupId = groupId
        self.nodeId = nodeId
        self.incarnation = incarnation
    }

    /// Who it is, in words.
    public var summary: String {
        let owner = role == "controller" ? "controller node \(nodeId)" : "node \(nodeId) of group \(groupId)"
        return "\(owner) on \(engine)" + (clusterId.map { ", cluster \($0)" } ?? "")
    }
}

/// A node's directory:
///
///     FLOTILLA   identity, JSON
///     LOCK       held, as the directory itself is, while a process works here
///     engine/    the storage engine's files
///     staging/   snapshots being put together; emptied at every start
///     RESERVE    room for when the disk is full
public final class NodeDirectory: Sendable {
    public let path: String
    private let identityBox: Mutex<DirectoryIdentity>
    private let lock: DirectoryLock

    public var identity: DirectoryIdentity { identityBox.withLock { $0 } }
    public var stagingPath: String { staging.path }
    /// For files on their way.
    public let staging: StagingArea
    public var enginePath: String { "\(path)/engine" }

    private init(path: String, identity: DirectoryIdentity, lock: DirectoryLock) {
        self.path = path
        staging = StagingArea("\(path)/staging")
        identityBox = Mutex(identity)
        self.lock = lock
    }

    /// The file without which a directory is no node's.
    public static let identityName = "FLOTILLA"

    /// Reads a directory's identity without locking it; `nil` if there is none.
    public static func identity(at path: String) throws(EngineError) -> DirectoryIdentity? {
        let file = "\(path)/\(identityName)"
        guard fileExists(file) else { return nil }
        let bytes = try readFile(file, limit: 65_536)
        struct Format: Decodable { var format: Int }
        guard let format = try? JSONDecoder().decode(Format.self, from: Data(bytes)) else {
            throw .corruption(place: "\(file): not an identity in JSON; restore the file from a copy")
        }
        if format.format > DirectoryIdentity.formatNewest {
            throw .mismatch(
                "\(path) has format \(format.format), and this program knows formats up to "
                    + "\(DirectoryIdentity.formatNewest); use the newer program that made it")
        }
        if format.format < DirectoryIdentity.formatOldest {
            throw .mismatch(
                "\(path) has format \(format.format), and this program knows formats from "
                    + "\(DirectoryIdentity.formatOldest) on; replace the member with a new directory")
        }
        guard let identity = try? JSONDecoder().decode(DirectoryIdentity.self, from: Data(bytes)) else {
            throw .corruption(place: "\(file): not an identity in JSON; restore the file from a copy")
        }
        return identity
    }

    /// Opens the directory of a node, or makes it if it is absent or empty. A directory that belongs to
    /// something else is refused before a byte of it changes.
    ///
    /// - Parameter incarnation: 32 hexadecimal digits for a new directory.
    public static func open(
        _ path: String, engine: EngineKind, role: String, groupId: UInt64, nodeId: UInt64, incarnation: String
    ) throws(EngineError) -> NodeDirectory {
        var present = try identity(at: path)
        if let present {
            let wanted = DirectoryIdentity(
                engine: engine, role: role, groupId: groupId, nodeId: nodeId, incarnation: present.incarnation)
            if (present.engine, present.role, present.groupId, present.nodeId) != (engine, role, groupId, nodeId) {
                throw .mismatch(
                    "\(path) holds \(present.summary), not \(wanted.summary); start it with the options that "
                        + "made it, or choose another directory")
            }
            if let place = present.movedTo {
                throw .mismatch("the node of \(path) lives in \(place) now; start it there")
            }
            if present.isCopy == true || fileExists("\(path)/engine/\(copyMark)") {
                throw .mismatch(
                    "\(path) is a copy of \(present.summary), which may have voted and written since; start the "
                        + "original, or replace the member with a new directory")
            }
            guard fileExists("\(path)/engine") else {
                throw .corruption(
                    place: "\(path): engine/ is missing; restore the directory from a backup, or remove "
                        + "it and replace the member")
            }
        } else {
            if let entries = directoryEntries(path) {
                // What an interrupted first start leaves may be made again.
                let foreign = entries.filter { !["LOCK", "engine", "staging", "FLOTILLA.new", "RESERVE"].contains($0) }
                if let first = foreign.first {
                    throw .mismatch(
                        "\(path) is not empty and not a node directory (it holds \(first)); choose another directory")
                }
                if let used = directoryEntries("\(path)/engine"), !used.isEmpty {
                    throw .mismatch(
                        "\(path) holds engine files but no FLOTILLA file; restore that file, or choose another directory"
                    )
                }
            }
        }
        // Its name is durable before anything is promised in it.
        try makeDirectories(path)
        let lock = try DirectoryLock.working(in: path)
        // Somebody else may have made it while we waited for nothing.
        present = try identity(at: path)
        let identity: DirectoryIdentity
        try makeDirectories("\(path)/engine")
        if let present {
            identity = present
        } else {
            identity = DirectoryIdentity(
                engine: engine, role: role, groupId: groupId, nodeId: nodeId, incarnation: incarnation)
            try store(identity, path)
        }
        removeTree("\(path)/staging", itself: false)
        try makeDirectories("\(path)/staging", isPassing: true)
        return NodeDirectory(path: path, identity: identity, lock: lock)
    }

    /// Opens the engine that the identity names. Some need room to open; on a full disk the reserve is given up.
    public func openEngine() throws(EngineError) -> any StorageEngine {
        do throws(EngineError) { return try identity.engine.open(enginePath) } catch {
            guard case .noSpace = error, hasReserve else { throw error }
            releaseReserve()
            return try identity.engine.open(enginePath)
        }
    }

    /// Notes the cluster once and for all.
    public func record(clusterId: String) throws(EngineError) {
        var next = identity
        if let known = next.clusterId {
            guard known == clusterId else {
                throw .mismatch(
                    "\(path) belongs to cluster \(known), and the controllers answer for cluster \(clusterId); "
                        + "name the right controllers, or choose another directory")
            }
            return
        }
        next.clusterId = clusterId
        try Self.store(next, path)
        identityBox.withLock { $0 = next }
    }

    /// Notes, before the node first takes part, that its engine holds a member's rows.
    public func recordJoined() throws(EngineError) {
        var next = identity
        if next.hasJoined == true { return }
        next.hasJoined = true
        try Self.store(next, path)
        identityBox.withLock { $0 = next }
    }

    // MARK: - Room

    /// Room that is given up when the disk is full, so that something can be deleted.
    public static let reserveBytes: UInt64 = 16 << 20
    private var reservePath: String { "\(path)/RESERVE" }

    /// Bytes that this process may still use on the directory's disk; `nil` if the system doesn't say.
    public var freeBytes: UInt64? { diskFreeBytes(path) }

    public var fileSystem: FileSystemSpace? { fileSystemSpace(path) }

    public var hasReserve: Bool { fileBytes(reservePath) == Self.reserveBytes }

    /// Sets the reserve aside, if that leaves room for work. It is no loss if it can't be had.
    public func makeReserve() {
        guard !hasReserve, let free = freeBytes, free >= 3 * Self.reserveBytes else { return }
        let descriptor = Glibc.open(reservePath, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        let isMade = posix_fallocate(descriptor, 0, off_t(Self.reserveBytes)) == 0
        Glibc.close(descriptor)
        if !isMade { releaseReserve() }
    }

    public func releaseReserve() { unlink(reservePath) }

    private static func store(_ identity: DirectoryIdentity, _ path: String) throws(EngineError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        guard let data = try? encoder.encode(identity) else { throw .unsupported("identity") }
        try writeFile("\(path)/FLOTILLA.new", Array(data) + [10], sync: true)
        guard rename("\(path)/FLOTILLA.new", "\(path)/FLOTILLA") == 0 else { throw ioError("naming \(path)/FLOTILLA") }
        try syncDirectory(path)
    }

    // MARK: - Offline

    /// In an engine's directory: it is a copy.
    static let copyMark = "COPY"

    /// Locks a stopped node's directory, of whatever engine and role, and changes nothing else in it. For tools.
    public static func openStopped(_ path: String) throws(EngineError) -> NodeDirectory {
        guard try identity(at: path) != nil else {
            throw .mismatch("\(path) is not a node directory: it holds no file FLOTILLA")
        }
        guard fileExists("\(path)/engine") else { throw .corruption(place: "\(path): engine/ is missing") }
        let lock = try DirectoryLock.working(in: path)
        guard let present = try identity(at: path) else { throw .corruption(place: "\(path)/FLOTILLA has gone") }
        return NodeDirectory(path: path, identity: present, lock: lock)
    }

    /// Keeps servers off a stopped node's directory while it is read. Nothing in it changes, so it may lie on a disk
    /// that can't be written to; several may read at once. The lock goes when the holder is released.
    public static func lockForReading(_ path: String) throws(EngineError) -> ReadingLock {
        ReadingLock(try DirectoryLock.reading(path))
    }

    /// Holds off servers until it is released.
    public final class ReadingLock: Sendable {
        private let lock: DirectoryLock

        init(_ lock: DirectoryLock) { self.lock = lock }
    }

    /// A new directory, to be filled offline: a copy until `adopt` is called. It must not exist, or be empty.
    public static func makeCopy(
        _ path: String, of original: DirectoryIdentity, engine: EngineKind
    ) throws(EngineError) -> NodeDirectory {
        var identity = original
        identity.engine = engine
        identity.isCopy = true
        identity.movedTo = nil
        return try make(path, identity)
    }

    /// A new directory, to be filled offline: a node's own from `seal` on. It must not exist, or be empty.
    public static func make(_ path: String, _ identity: DirectoryIdentity) throws(EngineError) -> NodeDirectory {
        if let entries = directoryEntries(path), let first = entries.first {
            throw .mismatch("\(path) is not empty (it holds \(first)); choose another directory")
        }
        try makeDirectories(path)
        let lock = try DirectoryLock.working(in: path)
        return NodeDirectory(path: path, identity: identity, lock: lock)
    }

    /// The engine of a directory that `make` or `makeCopy` began.
    public func makeEngine() throws(EngineError) -> any StorageEngine {
        try makeDirectories(enginePath)
        return try openEngine()
    }

    /// Writes the identity of a directory that `make` or `makeCopy` began, once its engine is complete.
    public func seal() throws(EngineError) {
        try Self.store(identity, path)
    }

    /// This copy is the node from now on, and `original` no longer is.
    public func adopt(from original: NodeDirectory) throws(EngineError) {
        // In this order there is never a moment in which a server would start on both.
        try original.change { $0.movedTo = path }
        try change { $0.isCopy = nil }
    }

    /// The node has another life from now on: whoever knows the old one isn't heard any more.
    /// - Parameter incarnation: 32 hexadecimal digits.
    public func renew(incarnation: String) throws(EngineError) { try change { $0.incarnation = incarnation } }

    private func change(_ body: (inout DirectoryIdentity) -> Void) throws(EngineError) {
        var next = identity
        body(&next)
        try Self.store(next, path)
        identityBox.withLock { $0 = next }
    }
}

/// Says, durably, that an engine's directory is a copy: it has the votes of its original, and must not run in its place.
func markCopy(_ directory: String) throws(EngineError) {
    let sentence = "A copy, for inspection and backup. No server may run on it as if it were the original.\n"
    try writeFile("\(directory)/\(NodeDirectory.copyMark)", Array(sentence.utf8), sync: true)
    try syncDirectory(directory)
}
