#if RocksDB
    internal import CRocksDB
    internal import Engines
    internal import Foundation
    internal import Synchronization

    /// RocksDB called in C, with the options of our engine.
    final class RawRocksDB: Subject, @unchecked Sendable {
        private let database: OpaquePointer
        private let options: OpaquePointer
        private let cache: OpaquePointer
        private let unused: OpaquePointer
        private let families = Mutex<[UInt64: Handle]>([:])

        private struct Handle: @unchecked Sendable { let raw: OpaquePointer }

        init(_ directory: String) throws {
            guard let cache = rocksdb_cache_create_lru(RocksOptions.blockCacheBytes) else {
                throw BenchError("RocksDB makes no cache")
            }
            self.cache = cache
            let options = RocksOptions.make(cache: cache)
            self.options = options
            var handle: OpaquePointer?
            let opened = try rocks { error in
                "default".withCString { name in
                    var names: [UnsafePointer<CChar>?] = [name]
                    var familyOptions: [OpaquePointer?] = [options]
                    return rocksdb_open_column_families(options, directory, 1, &names, &familyOptions, &handle, error)
                }
            }
            guard let opened, let handle else { throw BenchError("RocksDB doesn't open \(directory)") }
            database = opened
            unused = handle
        }

        func createFamily(_ family: UInt64) throws {
            let raw = try rocks { rocksdb_create_column_family(database, options, "f\(family)", $0) }
            guard let raw else { throw BenchError("RocksDB makes no family") }
            families.withLock { $0[family] = Handle(raw: raw) }
        }

        func dropFamily(_ family: UInt64) throws {
            guard let handle = families.withLock({ $0.removeValue(forKey: family) }) else { return }
            try rocks { rocksdb_drop_column_family(database, handle.raw, $0) }
            rocksdb_column_family_handle_destroy(handle.raw)
        }

        fileprivate func handle(_ family: UInt64) throws -> OpaquePointer {
            guard let handle = families.withLock({ $0[family] }) else {
                throw BenchError("family \(family) is missing")
            }
            return handle.raw
        }

        func writer() -> any SubjectWriter { Writer(self) }
        func sync() throws { try rocks { rocksdb_flush_wal(database, 1, $0) } }

        func compact() throws {
            for handle in families.withLock({ Array($0.values) }) {
                rocksdb_compact_range_cf(database, handle.raw, nil, 0, nil, 0)
            }
        }

        func view() throws -> any SubjectView { View(self) }

        func export(_ family: UInt64, to directory: String) throws -> Exported {
            let readOptions = rocksdb_readoptions_create()
            defer { rocksdb_readoptions_destroy(readOptions) }
            let environment = rocksdb_envoptions_create()
            defer { rocksdb_envoptions_destroy(environment) }
            let writer = rocksdb_sstfilewriter_create(environment, options)
            defer { rocksdb_sstfilewriter_destroy(writer) }
            try rocks { rocksdb_sstfilewriter_open(writer, "\(directory)/0.sst", $0) }
            let iterator = rocksdb_create_iterator_cf(database, readOptions, try handle(family))
            defer { rocksdb_iter_destroy(iterator) }
            var keys = 0
            rocksdb_iter_seek_to_first(iterator)
            while rocksdb_iter_valid(iterator) != 0 {
                var keyCount = 0
                var valueCount = 0
                let key = rocksdb_iter_key(iterator, &keyCount)
                let value = rocksdb_iter_value(iterator, &valueCount)
                try rocks { rocksdb_sstfilewriter_put(writer, key, keyCount, value, valueCount, $0) }
                keys += 1
                rocksdb_iter_next(iterator)
            }
            try rocks { rocksdb_iter_get_error(iterator, $0) }
            try rocks { rocksdb_sstfilewriter_finish(writer, $0) }
            return Exported(keys: keys)
        }

        func ingest(_ exported: Exported, from directory: String, into family: UInt64) throws {
            let ingestOptions = rocksdb_ingestexternalfileoptions_create()
            defer { rocksdb_ingestexternalfileoptions_destroy(ingestOptions) }
            rocksdb_ingestexternalfileoptions_set_move_files(ingestOptions, 1)
            let handle = try handle(family)
            try rocks { error in
                "\(directory)/0.sst".withCString { file in
                    var files: [UnsafePointer<CChar>?] = [file]
                    rocksdb_ingest_external_file_cf(database, handle, &files, 1, ingestOptions, error)
                }
            }
        }

        func checkpoint(to directory: String) throws {
            let checkpoint = try rocks { rocksdb_checkpoint_object_create(database, $0) }
            defer { rocksdb_checkpoint_object_destroy(checkpoint) }
            try rocks { rocksdb_checkpoint_create(checkpoint, directory, 0, $0) }
        }

        func close() throws {
            for handle in families.withLock({ Array($0.values) }) { rocksdb_column_family_handle_destroy(handle.raw) }
            rocksdb_column_family_handle_destroy(unused)
            rocksdb_close(database)
            rocksdb_options_destroy(options)
            rocksdb_cache_destroy(cache)
        }

        private final class Writer: SubjectWriter {
            private let owner: RawRocksDB
            private let batch = rocksdb_writebatch_create()
            private let buffered = rocksdb_writeoptions_create()
            private let synced = rocksdb_writeoptions_create()
            /// A caller in C has the handle at hand; the families of a batch come in runs.
            private var last: (family: UInt64, handle: OpaquePointer)?

            init(_ owner: RawRocksDB) {
                self.owner = owner
                rocksdb_writeoptions_set_sync(synced, 1)
            }

            deinit {
                rocksdb_writebatch_destroy(batch)
                rocksdb_writeoptions_destroy(buffered)
                rocksdb_writeoptions_destroy(synced)
            }

            func write(_ puts: PutBatch, synced isSynced: Bool) throws {
                rocksdb_writebatch_clear(batch)
                for put in puts.puts {
                    let handle: OpaquePointer
                    if let last, last.family == put.family {
                        handle = last.handle
                    } else {
                        handle = try owner.handle(put.family)
                        last = (put.family, handle)
                    }
                    put.key.withUnsafeBytes { key in
                        puts.values[put.value].withUnsafeBytes { value in
                            rocksdb_writebatch_put_cf(batch, handle, key.chars, key.count, value.chars, value.count)
                        }
                    }
                }
                try rocks { rocksdb_write(owner.database, isSynced ? synced : buffered, batch, $0) }
            }
        }

        private final class View: SubjectView {
            private let owner: RawRocksDB
            private let snapshot: OpaquePointer?
            private let options: OpaquePointer?
            private var last: (family: UInt64, handle: OpaquePointer)?

            init(_ owner: RawRocksDB) {
                self.owner = owner
                snapshot = rocksdb_create_snapshot(owner.database)
                options = rocksdb_readoptions_create()
                rocksdb_readoptions_set_snapshot(options, snapshot)
            }

            func close() {
                rocksdb_readoptions_destroy(options)
                rocksdb_release_snapshot(owner.database, snapshot)
            }

            private func handle(_ family: UInt64) throws -> OpaquePointer {
                if let last, last.family == family { return last.handle }
                let handle = try owner.handle(family)
                last = (family, handle)
                return handle
            }

            func get(_ family: UInt64, _ key: [UInt8]) throws -> Int? {
                let handle = try handle(family)
                let pinned = try rocks { error in
                    key.withUnsafeBytes {
                        rocksdb_get_pinned_cf(owner.database, options, handle, $0.chars, $0.count, error)
                    }
                }
                return Self.take(pinned)
            }

            private static func take(_ pinned: OpaquePointer?) -> Int? {
                guard let pinned else { return nil }
                defer { rocksdb_pinnableslice_destroy(pinned) }
                var count = 0
                copyOut(rocksdb_pinnableslice_value(pinned, &count), count)
                return count
            }

            func multiGet(_ family: UInt64, _ keys: [[UInt8]]) throws -> Int {
                let handle = try handle(family)
                var pointers: [UnsafePointer<CChar>?] = []
                var counts: [Int] = []
                pointers.reserveCapacity(keys.count)
                counts.reserveCapacity(keys.count)
                // The arrays live in `keys` for the whole call, so what points into them stays good.
                for key in keys {
                    key.withUnsafeBytes { pointers.append($0.chars) }
                    counts.append(key.count)
                }
                var values = [OpaquePointer?](repeating: nil, count: keys.count)
                var errors = [UnsafeMutablePointer<CChar>?](repeating: nil, count: keys.count)
                withExtendedLifetime(keys) {
                    rocksdb_batched_multi_get_cf(
                        owner.database, options, handle, keys.count, &pointers, &counts, &values, &errors, false)
                }
                if let error = errors.lazy.compactMap({ $0 }).first { throw BenchError(String(cString: error)) }
                var found = 0
                for value in values where Self.take(value) != nil { found += 1 }
                return found
            }

            func scan(_ family: UInt64, from key: [UInt8], count: Int) throws -> Int {
                let iterator = rocksdb_create_iterator_cf(owner.database, options, try handle(family))
                defer { rocksdb_iter_destroy(iterator) }
                key.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.chars, $0.count) }
                var looks = Looks()
                for _ in 0..<count {
                    guard rocksdb_iter_valid(iterator) != 0 else { break }
                    var keyCount = 0
                    var valueCount = 0
                    let keyBytes = UnsafeRawBufferPointer(start: rocksdb_iter_key(iterator, &keyCount), count: keyCount)
                    let value = UnsafeRawBufferPointer(
                        start: rocksdb_iter_value(iterator, &valueCount), count: valueCount)
                    looks.look(keyBytes, value)
                    rocksdb_iter_next(iterator)
                }
                try rocks { rocksdb_iter_get_error(iterator, $0) }
                return looks.finish()
            }
        }
    }

    private func rocks<Result>(
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) throws -> Result
    ) throws -> Result {
        var message: UnsafeMutablePointer<CChar>?
        let result = try body(&message)
        guard let message else { return result }
        defer { rocksdb_free(message) }
        throw BenchError("RocksDB: \(String(cString: message))")
    }

    extension UnsafeRawBufferPointer {
        fileprivate var chars: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
    }
#endif
