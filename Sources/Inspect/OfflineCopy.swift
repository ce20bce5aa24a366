public import Engines

/// Copies of a stopped node's directory.
public enum OfflineCopy {
    /// How far a copy is.
    public struct Progress: Sendable {
        public var families = 0
        public var familiesTotal = 0
        public var keys: UInt64 = 0
        public var bytes: UInt64 = 0
    }

    /// Copies the directory in its engine's own form, for inspection or backup. No server runs on the copy.
    public static func checkpoint(from path: String, to copy: String) throws(EngineError) -> DirectoryIdentity {
        let source = try NodeDirectory.openStopped(path)
        return try make(copy) { (path) throws(EngineError) in
            let target = try NodeDirectory.makeCopy(path, of: source.identity, engine: source.identity.engine)
            // Writing, although nothing is written: RocksDB makes checkpoints only of what it has open for writing.
            let engine = try source.openEngine()
            try engine.checkpoint(to: target.enginePath)
            try engine.close()
            try target.seal()
            return target.identity
        }
    }

    /// Makes a node's directory beside its place and puts it there.
    private static func make<Result>(
        _ destination: String, _ fill: (_ path: String) throws(EngineError) -> Result
    ) throws(EngineError) -> Result {
        let output = try UnfinishedOutput(destination)
        do throws(EngineError) {
            let result = try fill(output.path)
            try InspectFiles.syncTree(output.path)
            try output.publish(last: NodeDirectory.identityName)
            return result
        } catch {
            output.discard()
            throw error
        }
    }

    /// Makes a directory with the same contents on another engine. If `path` was a node's own directory, the new one
    /// is the node from then on, and no server starts on `path` any more.
    ///
    /// Family by family as portable chunks, each read back from the new engine and compared by its content hash.
    public static func convert(
        from path: String, to other: String, engine kind: EngineKind, progress: (Progress) -> Void = { _ in }
    ) throws(EngineError) -> (identity: DirectoryIdentity, copied: Progress) {
        let source = try NodeDirectory.openStopped(path)
        if let place = source.identity.movedTo {
            // The crash that left it so came between two renames: the new directory is complete.
            guard let moved = try NodeDirectory.identity(at: place), moved.isCopy == true, moved.engine == kind else {
                throw .mismatch("the node of \(path) lives in \(place) now; convert that")
            }
            let target = try NodeDirectory.openStopped(place)
            try target.adopt(from: source)
            return (target.identity, Progress())
        }
        guard kind != source.identity.engine else {
            throw .mismatch("\(path) is on \(kind) already; choose another engine")
        }
        guard kind != .memory else { throw .mismatch("an engine in memory keeps no directory; choose another engine") }
        let copied = try make(other) { (path) throws(EngineError) in
            let target = try NodeDirectory.makeCopy(path, of: source.identity, engine: kind)
            let copied = try copy(source, target, progress)
            try target.seal()
            return copied
        }
        // From here on nothing is thrown away: repeating the command finishes what is left to do.
        let target = try NodeDirectory.openStopped(other)
        if source.identity.isCopy != true { try target.adopt(from: source) }
        return (target.identity, copied)
    }

    private static func copy(
        _ source: NodeDirectory, _ target: NodeDirectory, _ progress: (Progress) -> Void
    ) throws(EngineError) -> Progress {
        let from = try source.identity.engine.open(source.enginePath, readOnly: true)
        let to = try target.makeEngine()
        let view = try from.snapshot()
        defer { view.close() }
        let families = try from.families()
        var copied = Progress(familiesTotal: families.count)
        for family in families {
            let staging = try target.staging.make("family")
            let manifest = try from.export(family, from: view, format: ChunkFormat.portable, to: staging)
            try to.createFamily(family)
            try to.ingest(manifest, from: staging, into: family)
            target.staging.remove(staging)
            let check = try to.snapshot()
            defer { check.close() }
            let hash = try check.contentHash(of: family)
            guard hash.description == manifest.contentHash else {
                throw .corruption(
                    place: "\(target.enginePath): \(family) reads as \(hash), but \(manifest.contentHash) was written")
            }
            copied.families += 1
            copied.keys += manifest.keys
            copied.bytes += manifest.bytes
            progress(copied)
        }
        view.close()
        try to.close()
        try from.close()
        return copied
    }
}
