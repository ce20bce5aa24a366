#if SQLite
    internal import CSQLite

    /// A row for `SQLiteFeed`. The bytes stay until the source is asked for the next one.
    package struct SQLiteRow {
        package var key: UnsafeRawBufferPointer
        package var value: UnsafeRawBufferPointer

        package init(
            key: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
            value: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
        ) {
            self.key = key
            self.value = value
        }
    }

    package protocol SQLiteRowSource: AnyObject {
        /// The next row; none at the end.
        func next() throws(EngineError) -> SQLiteRow?
    }

    /// Rows of our own as a table that SQLite reads: `INSERT … SELECT` from it puts any number of rows, in order, in one
    /// statement.
    ///
    /// A statement for each row would begin and end as often, and look for its place from the root each time; one
    /// statement stays where it wrote last. See <https://www.sqlite.org/vtab.html>, "eponymous-only".
    final class SQLiteFeed {
        /// The virtual table, with the columns `k`, `v` and `c` of a family's table.
        static let table = "feed"

        private var source: (any SQLiteRowSource)?
        private var row: SQLiteRow?
        private var failure: EngineError?

        /// Makes the table known to a connection, which must not outlive the feed.
        init(on connection: OpaquePointer) {
            sqlite3_create_module(connection, Self.table, Self.module, Unmanaged.passUnretained(self).toOpaque())
        }

        /// Runs a statement that reads the table once.
        ///
        /// - Returns: SQLite's result code.
        /// - Throws: what the source threw.
        func run(_ statement: OpaquePointer, reading source: some SQLiteRowSource) throws(EngineError) -> Int32 {
            self.source = source
            defer {
                self.source = nil
                row = nil
                failure = nil
            }
            let code = sqlite3_step(statement)
            sqlite3_reset(statement)
            if let failure { throw failure }
            return code
        }

        private func advance() -> Int32 {
            do throws(EngineError) {
                row = try source?.next()
                return SQLITE_OK
            } catch {
                (row, failure) = (nil, error)
                return SQLITE_ERROR
            }
        }

        private func show(_ column: Int32, to context: OpaquePointer?) {
            guard let row else { return }
            switch column {
            case 0: Self.result(row.key, to: context)
            case 1: Self.result(row.value, to: context)
            default: sqlite3_result_int64(context, Int64(RecordCheck.checksum(row.key, row.value)))
            }
        }

        private static func result(_ bytes: UnsafeRawBufferPointer, to context: OpaquePointer?) {
            // A null pointer would be NULL; an empty blob is a value.
            if bytes.count == 0 {
                sqlite3_result_zeroblob(context, 0)
            } else {
                sqlite3_result_blob64(context, bytes.baseAddress, UInt64(bytes.count), sqliteStatic)
            }
        }

        /// The feed that a virtual table of this module belongs to.
        private static func of(_ table: UnsafeMutablePointer<sqlite3_vtab>?) -> SQLiteFeed? {
            guard let feed = UnsafeMutableRawPointer(table)?.load(as: flotilla_feed_table.self).feed else { return nil }
            return Unmanaged<SQLiteFeed>.fromOpaque(feed).takeUnretainedValue()
        }

        /// SQLite's interface to the table. It holds no state and is never freed.
        private nonisolated(unsafe) static let module: UnsafePointer<sqlite3_module> = {
            var module = sqlite3_module()
            module.xConnect = { connection, feed, _, _, made, _ in
                let code = sqlite3_declare_vtab(connection, "CREATE TABLE feed (k BLOB, v BLOB, c INTEGER)")
                guard code == SQLITE_OK else { return code }
                let table = UnsafeMutablePointer<flotilla_feed_table>.allocate(capacity: 1)
                table.initialize(to: flotilla_feed_table(base: sqlite3_vtab(), feed: feed))
                made?.pointee = UnsafeMutableRawPointer(table).assumingMemoryBound(to: sqlite3_vtab.self)
                return SQLITE_OK
            }
            module.xDisconnect = { table in
                UnsafeMutableRawPointer(table)?.assumingMemoryBound(to: flotilla_feed_table.self).deallocate()
                return SQLITE_OK
            }
            module.xBestIndex = { _, _ in SQLITE_OK }
            module.xOpen = { _, made in
                let cursor = UnsafeMutablePointer<sqlite3_vtab_cursor>.allocate(capacity: 1)
                cursor.initialize(to: sqlite3_vtab_cursor())
                made?.pointee = cursor
                return SQLITE_OK
            }
            module.xClose = { cursor in
                cursor?.deallocate()
                return SQLITE_OK
            }
            module.xFilter = { cursor, _, _, _, _ in of(cursor?.pointee.pVtab)?.advance() ?? SQLITE_INTERNAL }
            module.xNext = { cursor in of(cursor?.pointee.pVtab)?.advance() ?? SQLITE_INTERNAL }
            module.xEof = { cursor in of(cursor?.pointee.pVtab)?.row == nil ? 1 : 0 }
            module.xColumn = { cursor, context, column in
                of(cursor?.pointee.pVtab)?.show(column, to: context)
                return SQLITE_OK
            }
            module.xRowid = { _, row in
                row?.pointee = 0
                return SQLITE_OK
            }
            let kept = UnsafeMutablePointer<sqlite3_module>.allocate(capacity: 1)
            kept.initialize(to: module)
            return UnsafePointer(kept)
        }()
    }
#endif
