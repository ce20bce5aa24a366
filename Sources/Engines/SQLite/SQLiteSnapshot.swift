#if SQLite
    internal import CSQLite
    internal import Synchronization

    /// A connection with an open read transaction.
    final class SQLiteSnapshot: ReadSnapshot, @unchecked Sendable {
        private let connection: SQLiteConnection
        private let readers: SQLiteReaders
        private let isClosed = Atomic<Bool>(false)

        init(_ connection: SQLiteConnection, _ readers: SQLiteReaders) {
            self.connection = connection
            self.readers = readers
        }

        deinit { close() }

        func close() {
            guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
            readers.give(connection)
        }

        /// The schema is part of the snapshot: a table that isn't there can't be prepared.
        static func missing(_ family: FamilyID, _ error: EngineError) -> EngineError {
            if case .io(let place, _) = error, place.contains("no such table") { return .familyMissing(family) }
            return error
        }

        func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            let statement: OpaquePointer
            do throws(EngineError) {
                statement = try connection.statement(.get, family)
            } catch {
                throw Self.missing(family, error)
            }
            defer { sqlite3_reset(statement) }
            let code = key.withUnsafeBytes { bytes in
                connection.bind(statement, 1, bytes)
                return sqlite3_step(statement)
            }
            do throws(EngineError) { try connection.check(code, "reading \(family)") } catch {
                throw Self.missing(family, error)
            }
            guard code == SQLITE_ROW else { return nil }
            let value = SQLiteConnection.column(statement, 0)
            let check = key.withUnsafeBytes { RecordCheck.checksum($0, value) }
            guard sqlite3_column_int64(statement, 1) == Int64(check) else {
                throw .corruption(place: "\(family): the value of key \(describe(key)) fails its checksum")
            }
            return Array(value)
        }

        func cursor(
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool
        ) throws(EngineError) -> any Cursor {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            do throws(EngineError) {
                return try SQLiteCursor(
                    self, connection, SQLiteEngine.table(family), lower: lower, upper: upper, reverse: reverse)
            } catch {
                throw Self.missing(family, error)
            }
        }
    }

    private final class SQLiteCursor: Cursor {
        private let owner: SQLiteSnapshot
        private let connection: SQLiteConnection
        private let statement: OpaquePointer
        /// Bound without a copy: must live as long as the statement.
        private let bounds: UnsafeMutableRawBufferPointer
        private var isDone = false

        init(
            _ owner: SQLiteSnapshot, _ connection: SQLiteConnection, _ table: String, lower: [UInt8], upper: [UInt8]?,
            reverse: Bool
        ) throws(EngineError) {
            self.owner = owner
            self.connection = connection
            let end = upper == nil ? "" : " AND k < ?2"
            statement = try connection.prepare(
                "SELECT k, v, c FROM \(table) WHERE k >= ?1\(end) ORDER BY k\(reverse ? " DESC" : "")")
            bounds = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(1, lower.count + (upper?.count ?? 0)), alignment: 1)
            bounds.copyBytes(from: lower + (upper ?? []))
            connection.bind(statement, 1, UnsafeRawBufferPointer(rebasing: bounds[..<lower.count]))
            if let upper {
                connection.bind(
                    statement, 2, UnsafeRawBufferPointer(rebasing: bounds[lower.count..<lower.count + upper.count]))
            }
        }

        deinit {
            sqlite3_finalize(statement)
            bounds.deallocate()
        }

        func next<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result? {
            if isDone { return nil }
            let code = sqlite3_step(statement)
            try connection.check(code, "reading a range")
            guard code == SQLITE_ROW else {
                isDone = true
                return nil
            }
            let key = SQLiteConnection.column(statement, 0)
            let value = SQLiteConnection.column(statement, 1)
            guard sqlite3_column_int64(statement, 2) == Int64(RecordCheck.checksum(key, value)) else {
                throw .corruption(place: "the value of key \(describe(Array(key))) fails its checksum")
            }
            return body(key, value)
        }
    }
#endif
