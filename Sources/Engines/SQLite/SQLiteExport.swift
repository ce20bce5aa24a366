#if SQLite
    internal import CSQLite

    /// A family as a SQLite database of its own: `family.db`, with one table `rows` like a family's.
    ///
    /// Rows go from one connection to the other through this code, not by ATTACH and INSERT…SELECT. An attached file is
    /// complete only after a COMMIT, which would end the read transaction that the snapshot's other families still
    /// need; a file can't be detached within a transaction, and ten is the most that can be attached. The hash needs to
    /// see every row anyway.
    enum SQLiteExport {
        private static let name = "family.db"

        static func write(
            _ family: FamilyID, from snapshot: any ReadSnapshot, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
            var tally = FamilyTally()
            do {
                let target = try SQLiteConnection(path: "\(directory)/\(name)", readOnly: false)
                // Nobody reads it before it is complete, and nobody keeps it after a crash.
                try target.execute(
                    "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
                        + "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -8192; "
                        + "CREATE TABLE rows (k BLOB PRIMARY KEY, v BLOB NOT NULL, c INTEGER NOT NULL) WITHOUT ROWID; "
                        + "BEGIN")
                let insert = try target.prepare("INSERT INTO rows VALUES (?1, ?2, ?3)")
                defer { sqlite3_finalize(insert) }
                while true {
                    let code = try cursor.next { key, value -> Int32 in
                        guard tally.add(key: key, value: value) else { return SQLITE_CORRUPT }
                        target.bind(insert, 1, key)
                        target.bind(insert, 2, value)
                        sqlite3_bind_int64(insert, 3, Int64(RecordCheck.checksum(key, value)))
                        defer { sqlite3_reset(insert) }
                        return sqlite3_step(insert)
                    }
                    guard let code else { break }
                    if code == SQLITE_CORRUPT { throw .corruption(place: "\(family): keys out of order") }
                    try target.check(code, "exporting \(family)")
                }
                try target.execute("COMMIT")
            }
            return tally.manifest(ChunkFormat.sqlite, [try ExportFile.describe(name, in: directory)])
        }

        static func load(
            _ manifest: FamilyManifest, from directory: String, with loader: any FamilyLoader
        ) throws(EngineError) {
            var tally = FamilyTally()
            do throws(EngineError) {
                guard manifest.files.map(\.name) == [name] else {
                    throw .corruption(place: "\(directory): a family of this form is one file, \(name)")
                }
                for path in try ExportFile.verified(manifest, in: directory) {
                    let source = try SQLiteConnection(path: path, readOnly: true)
                    try source.execute("PRAGMA cell_size_check = ON")
                    let rows: OpaquePointer
                    do throws(EngineError) { rows = try source.prepare("SELECT k, v, c FROM rows ORDER BY k") } catch {
                        throw .corruption(place: "\(path): \(error)")
                    }
                    defer { sqlite3_finalize(rows) }
                    while true {
                        let code = sqlite3_step(rows)
                        try source.check(code, "reading \(path)")
                        guard code == SQLITE_ROW else { break }
                        let key = SQLiteConnection.column(rows, 0)
                        let value = SQLiteConnection.column(rows, 1)
                        guard tally.add(key: key, value: value),
                            sqlite3_column_int64(rows, 2) == Int64(RecordCheck.checksum(key, value))
                        else { throw .corruption(place: path) }
                        try loader.add(key: key, value: value)
                    }
                }
                try tally.verify(manifest, directory)
                try loader.finish()
            } catch {
                loader.abandon()
                throw error
            }
        }
    }

    /// Loads sorted rows in transactions of about `sliceBytes`, so that other writers get their turn between them.
    final class SQLiteLoader: FamilyLoader {
        private static let sliceBytes = 1 << 20
        private let engine: SQLiteEngine
        private let family: FamilyID
        private var slice = WriteBatch()

        init(_ engine: SQLiteEngine, _ family: FamilyID) {
            self.engine = engine
            self.family = family
        }

        func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(EngineError) {
            slice.put(family, key: key, value: value)
            guard slice.byteCount >= Self.sliceBytes else { return }
            try engine.load(slice, synced: false)
            slice.removeAll()
        }

        func finish() throws(EngineError) {
            try engine.load(slice, synced: true)
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
