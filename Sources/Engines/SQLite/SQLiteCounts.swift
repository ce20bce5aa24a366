#if SQLite
    internal import Synchronization

    /// How large families were when they were last counted. SQLite can tell only by reading the whole table, so a count
    /// serves until a twentieth of the rows may have changed.
    package final class SQLiteCounts: Sendable {
        package init() {}

        private struct Entry {
            /// Operations so far.
            var written: UInt64 = 0
            /// The last count, and how many operations it had seen; `nil`: nothing that could serve.
            var counted: (statistics: FamilyStatistics, written: UInt64)?
        }

        private static let tolerance: UInt64 = 20
        private let entries = Mutex<[FamilyID: Entry]>([:])

        /// A batch has been written.
        package func note(_ batch: WriteBatch) {
            entries.withLock { entries in
                // A family's entry is looked up once for a run of its operations.
                var (family, written, isCleared) = (FamilyID(0), UInt64(0), false)
                func add() {
                    guard written > 0 else { return }
                    entries[family, default: Entry()].written += written
                    if isCleared { entries[family]?.counted = nil }
                }
                for operation in batch.operations {
                    if operation.family != family {
                        add()
                        (family, written, isCleared) = (operation.family, 0, false)
                    }
                    written += 1
                    if operation.kind == .deleteRange || operation.kind == .deleteToEnd { isCleared = true }
                }
                add()
            }
        }

        package func forget(_ family: FamilyID) { entries.withLock { _ = $0.removeValue(forKey: family) } }

        /// The last count if it will do, or what `count` says.
        package func statistics(
            of family: FamilyID, _ count: () throws(EngineError) -> FamilyStatistics
        ) throws(EngineError) -> FamilyStatistics {
            let entry = entries.withLock { $0[family] ?? Entry() }
            if let (statistics, seen) = entry.counted, entry.written - seen <= statistics.keys / Self.tolerance {
                return statistics
            }
            let counted = try count()
            // What is written meanwhile may be in the count or not, and counts as written since.
            entries.withLock { $0[family, default: Entry()].counted = (counted, entry.written) }
            return counted
        }
    }
#endif
