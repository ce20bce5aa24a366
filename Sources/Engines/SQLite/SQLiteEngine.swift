#if SQLite
    internal import CSQLite
    internal import Glibc
    internal import Synchronization

    /// SQLite under the engine protocol: one file in WAL mode, one table for each family, and batches that wait in an
    /// overlay until there are enough of them.
    public final class SQLiteEngine: StorageEngine {
        private struct State {
            var writer: SQLiteConnection?
            var families: Set<FamilyID> = []
            /// Tables of dropped families, whose rows go slice by slice (`reclaim`).
            var dropped: [String] = []
            var dropSerial = 0
            var isSyncing = true
            /// Rows that the writer had changed when its last transaction ended.
            var changes: Int64 = -1
            var poison: String?
        }

        private let path: String
        private let file: String
        private let isReadOnly: Bool
        private let busyTimeout: Int32
        private let state: Mutex<State>
        /// What waits to be written. Changed only by who has `state`; never held while the file is written, so that
        /// snapshots don't wait for the disk.
        private let overlay = Mutex(Overlay())
        /// The order in which writers get `state`.
        private let turns = TurnLock()
        private let readers: SQLiteReaders
        private let counts = SQLiteCounts()
        private let log: SQLiteLog
        private let checkpointer: SQLiteCheckpointer?
        /// Where a directory that is only read was linked or copied to.
        private let scratch: String?

        public var kind: EngineKind { .sqlite }
        public var capabilities: EngineCapabilities {
            EngineCapabilities(formats: [ChunkFormat.sqlite, ChunkFormat.portable], headroomBytes: 32 << 20)
        }

        public convenience init(path: String, readOnly: Bool = false) throws(EngineError) {
            try self.init(path: path, readOnly: readOnly, busyTimeout: SQLiteConnection.busyTimeout)
        }

        /// - Parameter busyTimeout: how long a write waits for another connection's, in milliseconds.
        package init(path: String, readOnly: Bool = false, busyTimeout: Int32) throws(EngineError) {
            self.busyTimeout = busyTimeout
            self.path = path
            isReadOnly = readOnly
            let original = "\(path)/engine.db"
            let isNew = !fileExists(original)
            if readOnly, isNew { throw .corruption(place: "\(original) is missing") }
            log = try SQLiteLog(directory: path, file: original, isReadOnly: readOnly)
            // Reading alone would make or change the -shm file, and forgoing that file would miss the log.
            scratch = readOnly ? try Self.linkIntoScratch(original) : nil
            file = scratch.map { "\($0)/engine.db" } ?? original
            let writer: SQLiteConnection
            let tables: [String]
            do throws(EngineError) {
                writer = try SQLiteConnection(path: file, readOnly: readOnly)
                if !readOnly { try Self.configure(writer, isNew: isNew) }
                sqlite3_busy_timeout(writer.raw, busyTimeout)
                try writer.execute("PRAGMA cell_size_check = ON")
                try writer.execute("PRAGMA cache_size = -32768")
                tables = try Self.listTables(writer)
            } catch {
                if let scratch { removeTree(scratch, itself: true) }
                throw error
            }
            let families = tables.compactMap { name in
                name.hasPrefix("f") ? UInt64(name.dropFirst()).map { FamilyID($0) } : nil
            }
            var initial = State(writer: writer, families: Set(families))
            initial.dropped = tables.filter { $0.hasPrefix(Self.droppedPrefix) }
            initial.dropSerial = initial.dropped.compactMap { Int($0.dropFirst(Self.droppedPrefix.count)) }.max() ?? 0
            readers = SQLiteReaders(file: file)
            if readOnly {
                checkpointer = nil
            } else {
                try Self.syncFound(original, in: path)
                writer.watchLog()
                checkpointer = try SQLiteCheckpointer(file: file, turns: turns, log: log)
            }
            state = Mutex(initial)
        }

        deinit { if let scratch { removeTree(scratch, itself: true) } }

        /// What a process left that was killed may be in the system's cache alone, and SQLite shows it as if it were
        /// on the disk: nothing would sync it before the next commit.
        private static func syncFound(_ file: String, in directory: String) throws(EngineError) {
            for name in [file, "\(file)-wal"] where fileExists(name) { try syncFile(name) }
            try syncDirectory(directory)
        }

        private static func configure(_ writer: SQLiteConnection, isNew: Bool) throws(EngineError) {
            // Before the first table: the page size is fixed with it.
            if isNew { try writer.execute("PRAGMA page_size = 4096") }
            try writer.execute("PRAGMA journal_mode = WAL")
            try writer.execute("PRAGMA synchronous = FULL")
            // They would run inside a commit; `SQLiteCheckpointer` makes them beside the commits.
            try writer.execute("PRAGMA wal_autocheckpoint = 0")
            try writer.execute("PRAGMA journal_size_limit = 67108864")
            // Debian turns this on: every deleted byte would be overwritten with zeros.
            try writer.execute("PRAGMA secure_delete = OFF")
            try writer.execute("CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID")
        }

        /// The file and its log under other names, so that SQLite makes its -shm file there. A connection that only
        /// reads writes to neither.
        private static func linkIntoScratch(_ original: String) throws(EngineError) -> String {
            let scratch = try makeScratchDirectory()
            do throws(EngineError) {
                for suffix in ["", "-wal"] where fileExists(original + suffix) {
                    try linkOrCopy(original + suffix, to: "\(scratch)/engine.db\(suffix)")
                }
            } catch {
                removeTree(scratch, itself: true)
                throw error
            }
            return scratch
        }

        package static func table(_ family: FamilyID) -> String { "f\(family.rawValue)" }

        /// The statement that makes a table of keys, values and their checksums: rows in the order of their arrival, and
        /// an index of keys. Tables of earlier versions are WITHOUT ROWID; every statement means the same on both
        /// (decision 0024).
        package static func makingTable(_ name: String) -> String {
            "CREATE TABLE \(name) (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL, c INTEGER NOT NULL)"
        }

        private static let droppedPrefix = "dropped"

        private static func listTables(_ connection: SQLiteConnection) throws(EngineError) -> [String] {
            let statement = try connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            defer { sqlite3_finalize(statement) }
            var names: [String] = []
            while true {
                let code = sqlite3_step(statement)
                try connection.check(code, "listing tables")
                guard code == SQLITE_ROW else { return names }
                names.append(String(cString: sqlite3_column_text(statement, 0)))
            }
        }

        /// The writing connection, alone. What fails inside poisons the engine, except for want of space.
        private func locked<Result>(
            _ body: (SQLiteConnection, inout State) throws(EngineError) -> Result
        ) throws(EngineError) -> Result {
            try turns.withTurn { () throws(EngineError) -> Result in
                try state.withLock { (state) throws(EngineError) -> Result in
                    guard let writer = state.writer else { throw .closed }
                    if let poison = state.poison { throw .poisoned(poison) }
                    return try body(writer, &state)
                }
            }
        }

        /// One transaction; rolled back as a whole if anything in it fails.
        private func transaction(
            _ writer: SQLiteConnection, _ state: inout State, synced: Bool,
            _ body: () throws(EngineError) -> Void
        ) throws(EngineError) {
            if state.isSyncing != synced {
                // NORMAL doesn't sync the log at commit, but still before a checkpoint: a crash loses a suffix only.
                try writer.execute(synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
                state.isSyncing = synced
            }
            do throws(EngineError) {
                try run(writer, "BEGIN IMMEDIATE")
                writer.forgetCommit()
                try body()
                if synced, sqlite3_total_changes64(writer.raw) == state.changes {
                    // A commit that changes nothing syncs nothing, and with it nothing of what came before.
                    try run(writer, Self.countSync)
                }
                try run(writer, "COMMIT")
                state.changes = sqlite3_total_changes64(writer.raw)
                if synced, writer.hasCommitted { log.noteSync(frames: writer.logFrames) }
                checkpointer?.note(frames: writer.logFrames)
            } catch {
                if sqlite3_get_autocommit(writer.raw) == 0 { try? writer.execute("ROLLBACK") }
                switch error {
                case .noSpace, .tooLarge, .unsupported, .familyMissing, .busy: break
                default: state.poison = error.description
                }
                throw error
            }
        }

        /// Writes what waits, in a transaction of its own: a reader that begins before the overlay is emptied sees the
        /// same rows twice, and never newer ones under them.
        private func flush(_ writer: SQLiteConnection, _ state: inout State, synced: Bool) throws(EngineError) {
            let waiting = overlay.withLock { $0 }
            guard !waiting.isEmpty else { return }
            try transaction(writer, &state, synced: synced) { () throws(EngineError) in
                try waiting.forEach { (family, key, value) throws(EngineError) in
                    try Self.apply(value == nil ? .delete : .put, family, key, value ?? key, writer)
                }
            }
            overlay.withLock { $0.removeAll() }
        }

        private func run(_ connection: SQLiteConnection, _ sql: String) throws(EngineError) {
            let statement = try connection.statement(sql)
            let code = sqlite3_step(statement)
            sqlite3_reset(statement)
            try connection.check(code, sql)
        }

        // MARK: - Families

        public func families() throws(EngineError) -> [FamilyID] {
            try locked { (_, state) throws(EngineError) in state.families.sorted() }
        }

        public func createFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                if state.families.contains(family) { return }
                try flush(writer, &state, synced: false)
                try transaction(writer, &state, synced: true) { () throws(EngineError) in
                    try writer.execute(Self.makingTable(Self.table(family)))
                }
                state.families.insert(family)
            }
        }

        /// The table gets another name, under which nobody looks for it.
        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                guard state.families.contains(family) else { return }
                try flush(writer, &state, synced: false)
                state.dropSerial += 1
                let name = "\(Self.droppedPrefix)\(state.dropSerial)"
                try transaction(writer, &state, synced: true) { () throws(EngineError) in
                    try writer.execute("ALTER TABLE \(Self.table(family)) RENAME TO \(name)")
                }
                writer.forgetFamilies()
                counts.forget(family)
                state.families.remove(family)
                state.dropped.append(name)
            }
        }

        /// One slice of a dropped table: so many rows or bytes from its front. In a table with an index, where each row
        /// changes a page of that one too, fewer.
        private static let reclaimRowsMax = 500
        private static let reclaimRowsMaxWithoutRowID = 1000
        private static let reclaimBytesMax = 1 << 20

        public func reclaim() throws(EngineError) -> Bool {
            try locked { (writer, state) throws(EngineError) in
                guard let table = state.dropped.first else { return false }
                // Pages are freed whole if rows go as they lie: by their number, or by their key where that is the order.
                let isByKey = try Self.isWithoutRowID(table, writer)
                let end = try Self.sliceEnd(table, isByKey, writer)
                try transaction(writer, &state, synced: false) { () throws(EngineError) in
                    if let end {
                        let delete = try writer.prepare("DELETE FROM \(table) WHERE \(isByKey ? "k" : "rowid") <= ?1")
                        defer { sqlite3_finalize(delete) }
                        let code =
                            switch end {
                            case .key(let key):
                                key.withUnsafeBytes { bytes in
                                    writer.bind(delete, 1, bytes)
                                    return sqlite3_step(delete)
                                }
                            case .number(let number):
                                sqlite3_bind_int64(delete, 1, number) == SQLITE_OK
                                    ? sqlite3_step(delete) : sqlite3_errcode(writer.raw)
                            }
                        try writer.check(code, "reclaiming \(table)")
                    } else {
                        try writer.execute("DROP TABLE \(table)")
                    }
                }
                if end == nil { state.dropped.removeFirst() }
                return !state.dropped.isEmpty
            }
        }

        /// The last row of a slice.
        private enum SliceEnd { case key([UInt8]), number(Int64) }

        private static func isWithoutRowID(_ table: String, _ writer: SQLiteConnection) throws(EngineError) -> Bool {
            // By its words: the pragma that says so is of SQLite 3.37.
            try writer.integer(
                "SELECT count(*) FROM sqlite_master WHERE name = '\(table)' AND sql LIKE '%WITHOUT ROWID%'") != 0
        }

        /// The last row of the next slice; none if little enough is left to drop the table as a whole.
        private static func sliceEnd(
            _ table: String, _ isByKey: Bool, _ writer: SQLiteConnection
        ) throws(EngineError) -> SliceEnd? {
            let (order, rowsMax) = isByKey ? ("k", reclaimRowsMaxWithoutRowID) : ("rowid", reclaimRowsMax)
            let rows = try writer.prepare(
                "SELECT \(order), length(v) FROM \(table) ORDER BY \(order) LIMIT \(rowsMax)")
            defer { sqlite3_finalize(rows) }
            var (count, bytes) = (0, 0)
            while true {
                let code = sqlite3_step(rows)
                try writer.check(code, "reclaiming \(table)")
                guard code == SQLITE_ROW else { return nil }
                count += 1
                bytes += Int(sqlite3_column_int64(rows, 1))
                if count == rowsMax || bytes >= reclaimBytesMax {
                    return isByKey
                        ? .key(Array(SQLiteConnection.column(rows, 0))) : .number(sqlite3_column_int64(rows, 0))
                }
            }
        }

        // MARK: - Writing

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                try batch.validate { state.families.contains($0) }
                let course = overlay.withLock { $0.course(of: batch, durability) }
                switch course {
                case .write:
                    try flush(writer, &state, synced: false)
                    if batch.isEmpty {
                        if durability == .synced { try commitMark(writer, &state) }
                    } else {
                        try write(batch, writer, &state, synced: durability != .buffered)
                    }
                case .wait, .flushAndWait, .logAndWait:
                    if case .flushAndWait = course { try flush(writer, &state, synced: false) }
                    if case .logAndWait = course {
                        try transaction(writer, &state, synced: true) { () throws(EngineError) in
                            try Self.apply(batch, writer) { !$0.mayLag }
                        }
                    }
                    overlay.withLock { $0.add(batch, durability) }
                }
                counts.note(batch)
            }
        }

        /// Rows of a family that is being loaded, in the order of their keys, of which nobody reads anything yet: not
        /// through the overlay.
        func load(_ family: FamilyID, _ rows: WriteBatch, synced: Bool) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                guard state.families.contains(family) else { throw .familyMissing(family) }
                try rows.validate { $0 == family }
                // A deletion that waits must not come after.
                try flush(writer, &state, synced: false)
                try transaction(writer, &state, synced: synced) { () throws(EngineError) in
                    let insert = try writer.statement(.load, family)
                    try rows.withOperations { (operations, bytes) throws(EngineError) in
                        try writer.run(insert, loading: SQLiteSlice(operations, bytes))
                    }
                }
                counts.note(rows)
            }
        }

        private func write(
            _ batch: WriteBatch, _ writer: SQLiteConnection, _ state: inout State, synced: Bool
        ) throws(EngineError) {
            try transaction(writer, &state, synced: synced) { () throws(EngineError) in
                try Self.apply(batch, writer) { _ in true }
            }
        }

        private static func apply(
            _ batch: WriteBatch, _ writer: SQLiteConnection, _ isWanted: (WriteBatch.Operation) -> Bool
        ) throws(EngineError) {
            try batch.forEachOperation { (operation, key, value) throws(EngineError) in
                if isWanted(operation) { try apply(operation.kind, operation.family, key, value, writer) }
            }
        }

        /// - Parameters:
        ///   - key: or the lower bound.
        ///   - value: or the upper bound; of no meaning for what has neither.
        private static func apply(
            _ kind: WriteBatch.Kind, _ family: FamilyID, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer,
            _ writer: SQLiteConnection
        ) throws(EngineError) {
            let statement: OpaquePointer
            switch kind {
            case .put:
                statement = try writer.statement(.put, family)
                writer.bind(statement, 2, value)
                sqlite3_bind_int64(statement, 3, Int64(RecordCheck.checksum(key, value)))
            case .delete: statement = try writer.statement(.delete, family)
            case .deleteRange:
                statement = try writer.statement(.deleteRange, family)
                writer.bind(statement, 2, value)
            case .deleteToEnd: statement = try writer.statement(.deleteToEnd, family)
            }
            writer.bind(statement, 1, key)
            let code = sqlite3_step(statement)
            sqlite3_reset(statement)
            try writer.check(code, "write")
        }

        private static let countSync = "INSERT INTO meta VALUES ('syncs', 1) ON CONFLICT (k) DO UPDATE SET v = v + 1"

        /// A commit that syncs the log, and with it every commit before.
        private func commitMark(_ writer: SQLiteConnection, _ state: inout State) throws(EngineError) {
            try transaction(writer, &state, synced: true) { () throws(EngineError) in
                try run(writer, Self.countSync)
            }
        }

        public func sync() throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                try flush(writer, &state, synced: false)
                try commitMark(writer, &state)
            }
        }

        // MARK: - Reading

        public func snapshot() throws(EngineError) -> any ReadSnapshot {
            guard !readers.isClosed else { throw .closed }
            let connection = try readers.take()
            do throws(EngineError) {
                // Between the two nothing may leave the overlay for the file.
                let waiting = try overlay.withLock { (overlay) throws(EngineError) in
                    try connection.beginReading()
                    return overlay
                }
                return SQLiteSnapshot(connection, readers, waiting)
            } catch {
                readers.give(connection)
                throw error
            }
        }

        // MARK: - Movement

        public func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            switch format {
            case ChunkFormat.portable: return try PortableExport.write(family, from: snapshot, to: directory)
            case ChunkFormat.sqlite: return try SQLiteExport.write(family, from: snapshot, to: directory)
            default: throw .unsupported("export format \(format)")
            }
        }

        public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID)
            throws(EngineError)
        {
            try checkLoadable(manifest, from: directory, into: family)
            let loader = SQLiteLoader(self, family)
            if manifest.format == ChunkFormat.portable {
                try PortableExport.load(manifest, from: directory, with: loader)
            } else {
                try SQLiteExport.load(manifest, from: directory, with: loader)
            }
        }

        public func checkpoint(to directory: String) throws(EngineError) {
            guard !readers.isClosed else { throw .closed }
            try locked { (writer, state) throws(EngineError) in try flush(writer, &state, synced: false) }
            guard mkdir(directory, 0o700) == 0 else { throw ioError("creating \(directory)") }
            let source = try readers.take()
            defer { readers.give(source) }
            let target = try SQLiteConnection(path: "\(directory)/engine.db", readOnly: false)
            guard let backup = sqlite3_backup_init(target.raw, "main", source.raw, "main") else {
                throw SQLiteConnection.error(sqlite3_errcode(target.raw), "checkpoint to \(directory)", target.raw)
            }
            let code = sqlite3_backup_step(backup, -1)
            sqlite3_backup_finish(backup)
            try target.check(code, "checkpoint to \(directory)")
            try markCopy(directory)
        }

        // MARK: - Questions

        public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            guard !readers.isClosed else { throw .closed }
            return try counts.statistics(of: family) { () throws(EngineError) in
                let connection = try readers.take()
                defer { readers.give(connection) }
                let table = Self.table(family)
                do throws(EngineError) {
                    return FamilyStatistics(
                        keys: UInt64(try connection.integer("SELECT count(*) FROM \(table)")),
                        bytes: UInt64(
                            try connection.integer("SELECT coalesce(sum(length(k) + length(v)), 0) FROM \(table)")))
                } catch {
                    throw SQLiteSnapshot.missing(family, error)
                }
            }
        }

        public func statistics() throws(EngineError) -> EngineStatistics {
            guard !readers.isClosed else { throw .closed }
            let connection = try readers.take()
            defer { readers.give(connection) }
            let free = UInt64(try connection.integer("PRAGMA freelist_count"))
            let page = UInt64(try connection.integer("PRAGMA page_size"))
            return EngineStatistics(
                storageBytes: directoryBytes(path), reusableBytes: free * page, isStalled: false)
        }

        public func compact() throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                try flush(writer, &state, synced: false)
                // Open snapshots keep the log from being cut; waiting for them would hold up every writer.
                log.willReset()
                sqlite3_busy_timeout(writer.raw, 0)
                defer { sqlite3_busy_timeout(writer.raw, busyTimeout) }
                try writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            }
        }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.writer != nil }) else { return }
            defer {
                checkpointer?.stop()
                readers.close()
                // What stays in the log stays noted.
                if state.withLock({ $0.poison }) == nil { _ = checkpointer?.finish() }
                state.withLock { $0.writer = nil }
            }
            if !isReadOnly, state.withLock({ $0.poison }) == nil { try sync() }
        }
    }

    /// Reading connections that nobody uses just now.
    final class SQLiteReaders: Sendable {
        private struct State {
            var idle: [SQLiteConnection] = []
            var isClosed = false
        }

        private let file: String
        private let state = Mutex(State())
        private static let idleMax = 8

        init(file: String) { self.file = file }

        var isClosed: Bool { state.withLock { $0.isClosed } }

        func take() throws(EngineError) -> SQLiteConnection {
            if let idle = state.withLock({ $0.idle.popLast() }) { return idle }
            let connection = try SQLiteConnection(path: file, readOnly: true)
            try connection.execute("PRAGMA cell_size_check = ON")
            try connection.execute("PRAGMA cache_size = -8192")
            return connection
        }

        func give(_ connection: SQLiteConnection) {
            connection.endReading()
            state.withLock { state in
                if !state.isClosed, state.idle.count < Self.idleMax { state.idle.append(connection) }
            }
        }

        func close() {
            state.withLock { state in
                state.isClosed = true
                state.idle = []
            }
        }
    }
#endif
