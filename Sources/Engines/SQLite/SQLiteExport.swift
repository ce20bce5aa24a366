#if SQLite
    internal import CSQLite

    /// A family as a SQLite database of its own: `family.db`, with one table `rows` like a family's.
    ///
    /// One INSERT…SELECT takes them from a cursor (`SQLiteFeed`), not from an attached file. That would be complete only
    /// after a COMMIT, which would end the read transaction that the snapshot's other families still need; a file can't
    /// be detached within a transaction, and ten is the most that can be attached. The hash needs to see every row
    /// anyway (decision 0014).
    enum SQLiteExport {
        private static let name = "family.db"

        static func write(
            _ family: FamilyID, from snapshot: any ReadSnapshot, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            let rows = Rows(family, try snapshot.cursor(family, lower: [], upper: nil, reverse: false))
            do {
                let target = try SQLiteConnection(path: "\(directory)/\(name)", readOnly: false)
                // Nobody reads it before it is complete, and nobody keeps it after a crash.
                try target.execute(
                    "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; "
                        + "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -8192; "
                        + "\(SQLiteEngine.makingTable("rows")); BEGIN")
                let insert = try target.prepare(SQLiteConnection.Purpose.load.sql("rows"))
                defer { sqlite3_finalize(insert) }
                try target.run(insert, loading: rows)
                try target.execute("COMMIT")
            }
            return rows.tally.manifest(ChunkFormat.sqlite, [try ExportFile.describe(name, in: directory)])
        }

        /// A family's rows on their way out, counted and hashed.
        private final class Rows: SQLiteRowSource {
            private let family: FamilyID
            private let cursor: any Cursor
            private(set) var tally = FamilyTally()
            /// The row, which the cursor shows for a moment only.
            private var held: UnsafeMutableRawBufferPointer

            init(_ family: FamilyID, _ cursor: any Cursor) {
                self.family = family
                self.cursor = cursor
                held = .allocate(byteCount: 4096, alignment: 1)
            }

            deinit { held.deallocate() }

            func next() throws(EngineError) -> SQLiteRow? {
                let row: SQLiteRow?? = try cursor.next { key, value in
                    tally.add(key: key, value: value) ? hold(key, value) : nil
                }
                guard let row else { return nil }
                guard let row else { throw .corruption(place: "\(family): keys out of order") }
                return row
            }

            private func hold(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> SQLiteRow {
                let count = key.count + value.count
                if count > held.count {
                    held.deallocate()
                    held = .allocate(byteCount: count, alignment: 1)
                }
                held.copyMemory(from: key)
                let behind = UnsafeMutableRawBufferPointer(rebasing: held[key.count..<count])
                behind.copyMemory(from: value)
                return SQLiteRow(
                    key: UnsafeRawBufferPointer(rebasing: held[..<key.count]), value: UnsafeRawBufferPointer(behind))
            }
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

    /// The puts of a batch, one after another.
    final class SQLiteSlice: SQLiteRowSource {
        private var operations: ArraySlice<WriteBatch.Operation>
        private let bytes: UnsafeRawBufferPointer

        /// - Parameter bytes: of the keys and values; they outlive this.
        init(_ operations: [WriteBatch.Operation], _ bytes: UnsafeRawBufferPointer) {
            self.operations = operations[...]
            self.bytes = bytes
        }

        func next() -> SQLiteRow? {
            guard let put = operations.popFirst() else { return nil }
            let valueStart = put.offset + put.keyCount
            return SQLiteRow(
                key: UnsafeRawBufferPointer(rebasing: bytes[put.offset..<valueStart]),
                value: UnsafeRawBufferPointer(rebasing: bytes[valueStart..<valueStart + put.valueCount]))
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
            try engine.load(family, slice, synced: false)
            slice.removeAll()
        }

        func finish() throws(EngineError) {
            try engine.load(family, slice, synced: true)
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
