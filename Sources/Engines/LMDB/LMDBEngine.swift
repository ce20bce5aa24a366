#if LMDB
    internal import CLMDB
    internal import Glibc
    internal import Synchronization

    /// LMDB under the engine protocol: one environment, one named database for each family.
    ///
    /// LMDB syncs every transaction; switching that off (MDB_NOSYNC, MDB_WRITEMAP) may corrupt the file in a system
    /// crash. So a buffered batch waits in an overlay, which every snapshot sees, and joins the next transaction.
    public final class LMDBEngine: StorageEngine {
        typealias Overlay = [FamilyID: SortedMap<[UInt8]?>]

        private struct State {
            var environment: LMDBEnvironment?
            var families: [FamilyID: MDB_dbi] = [:]
            /// Dropped families whose handles snapshots older than `serial` may still use. There are 8192 handles.
            var dropped: [(family: FamilyID, dbi: MDB_dbi, serial: UInt64)] = []
            /// Batches that are visible and not yet in the file.
            var overlay: Overlay = [:]
            var overlayBytes = 0
            /// The overlay lies over this transaction; a later one contains it.
            var base: Int = 0
            var poison: String?
        }

        /// Beyond this a buffered batch commits what has gathered.
        private static let overlayBytesMax = 8 << 20

        private let path: String
        private let state: Mutex<State>
        private let writer = Mutex(())

        public var kind: EngineKind { .lmdb }
        public var capabilities: EngineCapabilities { EngineCapabilities(nativeFormats: [], checksValues: false) }

        public init(path: String, readOnly: Bool = false) throws(EngineError) {
            self.path = path
            let environment = try LMDBEnvironment(path: path, readOnly: readOnly)
            var initial = State(environment: environment)
            initial.families = try environment.openFamilies(readOnly: readOnly)
            initial.base = environment.lastTransaction
            state = Mutex(initial)
        }

        private func opened() throws(EngineError) -> LMDBEnvironment {
            let (environment, poison) = state.withLock { ($0.environment, $0.poison) }
            guard let environment else { throw .closed }
            if let poison { throw .poisoned(poison) }
            return environment
        }

        /// Runs one write transaction over the overlay and `body`, and moves the overlay's base behind it.
        private func commit(
            _ environment: LMDBEnvironment, _ body: (LMDBTransaction) throws(EngineError) -> Void
        ) throws(EngineError) {
            let (overlay, families) = state.withLock { ($0.overlay, $0.families) }
            do throws(EngineError) {
                try environment.write { (transaction) throws(EngineError) in
                    for (family, rows) in overlay {
                        guard let dbi = families[family] else { continue }
                        for pair in rows.runs.joined() {
                            if let value = pair.value {
                                try transaction.put(dbi, pair.key, value)
                            } else {
                                try transaction.delete(dbi, pair.key)
                            }
                        }
                    }
                    try body(transaction)
                }
                state.withLock { state in
                    state.overlay = [:]
                    state.overlayBytes = 0
                    // Not the number that the transaction began with: LMDB gives it again if nothing was changed.
                    state.base = environment.lastTransaction
                }
            } catch {
                switch error {
                case .noSpace, .tooLarge, .unsupported, .familyMissing: break
                default: state.withLock { $0.poison = error.description }
                }
                throw error
            }
        }

        // MARK: - Families

        public func families() throws(EngineError) -> [FamilyID] {
            _ = try opened()
            return state.withLock { $0.families.keys.sorted() }
        }

        public func createFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                if state.withLock({ $0.families[family] != nil }) { return }
                let finished = state.withLock { state in
                    let oldest = environment.oldestReader
                    let finished = state.dropped.filter { $0.serial <= oldest && $0.family != family }
                    state.dropped.removeAll { $0.serial <= oldest || $0.family == family }
                    return finished
                }
                var dbi: MDB_dbi = 0
                try commit(environment) { (transaction) throws(EngineError) in
                    for old in finished {
                        try transaction.remove(old.dbi)
                        try transaction.unmarkDropped(old.family)
                    }
                    dbi = try transaction.openDatabase(LMDBEnvironment.name(family), create: true)
                    try transaction.unmarkDropped(family)
                }
                state.withLock { $0.families[family] = dbi }
            }
        }

        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                guard let dbi = state.withLock({ $0.families[family] }) else { return }
                // Emptied now; the name goes when nobody can be reading it any more (with a later family, or at the next
                // opening), because removing a name closes its handle under the feet of open snapshots.
                try commit(environment) { (transaction) throws(EngineError) in
                    try transaction.empty(dbi)
                    try transaction.markDropped(family)
                }
                state.withLock { state in
                    state.families[family] = nil
                    state.overlay[family] = nil
                    state.dropped.append((family, dbi, environment.nextReader))
                }
            }
        }

        private func locked<Result>(
            _ body: (LMDBEnvironment) throws(EngineError) -> Result
        ) throws(EngineError) -> Result {
            try writer.withLock { (_) throws(EngineError) -> Result in try body(try opened()) }
        }

        // MARK: - Writing

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                try batch.validate()
                let families = state.withLock { $0.families }
                for family in batch.families where families[family] == nil { throw .familyMissing(family) }
                if durability == .buffered, batch.isPointwise {
                    let bytes = state.withLock { state in
                        Self.add(batch, to: &state.overlay)
                        state.overlayBytes += batch.byteCount + 64 * batch.count
                        return state.overlayBytes
                    }
                    if bytes > Self.overlayBytesMax { try commit(environment) { (_) throws(EngineError) in } }
                    return
                }
                try commit(environment) { (transaction) throws(EngineError) in
                    try batch.forEach { (operation) throws(EngineError) in
                        switch operation {
                        case .put(let family, let key, let value):
                            if let dbi = families[family] { try transaction.put(dbi, key, value) }
                        case .delete(let family, let key):
                            if let dbi = families[family] { try transaction.delete(dbi, key) }
                        case .deleteRange(let family, let lower, let upper):
                            if let dbi = families[family] { try transaction.deleteRange(dbi, lower, upper) }
                        }
                    }
                }
            }
        }

        private static func add(_ batch: WriteBatch, to overlay: inout Overlay) {
            batch.forEach { (operation) throws(Never) in
                switch operation {
                case .put(let family, let key, let value):
                    overlay[family, default: SortedMap()].set(Array(key), Array(value))
                case .delete(let family, let key): overlay[family, default: SortedMap()].set(Array(key), nil)
                case .deleteRange: preconditionFailure("range deletes don't wait in the overlay")
                }
            }
        }

        public func sync() throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                if state.withLock({ !$0.overlay.isEmpty }) { try commit(environment) { (_) throws(EngineError) in } }
            }
        }

        // MARK: - Reading

        public func snapshot() throws(EngineError) -> any ReadSnapshot {
            let environment = try opened()
            return try state.withLock { (state) throws(EngineError) -> LMDBSnapshot in
                let transaction = try environment.beginReading()
                // A commit may have ended between its transaction and the reset of the overlay: what it wrote is
                // in this transaction already.
                let overlay = transaction.id > state.base ? [:] : state.overlay
                return LMDBSnapshot(environment, transaction, state.families, overlay)
            }
        }

        public func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            try PortableExport.write(family, from: snapshot, format: format, to: directory)
        }

        public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID)
            throws(EngineError)
        {
            try PortableExport.load(manifest, from: directory, into: family, engine: self)
        }

        public func checkpoint(to directory: String) throws(EngineError) {
            try sync()
            let environment = try opened()
            guard mkdir(directory, 0o700) == 0 else { throw ioError("creating \(directory)") }
            try lmdbCheck(mdb_env_copy2(environment.raw, directory, 0), "copying \(path) to \(directory)")
        }

        // MARK: - Questions

        public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            let snapshot = try snapshot()
            defer { snapshot.close() }
            guard let snapshot = snapshot as? LMDBSnapshot else { throw .closed }
            return try snapshot.statistics(of: family)
        }

        public func statistics() throws(EngineError) -> EngineStatistics {
            _ = try opened()
            return EngineStatistics(storageBytes: directoryBytes(path), isStalled: false)
        }

        public func compact() throws(EngineError) { try sync() }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.environment != nil }) else { return }
            defer { state.withLock { $0.environment = nil } }
            if state.withLock({ $0.poison }) == nil { try sync() }
        }
    }
#endif
