#if SQLite
    internal import CSQLite
    internal import Glibc

    /// SQLite must copy what is bound this way; everything else outlives its statement.
    let sqliteStatic: sqlite3_destructor_type? = nil

    /// One connection. Used by one thread at a time.
    package final class SQLiteConnection: @unchecked Sendable {
        let raw: OpaquePointer
        private let path: String
        private let feed: SQLiteFeed
        private var statements: [String: OpaquePointer] = [:]
        /// Statements about families, found without making their text.
        private var familyStatements: [FamilyStatement: OpaquePointer] = [:]
        /// Statements of each kind kept prepared; beyond this all are finalized and made again.
        private static let statementsMax = 1024

        /// What is done to a family over and over.
        package enum Purpose: UInt8 {
            case put, delete, deleteRange, deleteToEnd, get, load

            func sql(_ table: String) -> String {
                switch self {
                // REPLACE would give the row another place, and its key's entry in the index too.
                case .put:
                    "INSERT INTO \(table) VALUES (?1, ?2, ?3) ON CONFLICT (k) DO UPDATE SET v = ?2, c = ?3"
                case .delete: "DELETE FROM \(table) WHERE k = ?1"
                case .deleteRange: "DELETE FROM \(table) WHERE k >= ?1 AND k < ?2"
                case .deleteToEnd: "DELETE FROM \(table) WHERE k >= ?1"
                case .get: "SELECT v, c FROM \(table) WHERE k = ?1"
                case .load: "INSERT OR REPLACE INTO \(table) SELECT k, v, c FROM \(SQLiteFeed.table)"
                }
            }
        }

        private struct FamilyStatement: Hashable {
            var purpose: Purpose
            var family: FamilyID
        }
        /// How long a statement waits for another connection's lock, in milliseconds.
        package static let busyTimeout: Int32 = 10_000

        package init(path: String, readOnly: Bool) throws(EngineError) {
            self.path = path
            var opened: OpaquePointer?
            let flags =
                (readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX
            // Debian's SQLite takes names that begin like this for URIs, of which the directory may not be a part.
            let name = path.hasPrefix("file:") ? "./\(path)" : path
            let code = sqlite3_open_v2(name, &opened, flags, nil)
            guard let opened, code == SQLITE_OK else {
                sqlite3_close_v2(opened)
                throw Self.error(code, "opening \(path)", nil)
            }
            raw = opened
            feed = SQLiteFeed(on: opened)
            sqlite3_extended_result_codes(raw, 1)
            sqlite3_busy_timeout(raw, Self.busyTimeout)
            // The log goes when we say so, not with whichever connection happens to be the last (`SQLiteLog`).
            flotilla_sqlite3_keep_log(raw)
        }

        deinit {
            for statement in statements.values { sqlite3_finalize(statement) }
            for statement in familyStatements.values { sqlite3_finalize(statement) }
            for statement in [beginning, looking, ending] { sqlite3_finalize(statement) }
            sqlite3_close_v2(raw)
        }

        static func error(_ code: Int32, _ place: String, _ raw: OpaquePointer?) -> EngineError {
            let text = raw.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
            switch code & 0xff {
            case SQLITE_CORRUPT, SQLITE_NOTADB: return .corruption(place: "\(place): \(text)")
            case SQLITE_FULL: return .noSpace(place: place)
            case SQLITE_BUSY, SQLITE_LOCKED: return .busy("\(place): \(text)")
            case SQLITE_IOERR:
                let system = raw.map { sqlite3_system_errno($0) } ?? 0
                if system == ENOSPC || system == EDQUOT { return .noSpace(place: place) }
                return .io(place: "\(place): \(text)", errno: system)
            default: return .io(place: "\(place): \(text)", errno: code)
            }
        }

        func check(_ code: Int32, _ place: @autoclosure () -> String) throws(EngineError) {
            guard code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW else {
                throw Self.error(code, "\(path): \(place())", raw)
            }
        }

        /// Pages in the log after the last commit of this connection.
        private(set) var logFrames: Int32 = 0
        /// A commit has reached the log since `forgetCommit`.
        private(set) var hasCommitted = false

        func forgetCommit() { hasCommitted = false }

        /// Counts the log's pages at every commit.
        func watchLog() {
            let counter:
                @convention(c) (
                    UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, Int32
                ) -> Int32 = { owner, _, _, frames in
                    guard let owner else { return SQLITE_OK }
                    let connection = Unmanaged<SQLiteConnection>.fromOpaque(owner).takeUnretainedValue()
                    connection.logFrames = frames
                    connection.hasCommitted = true
                    return SQLITE_OK
                }
            sqlite3_wal_hook(raw, counter, Unmanaged.passUnretained(self).toOpaque())
        }

        package func execute(_ sql: String) throws(EngineError) {
            try check(sqlite3_exec(raw, sql, nil, nil, nil), sql)
        }

        /// A prepared statement, reset and ready to be bound.
        func statement(_ sql: String) throws(EngineError) -> OpaquePointer {
            if let found = statements[sql] {
                sqlite3_reset(found)
                return found
            }
            if statements.count >= Self.statementsMax {
                for statement in statements.values { sqlite3_finalize(statement) }
                statements = [:]
            }
            let made = try prepare(sql)
            statements[sql] = made
            return made
        }

        /// A prepared statement about a family, reset and ready to be bound.
        package func statement(_ purpose: Purpose, _ family: FamilyID) throws(EngineError) -> OpaquePointer {
            let key = FamilyStatement(purpose: purpose, family: family)
            if let found = familyStatements[key] { return found }
            if familyStatements.count >= Self.statementsMax { forgetFamilies() }
            let made = try prepare(purpose.sql(SQLiteEngine.table(family)))
            familyStatements[key] = made
            return made
        }

        /// Finalizes what is prepared about families.
        func forgetFamilies() {
            for statement in familyStatements.values { sqlite3_finalize(statement) }
            familyStatements = [:]
        }

        /// A statement that the caller finalizes.
        func prepare(_ sql: String) throws(EngineError) -> OpaquePointer {
            var made: OpaquePointer?
            try check(sqlite3_prepare_v2(raw, sql, -1, &made, nil), sql)
            guard let made else { throw .io(place: "\(path): \(sql)", errno: 0) }
            return made
        }

        /// Runs a statement of `Purpose.load`, which SQLite does fastest in the order of the keys.
        package func run(_ statement: OpaquePointer, loading rows: some SQLiteRowSource) throws(EngineError) {
            try check(try feed.run(statement, reading: rows), "copying rows")
        }

        func bind(_ statement: OpaquePointer, _ place: Int32, _ bytes: UnsafeRawBufferPointer) {
            // A null pointer would bind NULL; an empty blob is a value.
            if bytes.count == 0 {
                sqlite3_bind_zeroblob(statement, place, 0)
            } else {
                sqlite3_bind_blob64(statement, place, bytes.baseAddress, UInt64(bytes.count), sqliteStatic)
            }
        }

        private var beginning: OpaquePointer?
        private var looking: OpaquePointer?
        private var ending: OpaquePointer?

        private func step(_ statement: inout OpaquePointer?, _ sql: String) throws(EngineError) {
            if statement == nil { statement = try prepare(sql) }
            let code = sqlite3_step(statement)
            sqlite3_reset(statement)
            try check(code, sql)
        }

        /// Begins to read: from here on the connection sees one state.
        func beginReading() throws(EngineError) {
            try step(&beginning, "BEGIN")
            // A transaction begins with its first read.
            try step(&looking, "SELECT rowid FROM sqlite_schema WHERE rowid = 1")
        }

        func endReading() {
            guard sqlite3_get_autocommit(raw) == 0 else { return }
            do throws(EngineError) { try step(&ending, "ROLLBACK") } catch {
                // An interrupted read: nothing depends on it.
            }
        }

        package func integer(_ sql: String) throws(EngineError) -> Int64 {
            let statement = try statement(sql)
            defer { sqlite3_reset(statement) }
            let code = sqlite3_step(statement)
            try check(code, sql)
            return code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0
        }

        /// A column of the current row, valid until the next step.
        static func column(_ statement: OpaquePointer, _ index: Int32) -> UnsafeRawBufferPointer {
            let bytes = sqlite3_column_blob(statement, index)
            return UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, index)))
        }
    }
#endif
