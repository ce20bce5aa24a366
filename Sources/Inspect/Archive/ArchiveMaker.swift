public import Engines
internal import RaftLog

/// Makes snapshots of stopped nodes.
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
        from path: String, to out: String, gid: UInt64? = nil, madeBy: String, createdAtMs: UInt64,
        _ progress: ReadProgress = ReadProgress()
    ) throws(EngineError) -> ArchiveManifest {
        let store = try InspectedStore(path, progress)
        guard let engine = store.engine, let view = store.engineSnapshot else {
            throw .mismatch("\(path) is a \(store.kind.rawValue) already; name the directory of a stopped node")
        }
        guard !InspectFiles.isInside(out, path) else {
            throw .mismatch("\(out) lies in \(path), which must not change; choose another directory")
        }
        let groups = try store.groups(gid)
        guard !groups.isEmpty else { throw .mismatch("\(path) holds no group; its node has never taken part") }
        let writer = try ArchiveWriter(
            out,
            ArchiveManifest(
                kind: .snapshot, clusterId: try store.clusterId() ?? "", createdAtMs: createdAtMs, madeBy: madeBy))
        do throws(EngineError) {
            for group in groups { try add(group, engine, view, to: writer, progress) }
            progress.enter("the files, to make them durable")
            try writer.seal()
        } catch {
            writer.discard()
            throw error
        }
        return writer.manifest
    }

    private static func add(
        _ group: InspectedGroup, _ engine: any StorageEngine, _ view: any ReadSnapshot, to writer: ArchiveWriter,
        _ progress: ReadProgress
    ) throws(EngineError) {
        let (header, families) = try SnapshotHeader.read(group.layout, in: view)
        var manifests: [FamilyManifest] = []
        for (number, family) in families.enumerated() {
            progress.enter(group.place(of: family, header.families[number]))
            let directory = try writer.makeFamily(role: group.role, gid: group.gid, number: number)
            let manifest = try engine.export(family, from: view, format: ChunkFormat.portable, to: directory)
            manifests.append(manifest)
            progress.count(Int(clamping: manifest.bytes))
        }
        try writer.add(
            role: group.role, gid: group.gid, nodeId: group.nodeId ?? 0, engine: engine.kind, header: header,
            families: manifests)
    }
}
