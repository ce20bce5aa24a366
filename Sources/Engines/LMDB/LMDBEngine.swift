#if LMDB
    internal import CLMDB
    internal import Glibc
    internal import Synchronization

    /// LMDB under the engine protocol: one environment, one named database for each family.
    ///
    /// LMDB syncs every transaction; switching that off (MDB_NOSYNC, MDB_WRITEMAP) may corrupt the file in a system
    /// crash. So a buffered batch waits in an overlay, which every snapshot sees, and joins the next transaction.
    public final class LMDBEngine: StorageEngine {
        private struct State {
            var environment: LMDBEnvironment?
            var families: FamilyMap<MDB_dbi> = FamilyMap()
            /// Dropped families, whose rows and names go slice by slice (`reclaim`). Snapshots older than `serial` may
            /// still use their handles. There are 8192 handles.
            var dropped: [(family: FamilyID, dbi: MDB_dbi, serial: UInt64)] = []
            /// Batches, or parts of them, that are visible and not yet in the file.
            var overlay = Overlay()
            /// The overlay lies over this transaction; a later one contains it.
            var base: Int = 0
            var poison: String?
        }

        private let path: String
        private let isReadOnly: Bool
        private let state: Mutex<State>
        private let writer = TurnLock()
        /// The number of the last transaction that was committed, which is to say synced.
        private let mark: SyncMark

        public var kind: EngineKind { .lmdb }
        public var capabilities: EngineCapabilities { EngineCapabilities(formats: [ChunkFormat.portable]) }

        public convenience init(path: String, readOnly: Bool = false) throws(EngineError) {
            try self.init(path: path, readOnly: readOnly, mapBytes: LMDBEnvironment.mapBytes)
        }

        /// `mapBytes`: sizes of the map to try, one after another.
        package init(path: String, readOnly: Bool, mapBytes: [Int]) throws(EngineError) {
            self.path = path
            isReadOnly = readOnly
            mark = try SyncMark(directory: path, isReadOnly: readOnly)
            let environment = try LMDBEnvironment(path: path, readOnly: readOnly, mapBytes: mapBytes)
            let last = UInt64(environment.lastTransaction)
            guard last >= mark.found else {
                throw .corruption(
                    place: "\(path): the last transaction is \(last), but everything up to \(mark.found) was synced")
            }
            var initial = State(environment: environment)
            let opened = try environment.openFamilies(readOnly: readOnly)
            initial.families = opened.families
            initial.dropped = opened.dropped.map { ($0.family, $0.dbi, 0) }
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
                    try overlay.forEach { (family, key, value) throws(EngineError) in
                        guard let dbi = families[family] else { return }
                        if let value {
                            try transaction.put(dbi, key, value)
                        } else {
                            try transaction.delete(dbi, key)
                        }
                    }
                    try body(transaction)
                }
                state.withLock { state in
                    state.overlay.removeAll()
                    // Not the number that the transaction began with: LMDB gives it again if nothing was changed.
                    state.base = environment.lastTransaction
                }
                mark.note(UInt64(environment.lastTransaction))
            } catch {
                throw noted(error)
            }
        }

        /// An error of a transaction; after most of them nothing is promised any more.
        private func noted(_ error: EngineError) -> EngineError {
            switch error {
            case .noSpace, .tooLarge, .unsupported, .familyMissing: break
            default: state.withLock { $0.poison = error.description }
            }
            return error
        }

        // MARK: - Families

        public func families() throws(EngineError) -> [FamilyID] {
            _ = try opened()
            return state.withLock { $0.families.families }
        }

        public func createFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                if state.withLock({ $0.families[family] != nil }) { return }
                // The number was dropped a moment ago and its rows are still there: the one case that waits for them.
                let former = state.withLock { $0.dropped.first { $0.family == family } }
                var dbi: MDB_dbi = 0
                try removeNames(environment, except: family)
                try commit(environment) { (transaction) throws(EngineError) in
                    if let former { try transaction.empty(former.dbi) }
                    dbi = try transaction.openDatabase(LMDBEnvironment.name(family), create: true)
                    try transaction.unmarkDropped(family)
                }
                state.withLock { state in
                    state.families[family] = dbi
                    state.dropped.removeAll { $0.family == family }
                }
            }
        }

        /// Removes the names of dropped families that are empty and that no snapshot can be reading: removing a name
        /// closes its handle, also if the transaction comes to nothing. So they are forgotten first; what is not removed
        /// now is found again at the next opening.
        private func removeNames(_ environment: LMDBEnvironment, except family: FamilyID? = nil) throws(EngineError) {
            let oldest = environment.oldestReader
            let idle = state.withLock { $0.dropped.filter { $0.serial <= oldest && $0.family != family } }
            guard !idle.isEmpty else { return }
            var removed: Set<FamilyID> = []
            do throws(EngineError) {
                try commit(environment) { (transaction) throws(EngineError) in
                    for old in idle where try transaction.pages(old.dbi) == 0 {
                        removed.insert(old.family)
                        try transaction.remove(old.dbi)
                        try transaction.unmarkDropped(old.family)
                    }
                }
            } catch {
                state.withLock { $0.dropped.removeAll { removed.contains($0.family) } }
                throw error
            }
            state.withLock { $0.dropped.removeAll { removed.contains($0.family) } }
        }

        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                // Gone from sight first: what waits for it in the overlay is not written any more, and a snapshot that
                // begins meanwhile must not see the family without it.
                guard let dbi = state.withLock({ $0.families.removeValue(forKey: family) }) else { return }
                do throws(EngineError) {
                    try commit(environment) { (transaction) throws(EngineError) in try transaction.markDropped(family) }
                } catch {
                    state.withLock { $0.families[family] = dbi }
                    throw error
                }
                state.withLock { $0.dropped.append((family, dbi, environment.nextReader)) }
            }
        }

        /// A family of up to this many pages (128 MiB) is emptied at once: LMDB frees whole pages without looking into them,
        /// which takes a few milliseconds, where deleting row by row would rewrite each page.
        private static let reclaimPagesMax = 32_768
        /// A larger one loses this many rows, or bytes, from its front first.
        private static let reclaimRowsMax = 2048
        private static let reclaimBytesMax = 4 << 20

        public func reclaim() throws(EngineError) -> Bool {
            if state.withLock({ $0.environment != nil && $0.dropped.isEmpty }) { return false }
            return try locked { (environment) throws(EngineError) -> Bool in
                let dropped = state.withLock { $0.dropped }
                var isDone = true
                try commit(environment) { (transaction) throws(EngineError) in
                    for old in dropped {
                        let pages = try transaction.pages(old.dbi)
                        if pages == 0 { continue }
                        if pages <= Self.reclaimPagesMax {
                            try transaction.empty(old.dbi)
                        } else {
                            try transaction.deleteFirst(old.dbi, rows: Self.reclaimRowsMax, bytes: Self.reclaimBytesMax)
                        }
                        isDone = false
                        return
                    }
                }
                if isDone { try removeNames(environment) }
                // Names that a snapshot keeps go with a later family.
                return !isDone
            }
        }

        private func locked<Result>(
            _ body: (LMDBEnvironment) throws(EngineError) -> Result
        ) throws(EngineError) -> Result {
            try writer.withTurn { () throws(EngineError) -> Result in try body(try opened()) }
        }

        // MARK: - Writing

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                let families = state.withLock { $0.families }
                try batch.validate { families[$0] != nil }
                let course = state.withLock { $0.overlay.course(of: batch, durability) }
                switch course {
                case .write: break
                case .wait, .flushAndWait, .logAndWait:
                    // If there is no room for what goes into the file, nothing of this batch is kept either.
                    if case .flushAndWait = course { try commit(environment) { (_) throws(EngineError) in } }
                    if case .logAndWait = course { try commitLog(of: batch, environment, families) }
                    state.withLock { $0.overlay.add(batch, durability) }
                    return
                }
                try commit(environment) { (transaction) throws(EngineError) in
                    try Self.apply(batch, transaction, families) { _ in true }
                }
            }
        }

        private static func apply(
            _ batch: WriteBatch, _ transaction: LMDBTransaction, _ families: FamilyMap<MDB_dbi>,
            _ isWanted: (WriteBatch.Operation) -> Bool
        ) throws(EngineError) {
            var last: (family: FamilyID, dbi: MDB_dbi)?
            try batch.forEachOperation { (operation, key, value) throws(EngineError) in
                guard isWanted(operation) else { return }
                if last?.family != operation.family {
                    last = families[operation.family].map { (operation.family, $0) }
                }
                guard let dbi = last?.dbi else { return }
                switch operation.kind {
                case .put: try transaction.put(dbi, key, value)
                case .delete: try transaction.delete(dbi, key)
                case .deleteRange: try transaction.deleteRange(dbi, key, value)
                case .deleteToEnd: try transaction.deleteRange(dbi, key, nil)
                }
            }
        }

        /// Commits what may not lag, under an overlay that stays.
        private func commitLog(
            of batch: WriteBatch, _ environment: LMDBEnvironment, _ families: FamilyMap<MDB_dbi>
        ) throws(EngineError) {
            let before = state.withLock { state in
                defer { state.base = environment.lastTransaction + 1 }
                return state.base
            }
            do throws(EngineError) {
                try environment.write { (transaction) throws(EngineError) in
                    try Self.apply(batch, transaction, families) { !$0.mayLag }
                }
                state.withLock { $0.base = environment.lastTransaction }
                mark.note(UInt64(environment.lastTransaction))
            } catch {
                state.withLock { $0.base = before }
                throw noted(error)
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
                let overlay = transaction.id > state.base ? Overlay() : state.overlay
                return LMDBSnapshot(environment, transaction, state.families, overlay)
            }
        }

        // MARK: - Movement

        public func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            guard format == ChunkFormat.portable else { throw .unsupported("export format \(format)") }
            return try PortableExport.write(family, from: snapshot, to: directory)
        }

        public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID)
            throws(EngineError)
        {
            try checkLoadable(manifest, from: directory, into: family)
            try PortableExport.load(manifest, from: directory, with: LMDBLoader(self, family))
        }

        /// Rows that come after all that the family holds, in one transaction.
        func append(_ rows: WriteBatch, to family: FamilyID) throws(EngineError) {
            try locked { (environment) throws(EngineError) in
                guard let dbi = state.withLock({ $0.families[family] }) else { throw .familyMissing(family) }
                try commit(environment) { (transaction) throws(EngineError) in
                    try rows.forEach { (operation) throws(EngineError) in
                        if case .put(_, let key, let value) = operation {
                            try transaction.put(dbi, key, value, flags: UInt32(MDB_APPEND))
                        }
                    }
                }
            }
        }

        public func checkpoint(to directory: String) throws(EngineError) {
            try sync()
            let environment = try opened()
            guard mkdir(directory, 0o700) == 0 else { throw ioError("creating \(directory)") }
            try lmdbCheck(mdb_env_copy2(environment.raw, directory, 0), "copying \(path) to \(directory)")
            try syncFile("\(directory)/data.mdb")
            try markCopy(directory)
        }

        // MARK: - Questions

        public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            let snapshot = try snapshot()
            defer { snapshot.close() }
            guard let snapshot = snapshot as? LMDBSnapshot else { throw .closed }
            return try snapshot.statistics(of: family)
        }

        public func statistics() throws(EngineError) -> EngineStatistics {
            let snapshot = try snapshot()
            defer { snapshot.close() }
            let reusable = try (snapshot as? LMDBSnapshot)?.freeBytes() ?? 0
            return EngineStatistics(
                storageBytes: directoryBytes(path), reusableBytes: reusable, isStalled: false)
        }

        public func compact() throws(EngineError) { try sync() }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.environment != nil }) else { return }
            defer { state.withLock { $0.environment = nil } }
            if !isReadOnly, state.withLock({ $0.poison }) == nil { try sync() }
        }
    }

    /// Loads sorted rows at the end of a family: MDB_APPEND fills page after page without a search.
    private final class LMDBLoader: FamilyLoader {
        /// One transaction; other writers wait for no more than that.
        private static let sliceBytes = 2 << 20
        private let engine: LMDBEngine
        private let family: FamilyID
        private var slice = WriteBatch()

        init(_ engine: LMDBEngine, _ family: FamilyID) {
            self.engine = engine
            self.family = family
        }

        func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(EngineError) {
            slice.put(family, key: key, value: value)
            if slice.byteCount >= Self.sliceBytes { try finish() }
        }

        func finish() throws(EngineError) {
            try engine.append(slice, to: family)
            slice.removeAll()
        }

        /// The rows go as those of any dropped family do.
        func abandon() {
            do throws(EngineError) {
                try engine.dropFamily(family)
                try engine.createFamily(family)
            } catch {
                // Poisoned or closed: the family is mapped nowhere and goes at the next start.
            }
        }
    }
#endif
