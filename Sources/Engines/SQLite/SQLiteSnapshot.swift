#if SQLite
    internal import CSQLite
    internal import Synchronization

    /// A connection with an open read transaction, and the overlay of what was not in the file yet.
    final class SQLiteSnapshot: ReadSnapshot, @unchecked Sendable {
        private let connection: SQLiteConnection
        private let readers: SQLiteReaders
        private var overlay: Overlay
        private let isClosed = Atomic<Bool>(false)

        init(_ connection: SQLiteConnection, _ readers: SQLiteReaders, _ overlay: Overlay) {
            self.connection = connection
            self.readers = readers
            self.overlay = overlay
        }

        deinit { close() }

        func close() {
            guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
            // Whoever writes next would have to copy what is still looked at.
            overlay = Overlay()
            readers.give(connection)
        }

        /// The schema is part of the snapshot: a table that isn't there can't be prepared.
        static func missing(_ family: FamilyID, _ error: EngineError) -> EngineError {
            if case .io(let place, _) = error, place.contains("no such table") { return .familyMissing(family) }
            return error
        }

        func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            switch overlay.find(family, key) {
            case .value(let value): return value
            case .deleted: return nil
            case .absent: break
            }
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
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
        ) throws(EngineError) -> any Cursor {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            do throws(EngineError) {
                return try SQLiteCursor(
                    self, connection, SQLiteEngine.table(family), overlay[family] ?? RowOverlay(), lower: lower,
                    upper: upper, reverse: reverse, contents)
            } catch {
                throw Self.missing(family, error)
            }
        }
    }

    /// Merges the table's order with the overlay's; at equal keys the overlay is newer.
    private final class SQLiteCursor: Cursor {
        private let owner: SQLiteSnapshot
        private let connection: SQLiteConnection
        private let statement: OpaquePointer
        /// Bound without a copy: must live as long as the statement.
        private let bounds: UnsafeMutableRawBufferPointer
        private let contents: CursorContents
        private(set) var valueBytesRead = 0
        private var isDone = false
        private var walk: OverlayWalk
        /// With an overlay: the statement stands on a row that has not been shown.
        private var isOnRow = false

        init(
            _ owner: SQLiteSnapshot, _ connection: SQLiteConnection, _ table: String, _ overlay: RowOverlay,
            lower: [UInt8], upper: [UInt8]?, reverse: Bool, _ contents: CursorContents
        ) throws(EngineError) {
            self.owner = owner
            self.contents = contents
            walk = OverlayWalk(overlay, lower: lower, upper: upper, reverse: reverse, contents)
            self.connection = connection
            let end = upper == nil ? "" : " AND k < ?2"
            // SQLite reads the overflow pages of a row for the columns that are asked for; the key is never on one.
            let columns = contents == .pairs ? "k, v, c" : "k"
            statement = try connection.prepare(
                "SELECT \(columns) FROM \(table) WHERE k >= ?1\(end) ORDER BY k\(reverse ? " DESC" : "")")
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
            if walk.isEmpty { return try step() ? try show(body) : nil }
            while true {
                if !isOnRow { isOnRow = try step() }
                switch walk.turn(isOnRow ? SQLiteConnection.column(statement, 0) : nil) {
                case .file: return try takeRow(body)
                case .end: return nil
                case .overlay(let hidesFile):
                    if hidesFile { isOnRow = false }
                    if let shown = walk.take(body) { return shown }
                }
            }
        }

        private func takeRow<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result? {
            guard isOnRow else { return nil }
            isOnRow = false
            return try show(body)
        }

        /// Goes to the table's next row; false at its end.
        private func step() throws(EngineError) -> Bool {
            if isDone { return false }
            let code = sqlite3_step(statement)
            try connection.check(code, "reading a range")
            isDone = code != SQLITE_ROW
            return !isDone
        }

        @inline(__always)
        private func show<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result {
            let key = SQLiteConnection.column(statement, 0)
            guard contents == .pairs else { return body(key, .noValue) }
            let value = SQLiteConnection.column(statement, 1)
            guard sqlite3_column_int64(statement, 2) == Int64(RecordCheck.checksum(key, value)) else {
                throw .corruption(place: "the value of key \(describe(Array(key))) fails its checksum")
            }
            valueBytesRead += value.count
            return body(key, value)
        }
    }
#endif
