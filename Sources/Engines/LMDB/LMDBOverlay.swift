#if LMDB
    /// The rows of one family that wait for the next transaction, in order. A copy costs nothing until one side is
    /// written, and then only the runs that are touched: every snapshot has one.
    ///
    /// Keys and values stay where the batches have them; a row is only their place, so that taking a batch in and
    /// writing it out allocates nothing for each row. A row that is written again leaves its old bytes behind until the
    /// overlay is written, which is soon.
    struct LMDBOverlay: Sendable {
        /// One written or deleted key.
        private struct Row: Sendable {
            var chunk: Int
            var offset: Int
            var keyCount: Int
            /// -1: deleted.
            var valueCount: Int
        }

        /// Where a row is: run, then place in the run.
        struct Position: Equatable, Sendable {
            var run: Int
            var offset: Int
        }

        private static let runMax = 256
        private var chunks: [[UInt8]] = []
        /// Never empty, any of them.
        private var runs: [[Row]] = []

        var isEmpty: Bool { runs.isEmpty }
        /// Rows that were written, without the deleted ones.
        var valueCount: Int { runs.reduce(0) { $0 + $1.count { $0.valueCount >= 0 } } }

        /// The bytes of a batch whose operations will be set next.
        mutating func hold(_ bytes: [UInt8]) { chunks.append(bytes) }

        /// A key that lies at `offset` of the bytes held last, and behind it its value; deleted without one.
        mutating func set(offset: Int, keyCount: Int, valueCount: Int?) {
            let row = Row(chunk: chunks.count - 1, offset: offset, keyCount: keyCount, valueCount: valueCount ?? -1)
            var (position, isFound) = chunks[row.chunk].withUnsafeBytes { bytes in
                search(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + keyCount]))
            }
            if isFound {
                runs[position.run][position.offset] = row
                return
            }
            if position.run == runs.count {
                guard let last = runs.indices.last else {
                    runs.append([row])
                    return
                }
                position = Position(run: last, offset: runs[last].count)
            }
            runs[position.run].insert(row, at: position.offset)
            if runs[position.run].count > Self.runMax {
                let half = runs[position.run].count / 2
                let tail = Array(runs[position.run][half...])
                runs[position.run].removeSubrange(half...)
                runs.insert(tail, at: position.run + 1)
            }
        }

        /// The first position whose key is not below `key`, and whether it is that key.
        private func search(_ key: UnsafeRawBufferPointer) -> (position: Position, isFound: Bool) {
            // Through pointers: looking at a run or a chunk would otherwise hold on to each one that it passes.
            chunks.withUnsafeBufferPointer { chunks in
                runs.withUnsafeBufferPointer { runs in
                    func order(_ row: Row) -> Int {
                        chunks[row.chunk].withUnsafeBytes { bytes in
                            compareKeys(
                                UnsafeRawBufferPointer(rebasing: bytes[row.offset..<row.offset + row.keyCount]), key)
                        }
                    }
                    var low = 0
                    var high = runs.count
                    while low < high {
                        let middle = (low + high) / 2
                        if order(runs[middle][runs[middle].count - 1]) < 0 { low = middle + 1 } else { high = middle }
                    }
                    guard low < runs.count else { return (Position(run: runs.count, offset: 0), false) }
                    return runs[low].withUnsafeBufferPointer { rows in
                        var first = 0
                        var last = rows.count
                        var isFound = false
                        while first < last {
                            let middle = (first + last) / 2
                            let found = order(rows[middle])
                            if found < 0 {
                                first = middle + 1
                            } else {
                                last = middle
                                isFound = found == 0
                            }
                        }
                        return (Position(run: low, offset: first), isFound)
                    }
                }
            }
        }

        // MARK: - Reading

        var end: Position { Position(run: runs.count, offset: 0) }

        func lowerBound(_ key: [UInt8]) -> Position { key.withUnsafeBytes { search($0).position } }

        func position(after position: Position) -> Position {
            position.offset + 1 < runs[position.run].count
                ? Position(run: position.run, offset: position.offset + 1) : Position(run: position.run + 1, offset: 0)
        }

        func position(before position: Position) -> Position? {
            if position.offset > 0 { return Position(run: position.run, offset: position.offset - 1) }
            guard position.run > 0 else { return nil }
            return Position(run: position.run - 1, offset: runs[position.run - 1].count - 1)
        }

        /// Is there a row at this position, and not the end?
        func holds(_ position: Position) -> Bool { position.run < runs.count }

        /// Shows the row at a position that holds one; a deleted one has no value.
        func show<Result>(
            _ position: Position, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Result
        ) -> Result {
            show(runs[position.run][position.offset], body)
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
            for run in runs {
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
