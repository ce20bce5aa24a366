#if LMDB || SQLite
    /// What has been written and is not in the engine's file yet, for engines whose file takes a sync, or many random
    /// pages, with each transaction. Every snapshot has a copy and sees it over what the file holds.
    ///
    /// It is written as a whole, in one transaction, so that a crash leaves all of it or nothing: a prefix of what was
    /// written in either case.
    package struct Overlay: Sendable {
        /// What becomes of a batch.
        enum Course {
            /// It waits here.
            case wait
            /// What waits is written first; then the batch waits here.
            case flushAndWait
            /// What may not lag is written, and the rest waits here.
            case logAndWait
            /// What waits is written, and then the batch, or both together.
            case write
        }

        /// With a buffered batch no more than this waits.
        static let bytesMax = 8 << 20
        /// With a logged one no more than this: whoever writes the next waits until all of it is in the file.
        static let laggingBytesMax = 4 << 20

        private var families: [FamilyID: RowOverlay] = [:]
        /// About the memory that it takes.
        private var bytes = 0

        package init() {}

        var isEmpty: Bool { families.isEmpty }
        subscript(family: FamilyID) -> RowOverlay? { families[family] }

        package func find(_ family: FamilyID, _ key: [UInt8]) -> RowOverlay.Found {
            guard !families.isEmpty, let rows = families[family] else { return .absent }
            return rows.find(key)
        }

        func course(of batch: WriteBatch, _ durability: Durability) -> Course {
            // What a range deletes in the file isn't known here.
            guard durability != .synced, batch.isPointwise else { return .write }
            let more = batch.waitingBytes(durability)
            switch durability {
            case .synced: return .write
            case .buffered:
                if more > Self.bytesMax { return .write }
                return bytes + more > Self.bytesMax && bytes > 0 ? .flushAndWait : .wait
            case .logged:
                // What is logged must not lie in the file under an older row that waits.
                return bytes + more > Self.laggingBytesMax || holdsLogged(batch) ? .write : .logAndWait
            }
        }

        private func holdsLogged(_ batch: WriteBatch) -> Bool {
            guard !families.isEmpty else { return false }
            var holds = false
            batch.forEachOperation { (operation, key, _) throws(Never) in
                if !holds, !operation.mayLag, let rows = families[operation.family] { holds = rows.holds(key: key) }
            }
            return holds
        }

        /// Takes in a batch, or of a logged one the operations that may lag.
        package mutating func add(_ batch: WriteBatch, _ durability: Durability) {
            // A family's rows are taken out while a run of its operations goes in, not looked up for each.
            var current: (family: FamilyID, rows: RowOverlay)?
            var held: Set<FamilyID> = []
            let kept = batch.keepableBytes
            for operation in batch.operations {
                precondition(
                    operation.kind == .put || operation.kind == .delete, "range deletes don't wait in the overlay")
                if durability == .logged, !operation.mayLag {
                    // Written in the file, and newer than what the batch itself may have put before.
                    if current?.family == operation.family {
                        current?.rows.forget(kept, operation)
                    } else {
                        families[operation.family]?.forget(kept, operation)
                    }
                    continue
                }
                if current?.family != operation.family {
                    if let current { families[current.family] = current.rows }
                    var rows = families.removeValue(forKey: operation.family) ?? RowOverlay()
                    if held.insert(operation.family).inserted { rows.hold(kept) }
                    current = (operation.family, rows)
                }
                current?.rows.set(
                    offset: operation.offset, keyCount: operation.keyCount,
                    valueCount: operation.kind == .put ? operation.valueCount : nil)
            }
            if let current { families[current.family] = current.rows }
            bytes += batch.waitingBytes(durability)
        }

        mutating func removeAll() {
            families = [:]
            bytes = 0
        }

        /// Shows every row, family by family and in order; a deleted one has no value.
        package func forEach(
            _ body: (FamilyID, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) throws(EngineError) ->
                Void
        ) throws(EngineError) {
            for (family, rows) in families {
                try rows.forEach { (key, value) throws(EngineError) in try body(family, key, value) }
            }
        }
    }
#endif
