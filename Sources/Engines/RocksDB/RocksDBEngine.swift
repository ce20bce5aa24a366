#if RocksDB
    internal import CRocksDB
    internal import Glibc
    internal import Synchronization

    /// RocksDB under the engine protocol: one database, one real column family for each family.
    public final class RocksDBEngine: StorageEngine {
        private struct State {
            var database: RocksDatabase?
            var families: [FamilyID: RocksFamily] = [:]
            /// The column family that RocksDB insists on; never used.
            var unused: RocksFamily?
            var poison: String?
        }

        private let path: String
        private let state: Mutex<State>
        /// One writer at a time; reads don't take it.
        private let writer = Mutex(())
        private let buffered: UnsafeSendable<OpaquePointer>
        private let synced: UnsafeSendable<OpaquePointer>

        public var kind: EngineKind { .rocksdb }
        public var capabilities: EngineCapabilities { EngineCapabilities(nativeFormats: [], checksValues: true) }

        public init(path: String, readOnly: Bool = false) throws(EngineError) {
            self.path = path
            let cache = rocksdb_cache_create_lru(RocksOptions.blockCacheBytes)!
            let options = RocksOptions.make(cache: cache, createIfMissing: !readOnly)
            func abandon() {
                rocksdb_options_destroy(options)
                rocksdb_cache_destroy(cache)
            }
            let opened: (database: RocksDatabase, handles: [(String, OpaquePointer)])
            do throws(EngineError) {
                let names = try Self.listFamilies(options, path)
                let handles = try Self.open(options, path, names, readOnly: readOnly)
                opened = (RocksDatabase(raw: handles.raw, options: options, cache: cache), handles.families)
            } catch {
                abandon()
                throw error
            }
            var initial = State(database: opened.database)
            for (name, raw) in opened.handles {
                let family = RocksFamily(raw: raw, database: opened.database)
                if let number = Self.number(name) {
                    initial.families[FamilyID(number)] = family
                } else {
                    initial.unused = family
                }
            }
            state = Mutex(initial)
            buffered = UnsafeSendable(rocksdb_writeoptions_create()!)
            synced = UnsafeSendable(rocksdb_writeoptions_create()!)
            rocksdb_writeoptions_set_sync(synced.value, 1)
        }

        deinit {
            rocksdb_writeoptions_destroy(buffered.value)
            rocksdb_writeoptions_destroy(synced.value)
        }

        private static func name(_ family: FamilyID) -> String { "f\(family.rawValue)" }
        private static func number(_ name: String) -> UInt64? {
            name.hasPrefix("f") ? UInt64(name.dropFirst()) : nil
        }

        private static func listFamilies(_ options: OpaquePointer, _ path: String) throws(EngineError) -> [String] {
            // A new directory has no list yet, and RocksDB calls that an error.
            guard fileExists("\(path)/CURRENT") else { return ["default"] }
            var count = 0
            let list = try rocksCall(path) { rocksdb_list_column_families(options, path, &count, $0) }
            guard let list else { return ["default"] }
            defer { rocksdb_list_column_families_destroy(list, count) }
            return (0..<count).compactMap { list[$0].map { String(cString: $0) } }
        }

        private static func open(
            _ options: OpaquePointer, _ path: String, _ names: [String], readOnly: Bool
        ) throws(EngineError) -> (raw: OpaquePointer, families: [(String, OpaquePointer)]) {
            let copies = names.map { UnsafePointer(strdup($0)) }
            defer { for copy in copies { free(UnsafeMutablePointer(mutating: copy)) } }
            let familyOptions = [OpaquePointer?](repeating: options, count: names.count)
            var handles = [OpaquePointer?](repeating: nil, count: names.count)
            let raw = try rocksCall(path) { error -> OpaquePointer? in
                if readOnly {
                    rocksdb_open_for_read_only_column_families(
                        options, path, Int32(names.count), copies, familyOptions, &handles, 0, error)
                } else {
                    rocksdb_open_column_families(
                        options, path, Int32(names.count), copies, familyOptions, &handles, error)
                }
            }
            guard let raw else { throw .io(place: path, errno: 0) }
            return (raw, zip(names, handles).compactMap { name, handle in handle.map { (name, $0) } })
        }

        private func opened() throws(EngineError) -> (RocksDatabase, [FamilyID: RocksFamily]) {
            let (database, families, poison) = state.withLock { ($0.database, $0.families, $0.poison) }
            guard let database else { throw .closed }
            if let poison { throw .poisoned(poison) }
            return (database, families)
        }

        private func poison(_ error: EngineError) -> EngineError {
            switch error {
            case .noSpace, .familyMissing, .tooLarge, .unsupported: break
            default: state.withLock { $0.poison = error.description }
            }
            return error
        }

        // MARK: - Families

        public func families() throws(EngineError) -> [FamilyID] { try opened().1.keys.sorted() }

        public func createFamily(_ family: FamilyID) throws(EngineError) {
            let (database, families) = try opened()
            if families[family] != nil { return }
            let raw = try rocksCall("\(path): creating \(family)") {
                rocksdb_create_column_family(database.raw, database.options, Self.name(family), $0)
            }
            guard let raw else { throw .io(place: path, errno: 0) }
            state.withLock { $0.families[family] = RocksFamily(raw: raw, database: database) }
        }

        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            let (database, families) = try opened()
            guard let handle = families[family] else { return }
            try rocksCall("\(path): dropping \(family)") { rocksdb_drop_column_family(database.raw, handle.raw, $0) }
            state.withLock { $0.families[family] = nil }
        }

        // MARK: - Writing

        /// Above every key: keys have at most 511 bytes.
        private static let end = [UInt8](repeating: 0xff, count: EngineLimits.keyBytesMax + 1)

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            let (database, families) = try opened()
            try batch.validate()
            for family in batch.families where families[family] == nil { throw .familyMissing(family) }
            if batch.isEmpty, durability == .buffered { return }
            let raw = rocksdb_writebatch_create()!
            defer { rocksdb_writebatch_destroy(raw) }
            batch.forEach { (operation) throws(Never) in
                switch operation {
                case .put(let family, let key, let value):
                    guard let handle = families[family] else { return }
                    rocksdb_writebatch_put_cf(raw, handle.raw, key.chars, key.count, value.chars, value.count)
                case .delete(let family, let key):
                    guard let handle = families[family] else { return }
                    rocksdb_writebatch_delete_cf(raw, handle.raw, key.chars, key.count)
                case .deleteRange(let family, let lower, let upper):
                    guard let handle = families[family] else { return }
                    if let upper {
                        if compareKeys(lower, upper) >= 0 { return }
                        rocksdb_writebatch_delete_range_cf(
                            raw, handle.raw, lower.chars, lower.count, upper.chars, upper.count)
                    } else {
                        Self.end.withUnsafeBytes { end in
                            rocksdb_writebatch_delete_range_cf(
                                raw, handle.raw, lower.chars, lower.count, end.chars, end.count)
                        }
                    }
                }
            }
            do throws(EngineError) {
                try rocksCall("\(path): write") {
                    rocksdb_write(database.raw, (durability == .synced ? synced : buffered).value, raw, $0)
                }
            } catch {
                throw poison(error)
            }
        }

        public func sync() throws(EngineError) {
            let (database, _) = try opened()
            do throws(EngineError) {
                try rocksCall("\(path): sync") { rocksdb_flush_wal(database.raw, 1, $0) }
            } catch {
                throw poison(error)
            }
        }

        // MARK: - Reading

        public func snapshot() throws(EngineError) -> any ReadSnapshot {
            let (database, families) = try opened()
            return RocksSnapshot(database, families)
        }

        public func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            try PortableExport.write(family, from: snapshot, format: format, to: directory)
        }

        public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID)
            throws(EngineError)
        {
            try PortableExport.load(manifest, from: directory, into: family, engine: self)
        }

        public func checkpoint(to directory: String) throws(EngineError) {
            let (database, _) = try opened()
            let checkpoint = try rocksCall("\(path): checkpoint") { rocksdb_checkpoint_object_create(database.raw, $0) }
            guard let checkpoint else { throw .io(place: path, errno: 0) }
            defer { rocksdb_checkpoint_object_destroy(checkpoint) }
            try rocksCall("\(path): checkpoint to \(directory)") {
                rocksdb_checkpoint_create(checkpoint, directory, 0, $0)
            }
        }

        // MARK: - Questions

        public func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics {
            let (database, families) = try opened()
            guard let handle = families[family] else { throw .familyMissing(family) }
            func property(_ name: String) -> UInt64 {
                var value: UInt64 = 0
                return rocksdb_property_int_cf(database.raw, handle.raw, name, &value) == 0 ? value : 0
            }
            return FamilyStatistics(
                keys: property("rocksdb.estimate-num-keys"),
                bytes: property("rocksdb.estimate-live-data-size") + property("rocksdb.cur-size-all-mem-tables"))
        }

        public func statistics() throws(EngineError) -> EngineStatistics {
            let (database, _) = try opened()
            var stopped: UInt64 = 0
            _ = rocksdb_property_int(database.raw, "rocksdb.is-write-stopped", &stopped)
            return EngineStatistics(storageBytes: directoryBytes(path), isStalled: stopped != 0)
        }

        public func compact() throws(EngineError) {
            let (database, families) = try opened()
            for family in families.keys.sorted() {
                guard let handle = families[family] else { continue }
                rocksdb_compact_range_cf(database.raw, handle.raw, nil, 0, nil, 0)
            }
        }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.database != nil }) else { return }
            defer {
                state.withLock { state in
                    state.families = [:]
                    state.unused = nil
                    state.database = nil
                }
            }
            if state.withLock({ $0.poison }) == nil { try sync() }
        }
    }

    /// A raw pointer that C lets any thread use.
    struct UnsafeSendable<Value>: @unchecked Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    extension UnsafeRawBufferPointer {
        var chars: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
    }
#endif
