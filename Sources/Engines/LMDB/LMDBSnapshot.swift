#if LMDB
    internal import CLMDB
    internal import Synchronization

    /// A read transaction with the overlay of batches that are not in the file yet.
    final class LMDBSnapshot: ReadSnapshot, @unchecked Sendable {
        private let environment: LMDBEnvironment
        fileprivate let transaction: OpaquePointer
        private let serial: UInt64
        private let families: FamilyMap<MDB_dbi>
        private var overlay: Overlay
        private let isClosed = Atomic<Bool>(false)

        init(
            _ environment: LMDBEnvironment, _ transaction: (raw: OpaquePointer, id: Int, serial: UInt64),
            _ families: FamilyMap<MDB_dbi>,
            _ overlay: Overlay
        ) {
            self.environment = environment
            self.transaction = transaction.raw
            serial = transaction.serial
            self.families = families
            self.overlay = overlay
        }

        deinit { close() }

        func close() {
            guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
            // Whoever writes next would have to copy what is still looked at.
            overlay = Overlay()
            environment.endReading(transaction, serial: serial)
        }

        private func database(_ family: FamilyID) throws(EngineError) -> MDB_dbi {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            guard let dbi = families[family] else { throw .familyMissing(family) }
            return dbi
        }

        func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
            let dbi = try database(family)
            switch overlay.find(family, key) {
            case .value(let value): return value
            case .deleted: return nil
            case .absent: break
            }
            // LMDB refuses a key that it could never hold; such a key is simply absent.
            guard !key.isEmpty, key.count <= EngineLimits.keyBytesMax else { return nil }
            var value = MDB_val()
            let code = key.withUnsafeBytes { bytes in
                var keyValue = MDB_val(bytes)
                return mdb_get(transaction, dbi, &keyValue, &value)
            }
            if code == MDB_NOTFOUND { return nil }
            try lmdbCheck(code, "reading \(family)")
            guard let checked = key.withUnsafeBytes({ RecordCheck.open($0, value.buffer) }) else {
                throw .corruption(place: "\(family): the value of key \(describe(key)) fails its checksum")
            }
            return Array(checked)
        }

        func cursor(
            _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
        ) throws(EngineError) -> any Cursor {
            try LMDBCursor(
                self, try database(family), overlay[family] ?? RowOverlay(), lower: lower, upper: upper,
                reverse: reverse, contents)
        }

        /// Bytes of pages on LMDB's free list: database 0, whose values are lists of page numbers after their count.
        func freeBytes() throws(EngineError) -> UInt64 {
            if isClosed.load(ordering: .relaxed) { throw .closed }
            var statistics = MDB_stat()
            try lmdbCheck(mdb_stat(transaction, 0, &statistics), "free list")
            var cursor: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(transaction, 0, &cursor), "free list")
            defer { mdb_cursor_close(cursor) }
            var pages: UInt64 = 0
            var key = MDB_val()
            var value = MDB_val()
            while mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS {
                guard value.mv_size >= 8 else { continue }
                // A damaged count is a wrong figure, not a reason to stop.
                pages &+= value.buffer.loadUnaligned(as: UInt64.self)
            }
            return pages &* UInt64(statistics.ms_psize)
        }

        func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            var statistics = MDB_stat()
            try lmdbCheck(mdb_stat(transaction, try database(family), &statistics), "\(family)")
            let pages = statistics.ms_branch_pages + statistics.ms_leaf_pages + statistics.ms_overflow_pages
            let waiting = overlay[family]?.valueCount ?? 0
            return FamilyStatistics(
                keys: UInt64(statistics.ms_entries + waiting), bytes: UInt64(pages) * UInt64(statistics.ms_psize))
        }
    }

    /// Merges the file's order with the overlay's; at equal keys the overlay is newer.
    private final class LMDBCursor: Cursor {
        /// Where the file's cursor stands. Behind a pointer: a scan looks at it for each key.
        private struct Place {
            var key = MDB_val()
            var value = MDB_val()
            var isInFile = true
        }

        private let owner: LMDBSnapshot
        private let cursor: OpaquePointer
        private let place: UnsafeMutablePointer<Place>
        private var walk: OverlayWalk
        private let lower: [UInt8]
        private let upper: [UInt8]?
        private let reverse: Bool
        private let contents: CursorContents
        private(set) var valueBytesRead = 0

        init(
            _ owner: LMDBSnapshot, _ dbi: MDB_dbi, _ overlay: RowOverlay, lower: [UInt8], upper: [UInt8]?,
            reverse: Bool, _ contents: CursorContents
        ) throws(EngineError) {
            self.owner = owner
            self.contents = contents
            walk = OverlayWalk(overlay, lower: lower, upper: upper, reverse: reverse, contents)
            self.lower = lower
            self.upper = upper
            self.reverse = reverse
            var opened: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(owner.transaction, dbi, &opened), "cursor")
            guard let opened else { throw .closed }
            cursor = opened
            place = .allocate(capacity: 1)
            place.initialize(to: Place())
            try seek()
        }

        deinit {
            mdb_cursor_close(cursor)
            place.deallocate()
        }

        private func seek() throws(EngineError) {
            guard reverse else {
                try step(lower.isEmpty ? MDB_FIRST : MDB_SET_RANGE, lower)
                if isShortOf(lower) { try step(MDB_NEXT) }
                return
            }
            guard let upper, !upper.isEmpty else {
                if upper != nil { place.pointee.isInFile = false } else { try step(MDB_LAST) }
                return
            }
            try step(MDB_SET_RANGE, upper)
            if !isShortOf(upper) { try step(place.pointee.isInFile ? MDB_PREV : MDB_LAST) }
        }

        /// A bound longer than any key was cut for the search; the longest key that begins it lies below it.
        private func isShortOf(_ bound: [UInt8]) -> Bool {
            place.pointee.isInFile && bound.count > EngineLimits.keyBytesMax
                && compareKeys(bound, place.pointee.key.buffer) > 0
        }

        private func step(_ operation: MDB_cursor_op, _ from: [UInt8]) throws(EngineError) {
            let code = from.withUnsafeBytes { bytes in
                // LMDB compares with keys of any length here, but would refuse an oversized one.
                if !from.isEmpty {
                    place.pointee.key = MDB_val(
                        UnsafeRawBufferPointer(rebasing: bytes.prefix(EngineLimits.keyBytesMax)))
                }
                return mdb_cursor_get(cursor, &place.pointee.key, &place.pointee.value, operation)
            }
            try settle(code)
        }

        @inline(__always)
        private func step(_ operation: MDB_cursor_op) throws(EngineError) {
            try settle(mdb_cursor_get(cursor, &place.pointee.key, &place.pointee.value, operation))
        }

        @inline(__always)
        private func settle(_ code: Int32) throws(EngineError) {
            place.pointee.isInFile = code == MDB_SUCCESS
            if code != MDB_SUCCESS, code != MDB_NOTFOUND { try lmdbCheck(code, "cursor") }
        }

        /// LMDB gives the place of a value without touching it: large ones have pages of their own.
        private func checkedValue() throws(EngineError) -> UnsafeRawBufferPointer {
            guard contents == .pairs else { return .noValue }
            let key = place.pointee.key.buffer
            guard let checked = RecordCheck.open(key, place.pointee.value.buffer) else {
                throw .corruption(place: "the value of key \(describe(Array(key))) fails its checksum")
            }
            valueBytesRead += checked.count
            return checked
        }

        func next<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result? {
            if walk.isEmpty { return try nextInFile(body) }
            while true {
                switch walk.turn(place.pointee.isInFile ? place.pointee.key.buffer : nil) {
                case .file: return try nextInFile(body)
                case .end: return nil
                case .overlay(let hidesFile):
                    if hidesFile { try step(reverse ? MDB_PREV : MDB_NEXT) }
                    if let shown = walk.take(body) { return shown }
                }
            }
        }

        @inline(__always)
        private func nextInFile<Result>(
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) throws(EngineError) -> Result? {
            guard place.pointee.isInFile, !walk.isOver(place.pointee.key.buffer) else { return nil }
            let result = body(place.pointee.key.buffer, try checkedValue())
            try step(reverse ? MDB_PREV : MDB_NEXT)
            return result
        }
    }
#endif
