#if SQLite
    internal import CSQLite
    internal import Synchronization

    /// A connection with an open read transaction, and the overlay of what was not in the file yet.
    final class SQLiteSnapshot: ReadSnapshot, @unchecked Sendable {
        private let connection: SQLiteConnection
        private let readers: SQLiteReaders
        private let overlay: Overlay
        private let isClosed = Atomic<Bool>(false)

        init(_ connection: SQLiteConnection, _ readers: SQLiteReaders, _ overlay: Overlay) {
            self.connection = connection
            self.readers = readers
            self.overlay = overlay
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
            if !overlay.isEmpty, let rows = overlay[family] {
                switch rows.find(key) {
                case .value(let value): return value
                case .deleted: return nil
                case .absent: break
                }
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
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool
        ) throws(EngineError) -> any Cursor {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            do throws(EngineError) {
                return try SQLiteCursor(
                    self, connection, SQLiteEngine.table(family), overlay[family] ?? RowOverlay(), lower: lower,
                    upper: upper, reverse: reverse)
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
        private var isDone = false
        private let overlay: RowOverlay
        private let hasOverlay: Bool
        private let lower: [UInt8]
        private let upper: [UInt8]?
        private let reverse: Bool
        private var overlayPosition: RowOverlay.Position?
        /// With an overlay: the statement stands on a row that has not been shown.
        private var isOnRow = false

        init(
            _ owner: SQLiteSnapshot, _ connection: SQLiteConnection, _ table: String, _ overlay: RowOverlay,
            lower: [UInt8], upper: [UInt8]?, reverse: Bool
        ) throws(EngineError) {
            self.owner = owner
            self.overlay = overlay
            hasOverlay = !overlay.isEmpty
            self.lower = lower
            self.upper = upper
            self.reverse = reverse
            let overlayEnd = upper.map { overlay.lowerBound($0) } ?? overlay.end
            overlayPosition = reverse ? overlay.position(before: overlayEnd) : overlay.lowerBound(lower)
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
            guard hasOverlay else { return try step() ? try show(body) : nil }
            while true {
                if !isOnRow { isOnRow = try step() }
                guard let waiting = overlayPosition, overlay.holds(waiting) else { return try takeRow(body) }
                let (order, isPast) = overlay.show(waiting) { key, _ -> (Int, Bool) in
                    (
                        isOnRow ? compareKeys(key, SQLiteConnection.column(statement, 0)) : (reverse ? 1 : -1),
                        isOver(key)
                    )
                }
                if order != 0, (order > 0) != reverse { return try takeRow(body) }
                // Behind the bounds, and no row of the table is before it.
                if isPast { return nil }
                overlayPosition = reverse ? overlay.position(before: waiting) : overlay.position(after: waiting)
                // The table's row is older.
                if order == 0 { isOnRow = false }
                let shown: Result? = overlay.show(waiting) { key, value in value.map { body(key, $0) } }
                if let shown { return shown }
            }
        }

        private func isOver(_ key: UnsafeRawBufferPointer) -> Bool {
            if reverse { return compareKeys(lower, key) > 0 }
            guard let upper else { return false }
            return compareKeys(upper, key) <= 0
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
            let value = SQLiteConnection.column(statement, 1)
            guard sqlite3_column_int64(statement, 2) == Int64(RecordCheck.checksum(key, value)) else {
                throw .corruption(place: "the value of key \(describe(Array(key))) fails its checksum")
            }
            return body(key, value)
        }
    }
#endif
