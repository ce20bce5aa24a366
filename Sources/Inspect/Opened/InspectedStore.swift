public import Engines
internal import Foundation
public import Keyspace
internal import RaftLog

/// A snapshot, a backup, or the directory of a stopped node or a copy of it, opened for reading.
///
/// Nothing under the path changes: no file is made, written or removed. A directory stays locked against servers until
/// the store is released. One thread at a time.
public final class InspectedStore {
    public enum Kind: String, Codable, Sendable {
        /// One group, as an archive.
        case snapshot
        /// A whole cluster, as an archive.
        case backup
        /// A node's directory, or a copy of one.
        case directory
    }

    public let path: String
    public let kind: Kind
    /// Ordered by gid; the controller comes first.
    public let groups: [InspectedGroup]
    /// Of a directory, if it has the file `FLOTILLA`.
    public let identity: DirectoryIdentity?
    /// Of an archive.
    public let archive: Archive?
    /// Of a directory.
    public let engineKind: EngineKind?

    private let lock: NodeDirectory.ReadingLock?
    let engine: (any StorageEngine)?
    private let snapshot: (any ReadSnapshot)?

    /// An archive's bytes are all covered by checksums that its seal covers; a directory's aren't.
    public var isSealed: Bool { archive != nil }

    /// Opens whatever lies at a path, with the engine that it is of.
    ///
    /// Throws `locked` beside a running server, `mismatch` with a sentence for what is none of the three, and
    /// `corruption` for what can't be read.
    public init(_ path: String, _ progress: ReadProgress = ReadProgress()) throws(EngineError) {
        let place = try StorePlace(path)
        self.path = place.path
        switch place.kind {
        case .archive:
            progress.enter("the manifest of \(place.path)")
            let archive = try Archive(place.path)
            self.archive = archive
            kind = archive.manifest.kind == .backup ? .backup : .snapshot
            (identity, engineKind, lock, engine, snapshot) = (nil, nil, nil, nil, nil)
            var groups: [InspectedGroup] = []
            for group in archive.manifest.groups {
                progress.enter("the header of \(group.title)")
                let view = try archive.view(of: group)
                groups.append(
                    InspectedGroup(
                        role: group.role, layout: view.layout, view: view, hasLog: false, nodeId: group.nodeId,
                        engine: group.engine))
            }
            self.groups = groups
        case .directory(let found):
            kind = .directory
            archive = nil
            progress.enter("the identity of \(place.path)")
            lock = try NodeDirectory.lockForReading(place.path)
            let identity = try NodeDirectory.identity(at: place.path)
            self.identity = identity
            guard let kind = identity?.engine ?? found else {
                throw .corruption(place: "\(place.path): engine/ holds no engine's files; restore it from a copy")
            }
            engineKind = kind
            progress.enter("the engine's files, to open them")
            let engine = try kind.open("\(place.path)/engine", readOnly: true)
            self.engine = engine
            let view = try engine.snapshot()
            snapshot = view
            progress.enter("family 1 (the table of groups)")
            groups = try FamilyTable.layouts(in: view).map { layout in
                InspectedGroup(
                    role: layout.gid == 0 ? "controller" : "group", layout: layout, view: view, hasLog: true,
                    nodeId: identity?.nodeId, engine: kind)
            }
        }
    }

    deinit {
        snapshot?.close()
        try? engine?.close()
    }

    /// The view over all families of a directory.
    var engineSnapshot: (any ReadSnapshot)? { snapshot }

    /// Cluster id in 32 hexadecimal digits; `nil` if the store doesn't know its cluster.
    public func clusterId() throws(EngineError) -> String? {
        if let archive { return archive.manifest.clusterId }
        if let known = identity?.clusterId { return known }
        for group in groups {
            if let id = try group.foundedCluster() { return id }
        }
        return nil
    }

    /// About how many bytes there are to read, for a progress bar.
    public var bytesEstimate: UInt64 {
        if let archive {
            return archive.manifest.groups.flatMap(\.families).reduce(0) { $0 + $1.manifest.bytes }
        }
        guard let engine else { return 0 }
        return (try? engine.families())?.reduce(0) { sum, family in
            sum + ((try? engine.statistics(of: family).bytes) ?? 0)
        } ?? 0
    }

    /// The groups that an option chose; all without one.
    public func groups(_ gid: GroupID?) throws(EngineError) -> [InspectedGroup] {
        guard let gid else { return groups }
        let chosen = groups.filter { $0.gid == gid }
        guard !chosen.isEmpty else {
            let present = groups.map { "\($0.gid)" }.joined(separator: ", ")
            throw .mismatch(
                "\(path) holds no group \(gid); "
                    + (present.isEmpty ? "it holds none" : "choose one that it holds: \(present)"))
        }
        return chosen
    }
}

/// What lies at a path, told without opening anything.
struct StorePlace {
    enum Kind {
        case archive
        /// The engine whose files are there, if the directory's own record doesn't say.
        case directory(EngineKind?)
    }

    private(set) var path: String
    private(set) var kind: Kind

    init(_ given: String) throws(EngineError) {
        var path = given
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw errno == ENOENT || errno == ENOTDIR
                ? .mismatch("\(path) does not exist; name a snapshot, a backup or a node's directory")
                : .io(place: "reading \(path)", errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw .mismatch("\(path) is a file; name the directory of a snapshot, a backup or a node")
        }
        guard let names = directoryEntries(path) else { throw .io(place: "listing \(path)", errno: errno) }
        // Within a node's directory: its lock lies one above.
        if !names.contains("FLOTILLA"), EngineKind.found(in: path) != nil {
            path = Self.parent(of: path)
            guard fileExists("\(path)/engine") else {
                throw .mismatch("\(given) holds an engine's files alone; put them into a directory as engine/")
            }
            self = try StorePlace(path)
            return
        }
        self.path = path
        if names.contains(Archive.manifestName) {
            kind = .archive
        } else if names.contains(Archive.sealName) {
            throw .corruption(place: "\(path) holds a \(Archive.sealName) but no \(Archive.manifestName)")
        } else if names.contains("FLOTILLA") || EngineKind.found(in: "\(path)/engine") != nil {
            kind = .directory(EngineKind.found(in: "\(path)/engine"))
        } else if names.contains(where: { Self.isGroup($0) && fileExists("\(path)/\($0)/0") }) {
            throw .corruption(place: "\(path) is a snapshot or backup that was never finished; make it again")
        } else if names.contains(UnfinishedOutput.name) {
            throw .corruption(place: "\(path) holds what was never finished; make it again")
        } else {
            throw .mismatch(
                "\(path) is neither a snapshot or backup (no \(Archive.manifestName)) nor a node's directory "
                    + "(no FLOTILLA)")
        }
    }

    /// The name of a group's directory in an archive?
    private static func isGroup(_ name: String) -> Bool {
        name == "controller" || (name.hasPrefix("group-") && UInt64(name.dropFirst(6)) != nil)
    }

    private static func parent(of path: String) -> String {
        let url = URL(fileURLWithPath: path).deletingLastPathComponent()
        return url.path.isEmpty ? "/" : url.path
    }
}
