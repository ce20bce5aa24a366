public import Engines
public import Keyspace
internal import RaftLog
internal import Sharding

/// Makes snapshots and backups of stopped nodes.
public enum ArchiveMaker {
    /// Writes the groups of a stopped node's directory, or one of them, as a snapshot: every family in portable chunks,
    /// as one engine snapshot sees them. The directory doesn't change; the log, the vote and staged shards stay behind.
    ///
    /// - Parameters:
    ///   - gid: the group, where the node hosts several; all without it.
    ///   - madeBy: the program and its version.
    ///   - createdAtMs: Unix milliseconds.
    ///
    /// What was written is removed if it can't be finished.
    public static func save(
        from path: String, to out: String, gid: GroupID? = nil, madeBy: String, createdAtMs: UInt64,
        _ progress: ReadProgress = ReadProgress()
    ) throws(EngineError) -> ArchiveManifest {
        let store = try open(path, out, progress)
        let groups = try store.groups(gid)
        guard !groups.isEmpty else { throw .mismatch("\(path) holds no group; its node has never taken part") }
        let manifest = ArchiveManifest(
            kind: .snapshot, clusterId: try store.clusterId() ?? "", createdAtMs: createdAtMs, madeBy: madeBy)
        return try write(manifest, to: out) { (writer) throws(EngineError) in
            for group in groups { try add(group, of: store, to: writer, progress) }
            progress.enter("the files, to make them durable")
        }
    }

    /// Writes a backup of a stopped cluster: of the controller and of each of its groups one node's directory. All must
    /// be of one cluster and of one moment, when no shard is on the move; else nothing is left.
    public static func backUp(
        from paths: [String], to out: String, madeBy: String, createdAtMs: UInt64,
        _ progress: ReadProgress = ReadProgress()
    ) throws(EngineError) -> ArchiveManifest {
        var clusterId: String?
        for path in paths {
            let id = try open(path, out, progress).clusterId()
            guard let id else { throw .mismatch("\(path) is of no cluster yet; its node has never taken part") }
            if let clusterId, clusterId != id {
                throw .mismatch("\(path) is of cluster \(id), and \(paths[0]) of cluster \(clusterId)")
            }
            clusterId = id
        }
        let manifest = ArchiveManifest(
            kind: .backup, clusterId: clusterId ?? "", createdAtMs: createdAtMs, madeBy: madeBy)
        return try write(manifest, to: out) { (writer) throws(EngineError) in
            for path in paths {
                let store = try open(path, out, progress)
                for group in store.groups { try add(group, of: store, to: writer, progress) }
            }
            try writer.checkBackup()
            progress.enter("the files, to make them durable")
        }
    }

    private static func open(
        _ path: String, _ out: String, _ progress: ReadProgress
    ) throws(EngineError) -> InspectedStore {
        let store = try InspectedStore(path, progress)
        guard store.kind == .directory else {
            throw .mismatch("\(path) is a \(store.kind.rawValue) already; name the directory of a stopped node")
        }
        guard !InspectFiles.isInside(out, path) else {
            throw .mismatch("\(out) lies in \(path), which must not change; choose another directory")
        }
        return store
    }

    private static func write(
        _ manifest: ArchiveManifest, to out: String, _ fill: (ArchiveWriter) throws(EngineError) -> Void
    ) throws(EngineError) -> ArchiveManifest {
        let writer = try ArchiveWriter(out, manifest)
        do throws(EngineError) {
            try fill(writer)
            try writer.seal()
        } catch {
            writer.discard()
            throw error
        }
        return writer.manifest
    }

    private static func add(
        _ group: InspectedGroup, of store: InspectedStore, to writer: ArchiveWriter, _ progress: ReadProgress
    ) throws(EngineError) {
        guard let engine = store.engine, let view = store.engineSnapshot else { throw .closed }
        let (header, families) = try SnapshotHeader.read(group.layout, in: view)
        var manifests: [FamilyManifest] = []
        for (number, family) in families.enumerated() {
            progress.enter(group.place(of: family, header.families[number]))
            let directory = try writer.makeFamily(role: group.role, gid: group.gid, number: number)
            let manifest = try engine.export(family, from: view, format: ChunkFormat.portable, to: directory)
            manifests.append(manifest)
            progress.count(Int(clamping: manifest.bytes))
        }
        if group.isController, let map = try ControllerMachine.map(in: header) { writer.set(configNumber: map.number) }
        try writer.add(
            role: group.role, gid: group.gid, nodeId: group.nodeId ?? 0, engine: engine.kind, header: header,
            families: manifests)
    }
}
