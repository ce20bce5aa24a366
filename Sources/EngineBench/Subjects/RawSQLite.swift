#if SQLite
    internal import CSQLite
    internal import Foundation
    internal import Synchronization

    /// SQLite called in C, with the pragmas of our engine: one connection that writes, others that read.
    final class RawSQLite: Subject, @unchecked Sendable {
        private let file: String
        private let state: Mutex<State>
        private let idle = Mutex<[Connection]>([])

        private struct State: @unchecked Sendable {
            var connection: Connection
            var isSyncing = true
        }

        init(_ directory: String) throws {
            file = "\(directory)/engine.db"
            let connection = try Connection(file)
            // Our engine moves the log into the file on a thread of its own; alone, SQLite does it inside the commit
            // that reaches the same length.
            for pragma in [
                "page_size = 4096", "journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 4096",
                "journal_size_limit = 67108864", "secure_delete = OFF", "cell_size_check = ON", "cache_size = -32768",
            ] {
                try connection.execute("PRAGMA \(pragma)")
            }
            try connection.execute("CREATE TABLE meta (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID")
            state = Mutex(State(connection: connection))
        }

        private func transact(synced: Bool = true, _ body: (Connection) throws -> Void) throws {
            try state.withLock { state in
                let connection = state.connection
                if state.isSyncing != synced {
                    try connection.execute("PRAGMA synchronous = \(synced ? "FULL" : "NORMAL")")
                    state.isSyncing = synced
                }
                try connection.step(&connection.begin, "BEGIN IMMEDIATE")
                do { try body(connection) } catch {
                    try? connection.execute("ROLLBACK")
                    throw error
                }
                try connection.step(&connection.commit, "COMMIT")
            }
        }

        func createFamily(_ family: UInt64) throws {
            try transact {
                try $0.execute("CREATE TABLE f\(family) (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL)")
            }
        }

        func dropFamily(_ family: UInt64) throws {
            try transact { connection in
                connection.forget(family)
                try connection.execute("DROP TABLE f\(family)")
            }
        }

        func writer() -> any SubjectWriter { Writer(self) }

        func sync() throws {
            try transact { try $0.execute("INSERT OR REPLACE INTO meta VALUES ('syncs', 1)") }
        }

        func compact() throws { try state.withLock { try $0.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)") } }
        func view() throws -> any SubjectView { try View(self) }

        fileprivate func takeReader() throws -> Connection {
            if let idle = idle.withLock({ $0.popLast() }) { return idle }
            let connection = try Connection(file)
            try connection.execute("PRAGMA cell_size_check = ON")
            try connection.execute("PRAGMA cache_size = -8192")
            return connection
        }

        func export(_ family: UInt64, to directory: String) throws -> Exported {
            let connection = try takeReader()
            defer { idle.withLock { $0.append(connection) } }
            try attach(connection, directory)
            defer { try? connection.execute("DETACH moved") }
            // A file that nobody has yet needs neither a journal nor a sync, as our exports.
            try connection.execute("PRAGMA moved.journal_mode = OFF")
            try connection.execute("PRAGMA moved.synchronous = OFF")
            try connection.execute("CREATE TABLE moved.t (k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL)")
            try connection.execute("INSERT INTO moved.t SELECT k, v FROM f\(family) ORDER BY k")
            return Exported(keys: Int(sqlite3_changes64(connection.raw)))
        }

        func ingest(_ exported: Exported, from directory: String, into family: UInt64) throws {
            try state.withLock { state in
                try attach(state.connection, directory)
                defer { try? state.connection.execute("DETACH moved") }
                try state.connection.execute("INSERT INTO main.f\(family) SELECT k, v FROM moved.t")
            }
        }

        private func attach(_ connection: Connection, _ directory: String) throws {
            try connection.execute("ATTACH '\(directory.replacing("'", with: "''"))/records.db' AS moved")
        }

        func checkpoint(to directory: String) throws {
            try makeDirectory(directory)
            let source = try takeReader()
            defer { idle.withLock { $0.append(source) } }
            let target = try Connection("\(directory)/engine.db")
            guard let backup = sqlite3_backup_init(target.raw, "main", source.raw, "main") else {
                throw BenchError("SQLite begins no backup")
            }
            let code = sqlite3_backup_step(backup, -1)
            sqlite3_backup_finish(backup)
            try target.check(code)
        }

        func close() throws {
            idle.withLock { $0 = [] }
            try sync()
            state.withLock { $0.connection.close() }
        }

        fileprivate final class Connection: @unchecked Sendable {
            let raw: OpaquePointer
            private var isClosed = false
            private var statements: [OpaquePointer] = []
            var begin: OpaquePointer?
            var commit: OpaquePointer?
            private var inserts: [UInt64: OpaquePointer] = [:]
            private var lastInsert: (family: UInt64, statement: OpaquePointer)?
            private var selects: [UInt64: OpaquePointer] = [:]
            private var scans: [UInt64: OpaquePointer] = [:]

            init(_ path: String) throws {
                var opened: OpaquePointer?
                let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
                guard sqlite3_open_v2(path, &opened, flags, nil) == SQLITE_OK, let opened else {
                    sqlite3_close_v2(opened)
                    throw BenchError("SQLite doesn't open \(path)")
                }
                raw = opened
                sqlite3_busy_timeout(raw, 10_000)
            }

            deinit { close() }

            func close() {
                guard !isClosed else { return }
                isClosed = true
                for statement in statements { sqlite3_finalize(statement) }
                sqlite3_close_v2(raw)
            }

            func check(_ code: Int32) throws {
                if code != SQLITE_OK, code != SQLITE_DONE, code != SQLITE_ROW {
                    throw BenchError("SQLite: \(String(cString: sqlite3_errmsg(raw)))")
                }
            }

            func execute(_ sql: String) throws { try check(sqlite3_exec(raw, sql, nil, nil, nil)) }

            func prepare(_ sql: String) throws -> OpaquePointer {
                var made: OpaquePointer?
                try check(sqlite3_prepare_v2(raw, sql, -1, &made, nil))
                guard let made else { throw BenchError("SQLite: nothing in \(sql)") }
                statements.append(made)
                return made
            }

            func step(_ statement: inout OpaquePointer?, _ sql: String) throws {
                let prepared = try statement ?? prepare(sql)
                statement = prepared
                let code = sqlite3_step(prepared)
                sqlite3_reset(prepared)
                try check(code)
            }

            func insert(_ family: UInt64) throws -> OpaquePointer {
                if let lastInsert, lastInsert.family == family { return lastInsert.statement }
                let made =
                    try inserts[family]
                    ?? prepare(
                        "INSERT INTO f\(family) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = ?2")
                inserts[family] = made
                lastInsert = (family, made)
                return made
            }

            func forget(_ family: UInt64) {
                inserts[family] = nil
                lastInsert = nil
            }

            func select(_ family: UInt64) throws -> OpaquePointer {
                let made = try selects[family] ?? prepare("SELECT v FROM f\(family) WHERE k = ?1")
                selects[family] = made
                return made
            }

            func range(_ family: UInt64) throws -> OpaquePointer {
                let made = try scans[family] ?? prepare("SELECT k, v FROM f\(family) WHERE k >= ?1 ORDER BY k")
                scans[family] = made
                return made
            }
        }

        private final class Writer: SubjectWriter {
            private let owner: RawSQLite

            init(_ owner: RawSQLite) { self.owner = owner }

            func write(_ puts: PutBatch, synced: Bool) throws {
                try owner.transact(synced: synced) { connection in
                    for put in puts.puts {
                        let statement = try connection.insert(put.family)
                        let code = put.key.withUnsafeBytes { key in
                            puts.values[put.value].withUnsafeBytes { value in
                                bind(statement, 1, key)
                                bind(statement, 2, value)
                                return sqlite3_step(statement)
                            }
                        }
                        sqlite3_reset(statement)
                        try connection.check(code)
                    }
                }
            }
        }

        private final class View: SubjectView {
            private let owner: RawSQLite
            private let connection: Connection
            private var begin: OpaquePointer?
            private var last: (family: UInt64, statement: OpaquePointer)?

            init(_ owner: RawSQLite) throws {
                self.owner = owner
                connection = try owner.takeReader()
                try connection.step(&connection.begin, "BEGIN")
            }

            func close() {
                try? connection.step(&connection.commit, "COMMIT")
                owner.idle.withLock { $0.append(connection) }
            }

            func get(_ family: UInt64, _ key: [UInt8]) throws -> Int? {
                let statement: OpaquePointer
                if let last, last.family == family {
                    statement = last.statement
                } else {
                    statement = try connection.select(family)
                    last = (family, statement)
                }
                defer { sqlite3_reset(statement) }
                let code = key.withUnsafeBytes { key in
                    bind(statement, 1, key)
                    return sqlite3_step(statement)
                }
                guard code == SQLITE_ROW else {
                    try connection.check(code)
                    return nil
                }
                let count = Int(sqlite3_column_bytes(statement, 0))
                copyOut(sqlite3_column_blob(statement, 0), count)
                return count
            }

            func multiGet(_ family: UInt64, _ keys: [[UInt8]]) throws -> Int {
                var found = 0
                for key in keys where try get(family, key) != nil { found += 1 }
                return found
            }

            func scan(_ family: UInt64, from key: [UInt8], count: Int) throws -> Int {
                let statement = try connection.range(family)
                defer { sqlite3_reset(statement) }
                return try key.withUnsafeBytes { key in
                    bind(statement, 1, key)
                    var looks = Looks()
                    for _ in 0..<count {
                        let code = sqlite3_step(statement)
                        try connection.check(code)
                        guard code == SQLITE_ROW else { break }
                        looks.look(column(statement, 0), column(statement, 1))
                    }
                    return looks.finish()
                }
            }
        }
    }

    private func column(_ statement: OpaquePointer, _ index: Int32) -> UnsafeRawBufferPointer {
        let bytes = sqlite3_column_blob(statement, index)
        return UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, index)))
    }

    /// Without a copy: the bytes outlive the step.
    private func bind(_ statement: OpaquePointer, _ place: Int32, _ bytes: UnsafeRawBufferPointer) {
        if bytes.count == 0 {
            sqlite3_bind_zeroblob(statement, place, 0)
        } else {
            sqlite3_bind_blob64(statement, place, bytes.baseAddress, UInt64(bytes.count), nil)
        }
    }
#endif
