internal import Engines

/// A node's disk, with the engine that is on it. The one in memory knows what was synced, and loses the rest when power
/// fails; a real one keeps all that was written, as a machine does whose processes are killed.
final class SimulatedDisk {
    private struct Place {
        var kind: EngineKind
        var path: String
    }

    private let memory: MemoryEngine?
    private let place: Place?
    /// Open as long as a process is there.
    private(set) var engine: any StorageEngine

    /// In memory.
    init() {
        let engine = MemoryEngine()
        memory = engine
        place = nil
        self.engine = engine
    }

    /// - Parameter path: a directory that isn't there yet.
    init(_ kind: EngineKind, at path: String) throws(EngineError) {
        try makeDirectories(path)
        memory = nil
        place = Place(kind: kind, path: path)
        engine = try kind.open(path)
    }

    /// What a power cut would leave; of a real engine, what was written.
    func durable() throws(EngineError) -> any ReadSnapshot {
        if let memory { return memory.durableSnapshot() }
        return try engine.snapshot()
    }

    /// Batches that a power cut would take away.
    var unsynced: Int { memory?.unsyncedCount ?? 0 }

    /// Power fails: of what was not synced, so many batches survive.
    func lose(keepingUnsynced kept: Int) { memory?.crash(keepingUnsynced: kept) }

    /// A process opens what is there. Whatever an engine shows after that is durable.
    func open() throws(EngineError) {
        if let place {
            try engine.close()
            engine = try place.kind.open(place.path)
        }
        try engine.sync()
    }

    /// Nobody needs it any more.
    func remove() {
        guard let place else { return }
        do throws(EngineError) { try engine.close() } catch {
            // It goes with its directory.
        }
        removeTree(place.path, itself: true)
    }
}
