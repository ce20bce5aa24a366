#if LMDB
    package import CLMDB
    internal import Glibc
    internal import Synchronization

    @inline(__always)
    func lmdbCheck(_ code: Int32, _ place: @autoclosure () -> String) throws(EngineError) {
        if code != MDB_SUCCESS { throw lmdbError(code, place()) }
    }

    private func lmdbError(_ code: Int32, _ place: String) -> EngineError {
        switch code {
        case MDB_MAP_FULL, ENOSPC, EDQUOT: return .noSpace(place: place)
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_PANIC:
            return .corruption(place: "\(place): \(String(cString: mdb_strerror(code)))")
        default: return .io(place: "\(place): \(String(cString: mdb_strerror(code)))", errno: code)
        }
    }

    extension MDB_val {
        package init(_ bytes: UnsafeRawBufferPointer) {
            self.init(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
        }
        var buffer: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: mv_data, count: mv_size) }
    }

    /// The environment. Snapshots hold on to it, so it closes after the last of them.
    final class LMDBEnvironment: @unchecked Sendable {
        let raw: OpaquePointer
        private let path: String
        /// Finished read transactions, to be renewed: cheaper than new ones.
        private let idle = Mutex<[UnsafeSendablePointer]>([])
        private static let idleMax = 16
        /// Open snapshots, numbered in the order in which they began.
        private let readers = Mutex<(next: UInt64, open: Set<UInt64>)>((1, []))
        private static let databasesMax: UInt32 = 8192
        struct UnsafeSendablePointer: @unchecked Sendable { let value: OpaquePointer }

        /// The map is made so large that it never has to grow, which LMDB could do only while nobody reads. Address
        /// space costs nothing; where it is scarce a smaller map does, and a full one says "no space".
        static let mapBytes = [1 << 40, 1 << 36, 1 << 32]

        init(path: String, readOnly: Bool, mapBytes: [Int]) throws(EngineError) {
            self.path = path
            try LMDBFile.check(directory: path, isWritten: !readOnly)
            var opened: OpaquePointer?
            var last: Int32 = 0
            for size in mapBytes {
                var environment: OpaquePointer?
                try lmdbCheck(mdb_env_create(&environment), path)
                guard let environment else { throw .io(place: path, errno: ENOMEM) }
                mdb_env_set_mapsize(environment, size)
                mdb_env_set_maxdbs(environment, Self.databasesMax)
                mdb_env_set_maxreaders(environment, 512)
                // Tasks and threads pass transactions around: no thread-local reader slots. Who only reads takes no
                // slot at all, because that would change the lock file.
                let flags = MDB_NOTLS | (readOnly ? MDB_RDONLY | MDB_NOLOCK : 0)
                last = mdb_env_open(environment, path, UInt32(flags), 0o600)
                if last == MDB_SUCCESS {
                    opened = environment
                    break
                }
                mdb_env_close(environment)
                if last != ENOMEM { break }
            }
            guard let opened else {
                try lmdbCheck(last, path)
                throw .io(place: path, errno: last)
            }
            raw = opened
            if !readOnly {
                var dead: Int32 = 0
                mdb_reader_check(raw, &dead)
                // What a process left that was killed in the middle of a commit may be in the system's cache alone.
                try lmdbCheck(mdb_env_sync(raw, 1), "\(path): sync")
                try syncDirectory(path)
            }
        }

        deinit {
            for transaction in idle.withLock({ $0 }) { mdb_txn_abort(transaction.value) }
            mdb_env_close(raw)
        }

        static func name(_ family: FamilyID) -> String { "f\(family.rawValue)" }

        var lastTransaction: Int {
            var info = MDB_envinfo()
            mdb_env_info(raw, &info)
            return info.me_last_txnid
        }

        /// Opens every family that exists, and those whose drop an earlier life began.
        func openFamilies(
            readOnly: Bool
        ) throws(EngineError) -> (families: FamilyMap<MDB_dbi>, dropped: [(family: FamilyID, dbi: MDB_dbi)]) {
            var families: FamilyMap<MDB_dbi> = FamilyMap()
            var dropped: [(family: FamilyID, dbi: MDB_dbi)] = []
            let body = { (transaction: LMDBTransaction) throws(EngineError) in
                let going = try transaction.droppedFamilies(create: !readOnly)
                for name in try transaction.databaseNames() where name.hasPrefix("f") {
                    guard let number = UInt64(name.dropFirst()) else { continue }
                    let family = FamilyID(number)
                    let dbi = try transaction.openDatabase(name, create: false)
                    if going.contains(family) { dropped.append((family, dbi)) } else { families[family] = dbi }
                }
            }
            if readOnly {
                var transaction: OpaquePointer?
                try lmdbCheck(mdb_txn_begin(raw, nil, UInt32(MDB_RDONLY), &transaction), path)
                guard let transaction else { throw .io(place: path, errno: 0) }
                do throws(EngineError) { try body(LMDBTransaction(raw: transaction, path: path)) } catch {
                    mdb_txn_abort(transaction)
                    throw error
                }
                // Committing a read-only transaction keeps the handles that it opened.
                try lmdbCheck(mdb_txn_commit(transaction), path)
            } else {
                try write(body)
            }
            return (families, dropped)
        }

        /// One write transaction, synced when it returns.
        func write(_ body: (LMDBTransaction) throws(EngineError) -> Void) throws(EngineError) {
            var transaction: OpaquePointer?
            try lmdbCheck(mdb_txn_begin(raw, nil, 0, &transaction), "\(path): begin")
            guard let transaction else { throw .io(place: path, errno: 0) }
            do throws(EngineError) {
                try body(LMDBTransaction(raw: transaction, path: path))
            } catch {
                mdb_txn_abort(transaction)
                throw error
            }
            let code = mdb_txn_commit(transaction)
            // A write that comes out short is an I/O error to LMDB, and a full disk is what cuts writes short. Nothing
            // of the transaction counts, and the ones before are synced, so it may be tried again.
            if code == EIO, isFull { throw .noSpace(place: "\(path): commit") }
            try lmdbCheck(code, "\(path): commit")
        }

        private static let fullBytes: UInt64 = 1 << 20

        private var isFull: Bool {
            var status = statvfs()
            guard statvfs(path, &status) == 0 else { return false }
            return UInt64(status.f_bavail) * UInt64(status.f_frsize) < Self.fullBytes
        }

        /// The number that the next snapshot gets; every open one has a lower number.
        var nextReader: UInt64 { readers.withLock { $0.next } }
        var oldestReader: UInt64 { readers.withLock { $0.open.min() ?? .max } }

        /// `serial` is the snapshot's number.
        func beginReading() throws(EngineError) -> (raw: OpaquePointer, id: Int, serial: UInt64) {
            let raw = try takeTransaction()
            let serial = readers.withLock { readers in
                defer { readers.next += 1 }
                readers.open.insert(readers.next)
                return readers.next
            }
            return (raw, mdb_txn_id(raw), serial)
        }

        private func takeTransaction() throws(EngineError) -> OpaquePointer {
            if let waiting = idle.withLock({ $0.popLast() }) {
                if mdb_txn_renew(waiting.value) == MDB_SUCCESS { return waiting.value }
                mdb_txn_abort(waiting.value)
            }
            var transaction: OpaquePointer?
            try lmdbCheck(mdb_txn_begin(raw, nil, UInt32(MDB_RDONLY), &transaction), "\(path): read")
            guard let transaction else { throw .io(place: path, errno: 0) }
            return transaction
        }

        func endReading(_ transaction: OpaquePointer, serial: UInt64) {
            mdb_txn_reset(transaction)
            readers.withLock { _ = $0.open.remove(serial) }
            let isKept = idle.withLock { idle in
                guard idle.count < Self.idleMax else { return false }
                idle.append(UnsafeSendablePointer(value: transaction))
                return true
            }
            if !isKept { mdb_txn_abort(transaction) }
        }
    }

    /// An open write transaction (or, for listing, a read transaction).
    struct LMDBTransaction {
        let raw: OpaquePointer
        let path: String

        private static let droppedName = "!dropped"

        func openDatabase(_ name: String, create: Bool) throws(EngineError) -> MDB_dbi {
            var dbi: MDB_dbi = 0
            try lmdbCheck(mdb_dbi_open(raw, name, create ? UInt32(MDB_CREATE) : 0, &dbi), "\(path): \(name)")
            try lmdbCheck(flotilla_lmdb_use_compare(raw, dbi), "\(path): \(name)")
            return dbi
        }

        func databaseNames() throws(EngineError) -> [String] {
            var main: MDB_dbi = 0
            try lmdbCheck(mdb_dbi_open(raw, nil, 0, &main), path)
            var cursor: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(raw, main, &cursor), path)
            defer { mdb_cursor_close(cursor) }
            var names: [String] = []
            var key = MDB_val()
            var value = MDB_val()
            var code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
            while code == MDB_SUCCESS {
                names.append(String(decoding: key.buffer, as: UTF8.self))
                code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
            }
            if code != MDB_NOTFOUND { try lmdbCheck(code, path) }
            return names
        }

        /// LMDB checks nothing that it reads, so a value is stored with a checksum behind it.
        func put(
            _ dbi: MDB_dbi, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, flags: UInt32 = 0
        ) throws(EngineError) {
            var keyValue = MDB_val(key)
            var room = MDB_val(mv_size: value.count + RecordCheck.bytes, mv_data: nil)
            try lmdbCheck(
                mdb_put(raw, dbi, &keyValue, &room, UInt32(MDB_RESERVE) | flags), "\(path): put")
            RecordCheck.seal(key, value, into: UnsafeMutableRawBufferPointer(start: room.mv_data, count: room.mv_size))
        }

        func delete(_ dbi: MDB_dbi, _ key: UnsafeRawBufferPointer) throws(EngineError) {
            var keyValue = MDB_val(key)
            let code = mdb_del(raw, dbi, &keyValue, nil)
            if code != MDB_NOTFOUND { try lmdbCheck(code, "\(path): delete") }
        }

        func put(_ dbi: MDB_dbi, _ key: UnsafeRawBufferPointer, _ value: [UInt8]) throws(EngineError) {
            var failure: EngineError?
            value.withUnsafeBytes { value in
                do throws(EngineError) { try put(dbi, key, value) } catch { failure = error }
            }
            if let failure { throw failure }
        }

        func deleteRange(
            _ dbi: MDB_dbi, _ lower: UnsafeRawBufferPointer, _ upper: UnsafeRawBufferPointer?
        ) throws(EngineError) {
            var cursor: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(raw, dbi, &cursor), "\(path): range delete")
            defer { mdb_cursor_close(cursor) }
            var key = MDB_val(lower)
            var value = MDB_val()
            var code =
                lower.isEmpty
                ? mdb_cursor_get(cursor, &key, &value, MDB_FIRST) : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            while code == MDB_SUCCESS {
                if let upper, compareKeys(key.buffer, upper) >= 0 { return }
                try lmdbCheck(mdb_cursor_del(cursor, 0), "\(path): range delete")
                code = mdb_cursor_get(cursor, &key, &value, MDB_GET_CURRENT)
                // After the last pair there is no current one.
                if code == EINVAL { code = MDB_NOTFOUND }
            }
            if code != MDB_NOTFOUND { try lmdbCheck(code, "\(path): range delete") }
        }

        func empty(_ dbi: MDB_dbi) throws(EngineError) {
            try lmdbCheck(mdb_drop(raw, dbi, 0), "\(path): drop")
        }

        /// Pages that a database takes, its own entry apart.
        func pages(_ dbi: MDB_dbi) throws(EngineError) -> Int {
            var statistics = MDB_stat()
            try lmdbCheck(mdb_stat(raw, dbi, &statistics), "\(path): statistics")
            return statistics.ms_branch_pages + statistics.ms_leaf_pages + statistics.ms_overflow_pages
        }

        /// Deletes from the front until `rows` or `bytes` are gone.
        func deleteFirst(_ dbi: MDB_dbi, rows: Int, bytes: Int) throws(EngineError) {
            var cursor: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(raw, dbi, &cursor), "\(path): drop")
            defer { mdb_cursor_close(cursor) }
            var (rowCount, byteCount) = (0, 0)
            var key = MDB_val()
            var value = MDB_val()
            while rowCount < rows, byteCount < bytes {
                let code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
                if code == MDB_NOTFOUND { return }
                try lmdbCheck(code, "\(path): drop")
                rowCount += 1
                byteCount += key.mv_size + value.mv_size
                try lmdbCheck(mdb_cursor_del(cursor, 0), "\(path): drop")
            }
        }

        /// Removes an emptied database with its name, and closes its handle.
        func remove(_ dbi: MDB_dbi) throws(EngineError) {
            try lmdbCheck(mdb_drop(raw, dbi, 1), "\(path): drop")
        }

        func markDropped(_ family: FamilyID) throws(EngineError) {
            let dropped = try openDatabase(Self.droppedName, create: true)
            try named(family) { (name) throws(EngineError) in try put(dropped, name, []) }
        }

        func unmarkDropped(_ family: FamilyID) throws(EngineError) {
            let dropped = try openDatabase(Self.droppedName, create: true)
            try named(family) { (name) throws(EngineError) in try delete(dropped, name) }
        }

        private func named(
            _ family: FamilyID, _ body: (UnsafeRawBufferPointer) throws(EngineError) -> Void
        ) throws(EngineError) {
            let name = Array(LMDBEnvironment.name(family).utf8)
            var failure: EngineError?
            name.withUnsafeBytes { do throws(EngineError) { try body($0) } catch { failure = error } }
            if let failure { throw failure }
        }

        /// Families that were dropped and whose rows or names are still there.
        func droppedFamilies(create: Bool) throws(EngineError) -> Set<FamilyID> {
            var dropped: MDB_dbi = 0
            let code = mdb_dbi_open(raw, Self.droppedName, create ? UInt32(MDB_CREATE) : 0, &dropped)
            if code == MDB_NOTFOUND { return [] }
            try lmdbCheck(code, path)
            var cursor: OpaquePointer?
            try lmdbCheck(mdb_cursor_open(raw, dropped, &cursor), path)
            defer { mdb_cursor_close(cursor) }
            var families: Set<FamilyID> = []
            var key = MDB_val()
            var value = MDB_val()
            while mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS {
                let name = String(decoding: key.buffer, as: UTF8.self)
                if let number = UInt64(name.dropFirst()) { families.insert(FamilyID(number)) }
            }
            return families
        }
    }
#endif
