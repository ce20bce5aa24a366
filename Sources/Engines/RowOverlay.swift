#if LMDB || SQLite
    /// The rows of one family that wait for the next transaction, in order. Every snapshot has a copy.
    ///
    /// Keys and values stay where the batches have them; a row is only their place, so that taking a batch in and
    /// writing it out allocates nothing for each row. A row that is written again leaves its old bytes behind until the
    /// overlay is written, which is soon.
    struct RowOverlay: Sendable {
        /// One written or deleted key.
        struct Row: Sendable {
            fileprivate var chunk: Int
            fileprivate var offset: Int
            fileprivate var keyCount: Int
            /// -1: deleted.
            fileprivate var valueCount: Int
        }
        typealias Position = SortedRuns<Row>.Position

        private var chunks: [[UInt8]] = []
        private var rows = SortedRuns<Row>()

        var isEmpty: Bool { rows.isEmpty }
        /// Rows that were written, without the deleted ones.
        var valueCount: Int { rows.runs.reduce(0) { $0 + $1.count { $0.valueCount >= 0 } } }

        /// The bytes of a batch whose operations will be set next.
        mutating func hold(_ bytes: [UInt8]) { chunks.append(bytes) }

        /// A key that lies at `offset` of the bytes held last, and behind it its value; deleted without one.
        mutating func set(offset: Int, keyCount: Int, valueCount: Int?) {
            let row = Row(chunk: chunks.count - 1, offset: offset, keyCount: keyCount, valueCount: valueCount ?? -1)
            let (position, isFound) = show(row) { key, _ in search(key) }
            if isFound { rows[position] = row } else { rows.insert(row, at: position) }
        }

        /// Forgets the key of an operation.
        mutating func forget(_ bytes: [UInt8], _ operation: WriteBatch.Operation) {
            let (position, isFound) = bytes.withUnsafeBytes {
                search(UnsafeRawBufferPointer(rebasing: $0[operation.offset..<operation.offset + operation.keyCount]))
            }
            guard isFound else { return }
            _ = rows.remove(
                from: position, to: SortedRuns<Row>.Position(run: position.run, offset: position.offset + 1))
        }

        func holds(key: UnsafeRawBufferPointer) -> Bool { search(key).isFound }

        /// The first position whose key is not below `key`, and whether it is that key.
        private func search(_ key: UnsafeRawBufferPointer) -> (position: Position, isFound: Bool) {
            // Through a pointer: looking at a chunk would otherwise hold on to each one that it passes.
            chunks.withUnsafeBufferPointer { chunks in
                rows.search { row in
                    chunks[row.chunk].withUnsafeBytes { bytes in
                        compareKeys(
                            UnsafeRawBufferPointer(rebasing: bytes[row.offset..<row.offset + row.keyCount]), key)
                    }
                }
            }
        }

        // MARK: - Reading

        var end: Position { rows.end }
        func lowerBound(_ key: [UInt8]) -> Position { key.withUnsafeBytes { search($0).position } }
        func position(after position: Position) -> Position { rows.position(after: position) }
        func position(before position: Position) -> Position? { rows.position(before: position) }
        /// Is there a row at this position, and not the end?
        func holds(_ position: Position) -> Bool { rows.holds(position) }

        /// Shows the row at a position that holds one; a deleted one has no value.
        func show<Result>(
            _ position: Position, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Result
        ) -> Result {
            show(rows[position], body)
        }

        private func show<Result>(
            _ row: Row, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Result
        ) -> Result {
            chunks[row.chunk].withUnsafeBytes { bytes in
                let valueStart = row.offset + row.keyCount
                let key = UnsafeRawBufferPointer(rebasing: bytes[row.offset..<valueStart])
                guard row.valueCount >= 0 else { return body(key, nil) }
                return body(key, UnsafeRawBufferPointer(rebasing: bytes[valueStart..<valueStart + row.valueCount]))
            }
        }

        enum Found: Equatable { case absent, deleted, value([UInt8]) }

        func find(_ key: [UInt8]) -> Found {
            let (position, isFound) = key.withUnsafeBytes { search($0) }
            guard isFound else { return .absent }
            return show(position) { _, value in value.map { .value(Array($0)) } ?? .deleted }
        }

        /// Shows every row in order.
        func forEach(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) throws(EngineError) -> Void
        ) throws(EngineError) {
            for run in rows.runs {
                for row in run {
                    var failure: EngineError?
                    show(row) { key, value in
                        do throws(EngineError) { try body(key, value) } catch { failure = error }
                    }
                    if let failure { throw failure }
                }
            }
        }
    }
#endif
