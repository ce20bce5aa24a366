#if LMDB || SQLite
    /// The rows of one family that wait for the next transaction, in order. Every snapshot has a copy.
    ///
    /// Keys and values stay where the batches have them; a row is only their place, so that taking a batch in and
    /// writing it out allocates nothing for each row. A row that is written again leaves its old bytes behind until the
    /// overlay is written, which is soon.
    package struct RowOverlay: Sendable {
        /// One written or deleted key.
        struct Row: Sendable {
            /// The key's bytes behind `start`, as a number: most comparisons need no more, and no look at the key itself.
            fileprivate var prefix: UInt64
            fileprivate var chunk: UInt32
            fileprivate var offset: UInt32
            fileprivate var keyCount: UInt32
            /// -1: deleted.
            fileprivate var valueCount: Int32

            fileprivate var keyRange: Range<Int> { Int(offset)..<Int(offset) + Int(keyCount) }
        }
        typealias Position = SortedRuns<Row>.Position

        private var chunks: [[UInt8]] = []
        private var rows = SortedRuns<Row>()
        /// What all keys begin with: those of one family often share much.
        private var start: [UInt8] = []

        var isEmpty: Bool { rows.isEmpty }
        /// Rows that were written, without the deleted ones.
        var valueCount: Int { rows.runs.reduce(0) { $0 + $1.count { $0.valueCount >= 0 } } }

        /// The bytes of a batch whose operations will be set next.
        mutating func hold(_ bytes: [UInt8]) { chunks.append(bytes) }

        /// A key that lies at `offset` of the bytes held last, and behind it its value; deleted without one.
        mutating func set(offset: Int, keyCount: Int, valueCount: Int?) {
            var row = Row(
                prefix: 0, chunk: UInt32(chunks.count - 1), offset: UInt32(offset), keyCount: UInt32(keyCount),
                valueCount: valueCount.map { Int32($0) } ?? -1)
            let chunk = chunks[chunks.count - 1]
            let (position, isFound) = chunk.withUnsafeBytes { bytes in
                let key = UnsafeRawBufferPointer(rebasing: bytes[row.keyRange])
                share(key)
                row.prefix = Self.prefix(of: key, behind: start.count)
                return search(key, isStarted: true)
            }
            if isFound { rows[position] = row } else { rows.insert(row, at: position) }
        }

        /// Shortens `start` to what a new key shares of it.
        @inline(__always)
        private mutating func share(_ key: UnsafeRawBufferPointer) {
            if rows.isEmpty {
                start = Array(key)
            } else if !isStarted(key) {
                start.removeLast(start.count - zip(start, key).prefix { $0 == $1 }.count)
                let (chunks, count) = (chunks, start.count)
                rows.updateAll { row in
                    row.prefix = chunks[Int(row.chunk)].withUnsafeBytes {
                        Self.prefix(of: UnsafeRawBufferPointer(rebasing: $0[row.keyRange]), behind: count)
                    }
                }
            }
        }

        @inline(__always)
        private func isStarted(_ key: UnsafeRawBufferPointer) -> Bool {
            key.count >= start.count
                && start.withUnsafeBytes { compareKeys($0, UnsafeRawBufferPointer(rebasing: key[..<$0.count])) == 0 }
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
            search(key, isStarted: isStarted(key))
        }

        @inline(__always)
        private func search(
            _ key: UnsafeRawBufferPointer, isStarted: Bool
        ) -> (position: Position, isFound: Bool) {
            let prefix = isStarted ? Self.prefix(of: key, behind: start.count) : 0
            // Through a pointer: looking at a chunk would otherwise hold on to each one that it passes.
            return chunks.withUnsafeBufferPointer { chunks in
                rows.search { row in
                    if isStarted, row.prefix != prefix { return row.prefix < prefix ? -1 : 1 }
                    return chunks[Int(row.chunk)].withUnsafeBytes { bytes in
                        compareKeys(UnsafeRawBufferPointer(rebasing: bytes[row.keyRange]), key)
                    }
                }
            }
        }

        /// Eight bytes, the first one the highest; zeros where the key has none. Of keys that begin alike up to there,
        /// those with different ones are in their order.
        @inline(__always)
        private static func prefix(of key: UnsafeRawBufferPointer, behind count: Int) -> UInt64 {
            let rest = key.count - count
            if rest >= 8 { return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: count, as: UInt64.self)) }
            var prefix: UInt64 = 0
            withUnsafeMutableBytes(of: &prefix) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: key[count...])) }
            return UInt64(bigEndian: prefix)
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
            chunks[Int(row.chunk)].withUnsafeBytes { bytes in
                let keyRange = row.keyRange
                let key = UnsafeRawBufferPointer(rebasing: bytes[keyRange])
                guard row.valueCount >= 0 else { return body(key, nil) }
                let valueRange = keyRange.upperBound..<keyRange.upperBound + Int(row.valueCount)
                return body(key, UnsafeRawBufferPointer(rebasing: bytes[valueRange]))
            }
        }

        package enum Found: Equatable { case absent, deleted, value([UInt8]) }

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
