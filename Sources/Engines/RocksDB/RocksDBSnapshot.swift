#if RocksDB
    internal import CRocksDB
    internal import Synchronization

    final class RocksSnapshot: ReadSnapshot, @unchecked Sendable {
        private let database: RocksDatabase
        private let families: FamilyMap<RocksFamily>
        private let snapshot: OpaquePointer
        private let options: OpaquePointer
        private let isClosed = Atomic<Bool>(false)

        init(_ database: RocksDatabase, _ families: FamilyMap<RocksFamily>) {
            self.database = database
            self.families = families
            snapshot = rocksdb_create_snapshot(database.raw)
            options = rocksdb_readoptions_create()
            rocksdb_readoptions_set_snapshot(options, snapshot)
        }

        deinit { close() }

        func close() {
            guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
            rocksdb_readoptions_destroy(options)
            rocksdb_release_snapshot(database.raw, snapshot)
        }

        private func handle(_ family: FamilyID) throws(EngineError) -> RocksFamily {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            guard let handle = families[family] else { throw .familyMissing(family) }
            return handle
        }

        func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
            let handle = try handle(family)
            let pinned = try rocksCall("reading \(family)") { error in
                key.withUnsafeBytes {
                    rocksdb_get_pinned_cf(database.raw, options, handle.raw, $0.chars, $0.count, error)
                }
            }
            guard let pinned else { return nil }
            defer { rocksdb_pinnableslice_destroy(pinned) }
            var count = 0
            let bytes = rocksdb_pinnableslice_value(pinned, &count)
            return Array(UnsafeRawBufferPointer(start: bytes, count: count))
        }

        /// One call for all keys: RocksDB shares the search of each table among them.
        func multiGet(_ family: FamilyID, keys: [[UInt8]]) throws(EngineError) -> [[UInt8]?] {
            let handle = try handle(family)
            guard keys.count > 1 else { return keys.isEmpty ? [] : [try get(family, key: keys[0])] }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(keys.reduce(0) { $0 + $1.count })
            for key in keys { bytes.append(contentsOf: key) }
            let sizes = keys.map(\.count)
            var values = [OpaquePointer?](repeating: nil, count: keys.count)
            var messages = [UnsafeMutablePointer<CChar>?](repeating: nil, count: keys.count)
            bytes.withUnsafeBytes { all in
                var starts: [UnsafePointer<CChar>?] = []
                starts.reserveCapacity(keys.count)
                var offset = 0
                for size in sizes {
                    starts.append(all.chars.map { $0 + offset })
                    offset += size
                }
                rocksdb_batched_multi_get_cf(
                    database.raw, options, handle.raw, keys.count, starts, sizes, &values, &messages, false)
            }
            var found: [[UInt8]?] = []
            found.reserveCapacity(keys.count)
            var failure: EngineError?
            for (value, message) in zip(values, messages) {
                if let message {
                    failure = rocksError(String(cString: message), "reading \(family)")
                    rocksdb_free(message)
                }
                guard let value else {
                    found.append(nil)
                    continue
                }
                var count = 0
                let start = rocksdb_pinnableslice_value(value, &count)
                found.append(Array(UnsafeRawBufferPointer(start: start, count: count)))
                rocksdb_pinnableslice_destroy(value)
            }
            if let failure { throw failure }
            return found
        }

        func cursor(
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
        ) throws(EngineError) -> any Cursor {
            RocksCursor(
                try handle(family), database: database, snapshot: snapshot, owner: self, lower: lower, upper: upper,
                reverse: reverse, contents)
        }
    }

    extension RocksSnapshot {
        /// Runs `body` over a fresh iterator.
        func withIterator(
            _ family: FamilyID, fillsCache: Bool, _ body: (OpaquePointer) throws(EngineError) -> Void
        ) throws(EngineError) {
            let handle = try handle(family)
            let options = rocksMade(rocksdb_readoptions_create())
            defer { rocksdb_readoptions_destroy(options) }
            rocksdb_readoptions_set_snapshot(options, snapshot)
            rocksdb_readoptions_set_fill_cache(options, fillsCache ? 1 : 0)
            rocksdb_readoptions_set_readahead_size(options, 1 << 20)
            let iterator = rocksMade(rocksdb_create_iterator_cf(database.raw, options, handle.raw))
            defer { rocksdb_iter_destroy(iterator) }
            try body(iterator)
        }
    }

    private final class RocksCursor: Cursor {
        private let iterator: OpaquePointer
        private let options: OpaquePointer
        private let owner: RocksSnapshot
        private let family: RocksFamily
        private let lower: [UInt8]
        private let upper: [UInt8]?
        private let reverse: Bool
        private let contents: CursorContents
        private(set) var valueBytesRead = 0
        /// The row under the iterator has been shown. It goes on when the next one is wanted: that may read megabytes.
        private var isShown = false

        init(
            _ family: RocksFamily, database: RocksDatabase, snapshot: OpaquePointer, owner: RocksSnapshot,
            lower: [UInt8], upper: [UInt8]?, reverse: Bool, _ contents: CursorContents
        ) {
            self.contents = contents
            self.family = family
            self.owner = owner
            self.lower = lower
            self.upper = upper
            self.reverse = reverse
            options = rocksdb_readoptions_create()
            rocksdb_readoptions_set_snapshot(options, snapshot)
            // Without total order the iterator could skip what a bloom prefix hides; we use none, but say so.
            rocksdb_readoptions_set_total_order_seek(options, 1)
            iterator = rocksdb_create_iterator_cf(database.raw, options, family.raw)
            if reverse {
                if let upper {
                    // The last key below `upper`: at or before it, and one back if it is `upper` itself.
                    upper.withUnsafeBytes { rocksdb_iter_seek_for_prev(iterator, $0.chars, $0.count) }
                    if rocksdb_iter_valid(iterator) != 0, compareKeys(key, upper) >= 0 { rocksdb_iter_prev(iterator) }
                } else {
                    rocksdb_iter_seek_to_last(iterator)
                }
            } else if lower.isEmpty {
                rocksdb_iter_seek_to_first(iterator)
            } else {
                lower.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.chars, $0.count) }
            }
        }

        deinit {
            rocksdb_iter_destroy(iterator)
            rocksdb_readoptions_destroy(options)
        }

        private var key: [UInt8] {
            var count = 0
            let bytes = rocksdb_iter_key(iterator, &count)
            return Array(UnsafeRawBufferPointer(start: bytes, count: count))
        }

        /// A key's block has its value too, which was read with it; this copies nothing.
        private func value() -> UnsafeRawBufferPointer {
            var count = 0
            let bytes = rocksdb_iter_value(iterator, &count)
            valueBytesRead += count
            return contents == .pairs ? UnsafeRawBufferPointer(start: bytes, count: count) : .noValue
        }

        func next<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result? {
            if isShown {
                isShown = false
                if reverse { rocksdb_iter_prev(iterator) } else { rocksdb_iter_next(iterator) }
            }
            guard rocksdb_iter_valid(iterator) != 0 else {
                try rocksCall("reading a range") { rocksdb_iter_get_error(iterator, $0) }
                return nil
            }
            var keyCount = 0
            let keyBytes = UnsafeRawBufferPointer(start: rocksdb_iter_key(iterator, &keyCount), count: keyCount)
            let isOver =
                reverse
                ? lower.withUnsafeBytes { compareKeys(keyBytes, $0) < 0 }
                : upper.map { $0.withUnsafeBytes { compareKeys(keyBytes, $0) >= 0 } } ?? false
            if isOver { return nil }
            isShown = true
            return body(keyBytes, value())
        }
    }
#endif
