internal import Engines

/// A node's disk, with the engine that is on it. The one in memory knows what was synced, and loses the rest when power
/// fails; a real one keeps all that was written, as a machine does whose processes are killed.
final class SimulatedDisk {
    private struct Place {
        var kind: EngineKind
        var path: String
    }

    private var memory: MemoryEngine?
    private var place: Place?
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

    /// What is on it, for an observer: damage doesn't keep it from reading.
    func observed() throws(EngineError) -> any ReadSnapshot {
        if let memory { return memory.undamagedSnapshot() }
        return try engine.snapshot()
    }

    /// A bit flips in a row, the number of which is drawn from all. Real engines have their own campaigns for that.
    ///
    /// - Returns: Where; `nil`: there is no row.
    func damage(_ draw: (Int) -> Int) throws(EngineError) -> String? { try memory?.damageRow(draw) }

    var isDamaged: Bool { memory.map { $0.damagedCount > 0 } ?? false }

    /// Another disk is put in its place, which is empty.
    func replace() throws(EngineError) {
        guard let place else {
            let empty = MemoryEngine()
            memory = empty
            engine = empty
            return
        }
        try engine.close()
        removeTree(place.path, itself: true)
        try makeDirectories(place.path)
        engine = try place.kind.open(place.path)
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
