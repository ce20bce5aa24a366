internal import Synchronization

/// A storage engine in memory, with an exact model of what a crash loses.
///
/// It keeps the state as of the last sync and every batch since; `crash(keepingUnsynced:)` returns to the former plus a
/// prefix of the latter, and of the others what was logged, which is all that the contract of durability promises.
public final class MemoryEngine: StorageEngine {
    typealias Family = SortedMap<[UInt8]>

    private struct State {
        var families: [FamilyID: Family] = [:]
        /// As of the last sync of everything.
        var synced: [FamilyID: Family] = [:]
        /// `synced` and what has been logged since.
        var durable: [FamilyID: Family] = [:]
        /// Batches since, of which nothing or only the logged operations are durable.
        var unsynced: [(batch: WriteBatch, isLogged: Bool)] = []
        var isClosed = false
        var failure: EngineError?
        var damage = MemoryDamage()
    }

    private let state = Mutex(State())

    public init() {}

    public var kind: EngineKind { .memory }
    public var capabilities: EngineCapabilities { EngineCapabilities(formats: [ChunkFormat.portable]) }

    // MARK: - Faults

    /// Batches that a crash may lose, or of which it may leave only what was logged.
    public var unsyncedCount: Int { state.withLock { $0.unsynced.count } }

    /// Power fails: of the batches since the last sync only the first `count` survive.
    public func crash(keepingUnsynced count: Int) {
        state.withLock { state in
            var survivors = state.synced
            for (number, (batch, isLogged)) in state.unsynced.enumerated() {
                if number < count {
                    Self.apply(batch, to: &survivors)
                } else if isLogged {
                    Self.apply(batch, to: &survivors, loggedOnly: true)
                }
            }
            state.families = survivors
            Self.settle(&state)
            state.failure = nil
        }
    }

    /// What a crash at this moment is sure to leave, damage apart.
    public func durableSnapshot() -> any ReadSnapshot { MemorySnapshot(state.withLock { $0.durable }) }

    /// What a snapshot would show if nothing were damaged.
    package func undamagedSnapshot() -> any ReadSnapshot { MemorySnapshot(state.withLock { $0.families }) }

    /// A bit of the row's value flips on the disk: until it is written again or deleted, reading it is `corruption`, as
    /// it is in every engine, all of which know each value by a checksum.
    package func damage(_ family: FamilyID, key: [UInt8]) {
        state.withLock { $0.damage.add(family, key) }
    }

    /// Rows that can't be read.
    package var damagedCount: Int { state.withLock { $0.damage.count } }

    /// The next write throws this; anything but `noSpace` and `busy` poisons the engine.
    public func failNextWrite(_ error: EngineError) { state.withLock { $0.failure = error } }

    // MARK: - StorageEngine

    private func withOpen<Result>(_ body: (inout State) throws(EngineError) -> Result) throws(EngineError) -> Result {
        try state.withLock { (state) throws(EngineError) -> Result in
            if state.isClosed { throw .closed }
            return try body(&state)
        }
    }

    public func families() throws(EngineError) -> [FamilyID] {
        try withOpen { (state) throws(EngineError) in state.families.keys.sorted() }
    }

    public func createFamily(_ family: FamilyID) throws(EngineError) {
        try withOpen { (state) throws(EngineError) in
            if state.families[family] != nil { return }
            state.families[family] = Family()
            Self.settle(&state)
        }
    }

    public func dropFamily(_ family: FamilyID) throws(EngineError) {
        try withOpen { (state) throws(EngineError) in
            state.families[family] = nil
            state.damage.drop(family)
            Self.settle(&state)
        }
    }

    public func reclaim() throws(EngineError) -> Bool { false }

    /// Creating and dropping are durable at once, and so is everything before them.
    private static func settle(_ state: inout State) {
        state.synced = state.families
        state.durable = state.families
        state.unsynced = []
    }

