#if SQLite
    internal import CSQLite
    internal import Glibc
    internal import Synchronization

    /// SQLite under the engine protocol: one file in WAL mode, one table for each family.
    public final class SQLiteEngine: StorageEngine {
        private struct State {
            var writer: SQLiteConnection?
            var families: Set<FamilyID> = []
            var isSyncing = true
            var poison: String?
        }

        private let path: String
        private let file: String
        private let readOnly: Bool
        private let state: Mutex<State>
        private let readers: SQLiteReaders
        /// Families as of the last commit, for snapshots that begin while a write is under way.
        private let visible: Mutex<Set<FamilyID>>

        public var kind: EngineKind { .sqlite }
        public var capabilities: EngineCapabilities { EngineCapabilities(nativeFormats: [], checksValues: false) }

        public init(path: String, readOnly: Bool = false) throws(EngineError) {
            self.path = path
            self.readOnly = readOnly
            file = "\(path)/engine.db"
            let isNew = !fileExists(file)
            if readOnly, isNew { throw .corruption(place: "\(file) is missing") }
            let writer = try SQLiteConnection(path: file, readOnly: readOnly)
            if !readOnly {
                // Before the first table: the page size is fixed with it.
                if isNew { try writer.execute("PRAGMA page_size = 4096") }
                try writer.execute("PRAGMA journal_mode = WAL")
                try writer.execute("PRAGMA synchronous = FULL")
                // Checkpoints at 16 MiB of log instead of 4: they run inside a commit.
                try writer.execute("PRAGMA wal_autocheckpoint = 4096")
                try writer.execute("PRAGMA journal_size_limit = 67108864")
                // Debian turns this on: every deleted byte would be overwritten with zeros.
                try writer.execute("PRAGMA secure_delete = OFF")
                try writer.execute("CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID")
            }
            try writer.execute("PRAGMA cell_size_check = ON")
            try writer.execute("PRAGMA cache_size = -32768")
            let families = try Self.listFamilies(writer)
            state = Mutex(State(writer: writer, families: families))
            visible = Mutex(families)
            readers = SQLiteReaders(file: file)
            if isNew { try syncDirectory(path) }
        }

        static func table(_ family: FamilyID) -> String { "f\(family.rawValue)" }

        private static func listFamilies(_ connection: SQLiteConnection) throws(EngineError) -> Set<FamilyID> {
            let statement = try connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            defer { sqlite3_finalize(statement) }
            var families: Set<FamilyID> = []
            while true {
                let code = sqlite3_step(statement)
                try connection.check(code, "listing families")
                guard code == SQLITE_ROW else { return families }
                let name = String(cString: sqlite3_column_text(statement, 0))
                if name.hasPrefix("f"), let number = UInt64(name.dropFirst()) { families.insert(FamilyID(number)) }
            }
        }

        /// The writing connection, alone. What fails inside poisons the engine, except for want of space.
        private func locked<Result>(
            _ body: (SQLiteConnection, inout State) throws(EngineError) -> Result
        ) throws(EngineError) -> Result {
            try state.withLock { (state) throws(EngineError) -> Result in
                guard let writer = state.writer else { throw .closed }
                if let poison = state.poison { throw .poisoned(poison) }
                return try body(writer, &state)
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
                try body()
                try run(writer, "COMMIT")
            } catch {
                if sqlite3_get_autocommit(writer.raw) == 0 { try? writer.execute("ROLLBACK") }
                switch error {
                case .noSpace, .tooLarge, .unsupported, .familyMissing, .busy: break
                default: state.poison = error.description
                }
                throw error
            }
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
                try transaction(writer, &state, synced: true) { () throws(EngineError) in
                    try writer.execute(
                        "CREATE TABLE \(Self.table(family)) (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID")
                }
                state.families.insert(family)
                visible.withLock { _ = $0.insert(family) }
            }
        }

        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                guard state.families.contains(family) else { return }
                try transaction(writer, &state, synced: true) { () throws(EngineError) in
                    try writer.execute("DROP TABLE \(Self.table(family))")
                }
                state.families.remove(family)
                visible.withLock { _ = $0.remove(family) }
            }
        }

        // MARK: - Writing

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in
                try batch.validate()
                for family in batch.families where !state.families.contains(family) { throw .familyMissing(family) }
                if batch.isEmpty {
                    if durability == .synced { try commitMark(writer, &state) }
                    return
                }
                try transaction(writer, &state, synced: durability == .synced) { () throws(EngineError) in
                    try batch.forEach { (operation) throws(EngineError) in try Self.apply(operation, writer) }
                }
            }
        }

        private static func apply(_ operation: WriteBatch.OperationView, _ writer: SQLiteConnection) throws(EngineError)
        {
            let statement: OpaquePointer
            switch operation {
            case .put(let family, let key, let value):
                statement = try writer.statement("INSERT OR REPLACE INTO \(table(family)) VALUES (?1, ?2)")
                writer.bind(statement, 1, key)
                writer.bind(statement, 2, value)
            case .delete(let family, let key):
                statement = try writer.statement("DELETE FROM \(table(family)) WHERE k = ?1")
                writer.bind(statement, 1, key)
            case .deleteRange(let family, let lower, let upper):
                let end = upper == nil ? "" : " AND k < ?2"
                statement = try writer.statement("DELETE FROM \(table(family)) WHERE k >= ?1\(end)")
                writer.bind(statement, 1, lower)
                if let upper { writer.bind(statement, 2, upper) }
            }
            let code = sqlite3_step(statement)
            sqlite3_reset(statement)
            try writer.check(code, "write")
        }

        /// A commit that syncs the log, and with it every commit before.
        private func commitMark(_ writer: SQLiteConnection, _ state: inout State) throws(EngineError) {
            try transaction(writer, &state, synced: true) { () throws(EngineError) in
                try run(writer, "INSERT INTO meta VALUES ('syncs', 1) ON CONFLICT (k) DO UPDATE SET v = v + 1")
            }
        }

        public func sync() throws(EngineError) {
            try locked { (writer, state) throws(EngineError) in try commitMark(writer, &state) }
        }

        // MARK: - Reading

        public func snapshot() throws(EngineError) -> any ReadSnapshot {
            guard !readers.isClosed else { throw .closed }
            let connection = try readers.take()
            do throws(EngineError) {
                try run(connection, "BEGIN")
                // A transaction begins with its first read.
                _ = try connection.integer("SELECT count(*) FROM sqlite_schema WHERE rowid = 1")
            } catch {
                readers.give(connection)
                throw error
            }
            return SQLiteSnapshot(connection, readers)
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
            guard !readers.isClosed else { throw .closed }
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
            try syncDirectory(directory)
        }

        // MARK: - Questions

        public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            guard !readers.isClosed else { throw .closed }
            guard visible.withLock({ $0.contains(family) }) else { throw .familyMissing(family) }
            let connection = try readers.take()
            defer { readers.give(connection) }
            let table = Self.table(family)
            return FamilyStatistics(
                keys: UInt64(try connection.integer("SELECT count(*) FROM \(table)")),
                bytes: UInt64(try connection.integer("SELECT coalesce(sum(length(k) + length(v)), 0) FROM \(table)")))
        }

        public func statistics() throws(EngineError) -> EngineStatistics {
            if readers.isClosed { throw .closed }
            return EngineStatistics(storageBytes: directoryBytes(path), isStalled: false)
        }

        public func compact() throws(EngineError) {
            try locked { (writer, _) throws(EngineError) in
                // Open snapshots keep the log from being cut; waiting for them would hold up every writer.
                sqlite3_busy_timeout(writer.raw, 0)
                defer { sqlite3_busy_timeout(writer.raw, SQLiteConnection.busyTimeout) }
                try writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            }
        }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.writer != nil }) else { return }
            defer {
                readers.close()
                state.withLock { $0.writer = nil }
            }
            if !readOnly, state.withLock({ $0.poison }) == nil { try sync() }
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
            if sqlite3_get_autocommit(connection.raw) == 0 { try? connection.execute("ROLLBACK") }
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
