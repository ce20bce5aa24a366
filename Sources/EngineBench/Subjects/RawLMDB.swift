#if LMDB
    internal import CLMDB
    internal import Foundation
    internal import Synchronization

    /// LMDB called in C, with the settings of our engine.
    ///
    /// LMDB has no buffered commit that survives a crash. The same promise in C is a transaction that stays open over
    /// many batches, so that is what "buffered" means here; reads see the batches only after `sync`.
    final class RawLMDB: Subject, @unchecked Sendable {
        private let environment: OpaquePointer
        private let families = Mutex<[UInt64: MDB_dbi]>([:])
        /// Held by whoever writes: a transaction belongs to its thread.
        private let state = Mutex(State())

        private struct State: @unchecked Sendable {
            var transaction: OpaquePointer?
            var bytes = 0
        }

        /// As in our engine: what a transaction gathers, and the overhead it counts for each put.
        private static let gatheredBytesMax = 8 << 20
        private static let overheadBytes = 64

        init(_ directory: String) throws {
            var opened: OpaquePointer?
            try lmdb(mdb_env_create(&opened))
            guard let opened else { throw BenchError("LMDB makes no environment") }
            environment = opened
            mdb_env_set_mapsize(opened, 1 << 40)
            mdb_env_set_maxdbs(opened, 8192)
            mdb_env_set_maxreaders(opened, 512)
            try lmdb(mdb_env_open(opened, directory, UInt32(MDB_NOTLS), 0o600))
        }

        /// One write transaction with what has gathered, synced when it returns.
        private func transact(_ body: (OpaquePointer) throws -> Void) throws {
            try state.withLock { state in
                let transaction = try Self.begin(environment, &state)
                do { try body(transaction) } catch {
                    mdb_txn_abort(transaction)
                    state = State()
                    throw error
                }
                try Self.commit(&state)
            }
        }

        private static func begin(_ environment: OpaquePointer, _ state: inout State) throws -> OpaquePointer {
            if let open = state.transaction { return open }
            try lmdb(mdb_txn_begin(environment, nil, 0, &state.transaction))
            guard let begun = state.transaction else { throw BenchError("LMDB begins no transaction") }
            return begun
        }

        private static func commit(_ state: inout State) throws {
            guard let transaction = state.transaction else { return }
            state = State()
            try lmdb(mdb_txn_commit(transaction))
        }

        func createFamily(_ family: UInt64) throws {
            var dbi: MDB_dbi = 0
            try transact { try lmdb(mdb_dbi_open($0, "f\(family)", UInt32(MDB_CREATE), &dbi)) }
            families.withLock { $0[family] = dbi }
        }

        func dropFamily(_ family: UInt64) throws {
            guard let dbi = families.withLock({ $0.removeValue(forKey: family) }) else { return }
            try transact { try lmdb(mdb_drop($0, dbi, 1)) }
        }

        private func handle(_ family: UInt64) throws -> MDB_dbi {
            guard let handle = families.withLock({ $0[family] }) else {
                throw BenchError("family \(family) is missing")
            }
            return handle
        }

        var buffersOnOneThread: Bool { true }
        func writer() -> any SubjectWriter { Writer(self) }
        func sync() throws { try state.withLock { try Self.commit(&$0) } }
        func compact() throws { try sync() }
        func view() throws -> any SubjectView { try View(self) }

        func export(_ family: UInt64, to directory: String) throws -> Exported {
            let file = try openFile("\(directory)/records", "w")
            defer { fclose(file) }
            let view = try View(self)
            defer { view.close() }
            var cursor: OpaquePointer?
            try lmdb(mdb_cursor_open(view.transaction, try handle(family), &cursor))
            defer { mdb_cursor_close(cursor) }
            var keys = 0
            var key = MDB_val()
            var value = MDB_val()
            var code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
            while code == MDB_SUCCESS {
                var lengths = (UInt32(key.mv_size), UInt32(value.mv_size))
                guard fwrite(&lengths, 8, 1, file) == 1, fwrite(key.mv_data, key.mv_size, 1, file) == 1,
                    value.mv_size == 0 || fwrite(value.mv_data, value.mv_size, 1, file) == 1
                else { throw BenchError.system("writing \(directory)/records") }
                keys += 1
                code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
            }
            if code != MDB_NOTFOUND { try lmdb(code) }
            guard fflush(file) == 0 else { throw BenchError.system("writing \(directory)/records") }
            return Exported(keys: keys)
        }

        func ingest(_ exported: Exported, from directory: String, into family: UInt64) throws {
            let file = try openFile("\(directory)/records", "r")
            defer { fclose(file) }
            let dbi = try handle(family)
            var room = [UInt8](repeating: 0, count: 1 << 17)
            try transact { transaction in
                try room.withUnsafeMutableBytes { room in
                    for _ in 0..<exported.keys {
                        var lengths: (UInt32, UInt32) = (0, 0)
                        guard fread(&lengths, 8, 1, file) == 1 else { throw BenchError("the export is cut short") }
                        let (keyCount, count) = (Int(lengths.0), Int(lengths.0) + Int(lengths.1))
                        guard count <= room.count, fread(room.baseAddress, count, 1, file) == 1 else {
                            throw BenchError("the export is cut short")
                        }
                        var key = MDB_val(mv_size: keyCount, mv_data: room.baseAddress)
                        var value = MDB_val(mv_size: count - keyCount, mv_data: room.baseAddress.map { $0 + keyCount })
                        try lmdb(mdb_put(transaction, dbi, &key, &value, UInt32(MDB_APPEND)))
                    }
                }
            }
        }

        private func openFile(_ path: String, _ mode: String) throws -> UnsafeMutablePointer<FILE> {
            guard let file = fopen(path, mode) else { throw BenchError.system("opening \(path)") }
            setvbuf(file, nil, Int32(_IOFBF), 1 << 20)
            return file
        }

        func checkpoint(to directory: String) throws {
            try sync()
            try makeDirectory(directory)
            try lmdb(mdb_env_copy2(environment, directory, 0))
        }

        func close() throws {
            try sync()
            for transaction in idle.withLock({ $0 }) { mdb_txn_abort(transaction.raw) }
            mdb_env_close(environment)
        }

        /// Read transactions that ended, to be renewed: what LMDB advises.
        private let idle = Mutex<[Idle]>([])
        private struct Idle: @unchecked Sendable { let raw: OpaquePointer }

        private final class Writer: SubjectWriter {
            private let owner: RawLMDB
            private var last: (family: UInt64, handle: MDB_dbi)?

            init(_ owner: RawLMDB) { self.owner = owner }

            func write(_ puts: PutBatch, synced: Bool) throws {
                try owner.state.withLock { state in
                    let transaction = try RawLMDB.begin(owner.environment, &state)
                    for put in puts.puts {
                        let handle: MDB_dbi
                        if let last, last.family == put.family {
                            handle = last.handle
                        } else {
                            handle = try owner.handle(put.family)
                            last = (put.family, handle)
                        }
                        let code = put.key.withUnsafeBytes { key in
                            puts.values[put.value].withUnsafeBytes { value in
                                var keyValue = MDB_val(key)
                                var dataValue = MDB_val(value)
                                return mdb_put(transaction, handle, &keyValue, &dataValue, 0)
                            }
                        }
                        try lmdb(code)
                        state.bytes += put.key.count + puts.values[put.value].count + RawLMDB.overheadBytes
                    }
                    if synced || state.bytes > RawLMDB.gatheredBytesMax { try RawLMDB.commit(&state) }
                }
            }
        }

        private final class View: SubjectView {
            private let owner: RawLMDB
            let transaction: OpaquePointer
            private var last: (family: UInt64, handle: MDB_dbi)?

            init(_ owner: RawLMDB) throws {
                self.owner = owner
                if let idle = owner.idle.withLock({ $0.popLast() }) {
                    transaction = idle.raw
                    try lmdb(mdb_txn_renew(transaction))
                    return
                }
                var begun: OpaquePointer?
                try lmdb(mdb_txn_begin(owner.environment, nil, UInt32(MDB_RDONLY), &begun))
                guard let begun else { throw BenchError("LMDB begins no transaction") }
                transaction = begun
            }

            func close() {
                mdb_txn_reset(transaction)
                owner.idle.withLock { $0.append(Idle(raw: transaction)) }
            }

            private func handle(_ family: UInt64) throws -> MDB_dbi {
                if let last, last.family == family { return last.handle }
                let handle = try owner.handle(family)
                last = (family, handle)
                return handle
            }

            func get(_ family: UInt64, _ key: [UInt8]) throws -> Int? {
                let handle = try handle(family)
                var value = MDB_val()
                let code = key.withUnsafeBytes { bytes in
                    var keyValue = MDB_val(bytes)
                    return mdb_get(transaction, handle, &keyValue, &value)
                }
                if code == MDB_NOTFOUND { return nil }
                try lmdb(code)
                copyOut(value.mv_data, value.mv_size)
                return value.mv_size
            }

            func multiGet(_ family: UInt64, _ keys: [[UInt8]]) throws -> Int {
                var found = 0
                for key in keys where try get(family, key) != nil { found += 1 }
                return found
            }

            func scan(_ family: UInt64, from key: [UInt8], count: Int) throws -> Int {
                var cursor: OpaquePointer?
                try lmdb(mdb_cursor_open(transaction, try handle(family), &cursor))
                defer { mdb_cursor_close(cursor) }
                var value = MDB_val()
                return try key.withUnsafeBytes { bytes in
                    var key = MDB_val(bytes)
                    var looks = Looks()
                    var code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
                    for _ in 0..<count {
                        guard code == MDB_SUCCESS else { break }
                        looks.look(
                            UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size),
                            UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
                        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
                    }
                    if code != MDB_NOTFOUND { try lmdb(code) }
                    return looks.finish()
                }
            }
        }
    }

    extension MDB_val {
        fileprivate init(_ bytes: UnsafeRawBufferPointer) {
            self.init(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
        }
    }

    private func lmdb(_ code: Int32) throws {
        if code != MDB_SUCCESS { throw BenchError("LMDB: \(String(cString: mdb_strerror(code)))") }
    }
#endif