    public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
        try withOpen { (state) throws(EngineError) in
            if let failure = state.failure {
                switch failure {
                case .noSpace, .busy: state.failure = nil
                default: state.failure = .poisoned(failure.description)
                }
                throw failure
            }
            try Self.check(batch) { state.families[$0] != nil }
            Self.apply(batch, to: &state.families)
            if !state.damage.isEmpty { state.damage.write(batch) }
            switch durability {
            case .buffered: state.unsynced.append((batch, isLogged: false))
            case .logged:
                state.unsynced.append((batch, isLogged: true))
                Self.apply(batch, to: &state.durable, loggedOnly: true)
            case .synced: Self.settle(&state)
            }
        }
    }

    static func check(_ batch: WriteBatch, exists: (FamilyID) -> Bool) throws(EngineError) {
        try batch.validate(exists)
    }

    private static func apply(
        _ batch: WriteBatch, to families: inout [FamilyID: Family], loggedOnly: Bool = false
    ) {
        batch.forEachOperation { (operation, key, value) throws(Never) in
            if loggedOnly, operation.mayLag { return }
            switch operation.kind {
            case .put: families[operation.family]?.set(Array(key), Array(value))
            case .delete: families[operation.family]?.remove(Array(key))
            case .deleteRange: families[operation.family]?.remove(from: Array(key), to: Array(value))
            case .deleteToEnd: families[operation.family]?.remove(from: Array(key), to: nil)
            }
        }
    }

    public func snapshot() throws(EngineError) -> any ReadSnapshot {
        try withOpen { (state) throws(EngineError) in MemorySnapshot(state.families, state.damage) }
    }

    public func export(
        _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
    ) throws(EngineError) -> FamilyManifest {
        guard format == ChunkFormat.portable else { throw .unsupported("export format \(format)") }
        return try PortableExport.write(family, from: snapshot, to: directory)
    }

    public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID) throws(EngineError) {
        try checkLoadable(manifest, from: directory, into: family)
        try PortableExport.load(manifest, from: directory, with: MemoryLoader(self, family))
    }

    public func checkpoint(to directory: String) throws(EngineError) {
        throw .unsupported("checkpoint of an engine in memory")
    }

    public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
        try withOpen { (state) throws(EngineError) in
            guard let rows = state.families[family] else { throw .familyMissing(family) }
            let bytes = rows.joined.reduce(0) { $0 + $1.key.count + $1.value.count }
            return FamilyStatistics(keys: UInt64(rows.count), bytes: UInt64(bytes))
        }
    }

    public func statistics() throws(EngineError) -> EngineStatistics {
        try withOpen { (state) throws(EngineError) in EngineStatistics(storageBytes: 0, isStalled: false) }
    }

    public func sync() throws(EngineError) {
        try withOpen { (state) throws(EngineError) in Self.settle(&state) }
    }

    public func compact() throws(EngineError) {}

    public func close() throws(EngineError) {
        state.withLock { $0.isClosed = true }
    }
}

private final class MemoryLoader: FamilyLoader {
    private let engine: MemoryEngine
    private let family: FamilyID
    private var batch = WriteBatch()

    init(_ engine: MemoryEngine, _ family: FamilyID) {
        self.engine = engine
        self.family = family
    }

    func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(EngineError) {
        batch.put(family, key: key, value: value)
    }

    func finish() throws(EngineError) { try engine.write(batch, durability: .synced) }

    func abandon() {}
}

final class MemorySnapshot: ReadSnapshot {
    private let families: [FamilyID: MemoryEngine.Family]
    private let damage: MemoryDamage

    init(_ families: [FamilyID: MemoryEngine.Family], _ damage: MemoryDamage = MemoryDamage()) {
        self.families = families
        self.damage = damage
    }

    private func rows(_ family: FamilyID) throws(EngineError) -> MemoryEngine.Family {
        guard let rows = families[family] else { throw .familyMissing(family) }
        return rows
    }

    func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
        guard let value = try rows(family)[key] else { return nil }
        try damage.check(family, key)
        return value
    }

    func cursor(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
    ) throws(EngineError) -> any Cursor {
        MemoryCursor(
            try rows(family), lower: lower, upper: upper, reverse: reverse, contents, family: family, damage)
    }

    func close() {}
}

private final class MemoryCursor: Cursor {
    private let rows: MemoryEngine.Family
    private let lower: [UInt8]
    private let upper: [UInt8]?
    private let reverse: Bool
    private let contents: CursorContents
    /// There are no files.
    var valueBytesRead: Int { 0 }
    private var position: MemoryEngine.Family.Position?
    private let family: FamilyID
    private let damage: MemoryDamage

    init(
        _ rows: MemoryEngine.Family, lower: [UInt8], upper: [UInt8]?, reverse: Bool, _ contents: CursorContents,
        family: FamilyID, _ damage: MemoryDamage
    ) {
        self.contents = contents
        self.family = family
        self.damage = damage
        self.rows = rows
        self.lower = lower
        self.upper = upper
        self.reverse = reverse
        let end = upper.map { rows.lowerBound($0) } ?? rows.end
        position = reverse ? rows.position(before: end) : rows.lowerBound(lower)
    }

    func next<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
    ) throws(EngineError) -> Result? {
        guard let position, let pair = rows[position] else { return nil }
        if reverse {
            if compareKeys(pair.key, lower) < 0 { return nil }
            self.position = rows.position(before: position)
        } else {
            if let upper, compareKeys(pair.key, upper) >= 0 { return nil }
            self.position = rows.position(after: position)
        }
        if contents == .pairs { try damage.check(family, pair.key) }
        return pair.key.withUnsafeBytes { key in
            contents == .pairs ? pair.value.withUnsafeBytes { body(key, $0) } : body(key, .noValue)
        }
    }
}
