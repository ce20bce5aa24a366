#if RocksDB
    internal import CRocksDB
    internal import Glibc
    package import Synchronization

    /// RocksDB under the engine protocol: one database, one real column family for each family.
    public final class RocksDBEngine: StorageEngine {
        private struct State {
            var database: RocksDatabase?
            var families: FamilyMap<RocksFamily> = FamilyMap()
            /// The column family that RocksDB insists on. Holds a row for the last drop (`cover`).
            var always: RocksFamily?
            var poison: String?
        }

        private struct Progress {
            /// The sequence number that the last sync reached.
            var synced: UInt64
            /// No row of a family that stays may prove numbers up to this one, so none of them is noted.
            var uncovered: UInt64 = 0
        }

        private let path: String
        private let isReadOnly: Bool
        private let state: Mutex<State>
        /// One writer at a time; reads don't take it.
        private let writer = TurnLock()
        private let buffered: UnsafeSendable<OpaquePointer>
        private let synced: UnsafeSendable<OpaquePointer>
        private let filled: Mutex<RocksDBBatch>
        private let mark: SyncMark
        private let progress: Mutex<Progress>
        private let manifest: Mutex<RocksManifest>
        package let space: Mutex<RocksSpace>

        public var kind: EngineKind { .rocksdb }
        public var capabilities: EngineCapabilities {
            // What is in memory must be flushed before a log file can go; a flush that finds no room may even abort the
            // process (Debian builds RocksDB with assertions).
            EngineCapabilities(
                formats: [ChunkFormat.rocksdb, ChunkFormat.portable],
                headroomBytes: UInt64(RocksOptions.familyBufferBytes) * 4)
        }

        public init(path: String, readOnly: Bool = false) throws(EngineError) {
            self.path = path
            isReadOnly = readOnly
            mark = try SyncMark(directory: path, isReadOnly: readOnly)
            let opened = try RocksOpening(path: path, readOnly: readOnly, mark: mark)
            var initial = State(database: opened.database)
            for (name, family) in opened.families {
                if let number = Self.number(name) {
                    initial.families[FamilyID(number)] = family
                } else {
                    initial.always = family
                }
            }
            state = Mutex(initial)
            buffered = UnsafeSendable(rocksMade(rocksdb_writeoptions_create()))
            synced = UnsafeSendable(rocksMade(rocksdb_writeoptions_create()))
            filled = Mutex(RocksDBBatch())
            rocksdb_writeoptions_set_sync(synced.value, 1)
            // What the log has beyond the note may be of families that were dropped: then it is forgotten once the log is.
            let reached = rocksdb_get_latest_sequence_number(opened.database.raw)
            progress = Mutex(Progress(synced: mark.found, uncovered: reached > mark.found ? reached : 0))
            manifest = Mutex(RocksManifest(directory: path))
            space = Mutex(RocksSpace(path: path))
        }

        deinit {
            rocksdb_writeoptions_destroy(buffered.value)
            rocksdb_writeoptions_destroy(synced.value)
            manifest.withLock { $0.close() }
        }

        private static func name(_ family: FamilyID) -> String { "f\(family.rawValue)" }
        private static func number(_ name: String) -> UInt64? {
            name.hasPrefix("f") ? UInt64(name.dropFirst()) : nil
        }

        private func opened() throws(EngineError) -> (RocksDatabase, FamilyMap<RocksFamily>) {
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

        public func families() throws(EngineError) -> [FamilyID] { try opened().1.families }

        public func createFamily(_ family: FamilyID) throws(EngineError) {
            try writer.withTurn { () throws(EngineError) in
                let (database, families) = try opened()
                if families[family] == nil { try create(family, database) }
            }
        }

        private func create(_ family: FamilyID, _ database: RocksDatabase) throws(EngineError) {
            let raw = try rocksCall("\(path): creating \(family)") {
                rocksdb_create_column_family(database.raw, database.options, Self.name(family), $0)
            }
            guard let raw else { throw .io(place: path, errno: 0) }
            state.withLock { $0.families[family] = RocksFamily(raw: raw, database: database) }
        }

        public func dropFamily(_ family: FamilyID) throws(EngineError) {
            try writer.withTurn { () throws(EngineError) in
                let (database, families) = try opened()
                guard let handle = families[family] else { return }
                let isCovered = try cover(database)
                try drop(family, handle, database)
                if isCovered { unpin(database) }
            }
        }

        /// RocksDB keeps of its sequence number what the rows of its families prove. Rows that are dropped prove nothing
        /// any more, and after two openings the number would be lower than the one that was noted as synced. So the
        /// highest number goes to a row in a family that stays. Where there is no room for it (a drop is what makes
        /// room), nothing is noted until something else is written, and this returns false.
        private func cover(_ database: RocksDatabase) throws(EngineError) -> Bool {
            guard let always = state.withLock({ $0.always }) else { return false }
            do throws(EngineError) {
                try space.withLock { (space) throws(EngineError) in try space.check(Self.dropped.utf8.count) }
                try rocksCall("\(path): before a drop") {
                    rocksdb_put_cf(
                        database.raw, synced.value, always.raw, Self.dropped, Self.dropped.utf8.count, "", 0, $0)
                }
                noteSync(database)
                return true
            } catch {
                guard case .noSpace = error else { throw poison(error) }
                let reached = rocksdb_get_latest_sequence_number(database.raw)
                progress.withLock { $0 = Progress(synced: 0, uncovered: reached) }
                mark.note(0, synced: true)
                return false
            }
        }

        /// The row would keep every log file from its own on, and with them what the dropped family wrote.
        private func unpin(_ database: RocksDatabase) {
            guard let always = state.withLock({ $0.always }) else { return }
            let options = rocksMade(rocksdb_flushoptions_create())
            defer { rocksdb_flushoptions_destroy(options) }
            rocksdb_flushoptions_set_wait(options, 0)
            // Without it the log only stays for longer.
            _ = try? rocksCall(path) { rocksdb_flush_cf(database.raw, options, always.raw, $0) }
        }

        private static let dropped = "dropped"

        private func drop(
            _ family: FamilyID, _ handle: RocksFamily, _ database: RocksDatabase
        ) throws(EngineError) {
            try rocksCall("\(path): dropping \(family)") { rocksdb_drop_column_family(database.raw, handle.raw, $0) }
            state.withLock { $0.families[family] = nil }
        }

        /// RocksDB removes the files of a dropped family in its own background threads.
        public func reclaim() throws(EngineError) -> Bool { false }

        // MARK: - Writing

        public func write(_ batch: WriteBatch, durability: Durability) throws(EngineError) {
            try writer.withTurn { () throws(EngineError) in
                let (database, families) = try opened()
                try batch.validate { families[$0] != nil }
                if batch.isEmpty {
                    if durability != .buffered { try syncLog(database) }
                    return
                }
                try space.withLock { (space) throws(EngineError) in try space.check(batch.byteCount) }
                let log = LogMark.encode(progress.withLock { $0.synced })
                // Used over and over: it keeps its room.
                let raw = filled.withLock { filled in
                    filled.fill(batch, log: log) { families[$0]?.number }
                    return rocksMade(rocksdb_writebatch_create_from(filled.bytes.chars, filled.bytes.count))
                }
                defer { rocksdb_writebatch_destroy(raw) }
                do throws(EngineError) {
                    try rocksCall("\(path): write") {
                        rocksdb_write(database.raw, (durability != .buffered ? synced : buffered).value, raw, $0)
                    }
                } catch {
                    throw poison(error)
                }
                if durability != .buffered { noteSync(database) }
            }
        }

        /// Only while holding the writer's turn: nobody else moves the number on.
        private func noteSync(_ database: RocksDatabase) {
            let reached = rocksdb_get_latest_sequence_number(database.raw)
            let isProvable = progress.withLock { progress in
                guard reached > progress.uncovered else { return false }
                progress.synced = reached
                return true
            }
            guard isProvable else { return }
            mark.note(reached, tag: manifest.withLock { $0.tag() })
        }

        private func syncLog(_ database: RocksDatabase) throws(EngineError) {
            do throws(EngineError) {
                try rocksCall("\(path): sync") { rocksdb_flush_wal(database.raw, 1, $0) }
            } catch {
                throw poison(error)
            }
            noteSync(database)
        }

        public func sync() throws(EngineError) {
            try writer.withTurn { () throws(EngineError) in try syncLog(try opened().0) }
        }

        // MARK: - Reading

        public func snapshot() throws(EngineError) -> any ReadSnapshot {
            // Families and sequence number together: a family that is mapped in what the snapshot sees is one that it has.
            try state.withLock { (state) throws(EngineError) -> RocksSnapshot in
                guard let database = state.database else { throw .closed }
                if let poison = state.poison { throw .poisoned(poison) }
                return RocksSnapshot(database, state.families)
            }
        }

        // MARK: - Movement

        public func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            switch format {
            case ChunkFormat.portable: return try PortableExport.write(family, from: snapshot, to: directory)
            case ChunkFormat.rocksdb:
                return try RocksTables.export(family, from: snapshot, options: try opened().0.options, to: directory)
            default: throw .unsupported("export format \(format)")
            }
        }

        public func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID)
            throws(EngineError)
        {
            try checkLoadable(manifest, from: directory, into: family)
            guard let handle = try opened().1[family] else { throw .familyMissing(family) }
            if manifest.format == ChunkFormat.portable {
                // Verified as a whole before RocksDB sees a byte of it.
                let tables = RocksTables(directory: directory, options: try opened().0.options) {
                    (paths) throws(EngineError) in try self.take(paths, into: handle)
                }
                try PortableExport.load(manifest, from: directory, with: tables)
                return
            }
            // The files are what the exporter wrote when it made the manifest, and RocksDB checks each block that it reads.
            try take(try ExportFile.verified(manifest, in: directory), into: handle)
        }

        /// Moves table files into the family, all of them or none.
        private func take(_ paths: [String], into handle: RocksFamily) throws(EngineError) {
            guard !paths.isEmpty else { return }
            let (database, _) = try opened()
            let copies = paths.map { UnsafePointer(strdup($0)) }
            defer { for copy in copies { free(UnsafeMutablePointer(mutating: copy)) } }
            let options = rocksMade(rocksdb_ingestexternalfileoptions_create())
            defer { rocksdb_ingestexternalfileoptions_destroy(options) }
            rocksdb_ingestexternalfileoptions_set_move_files(options, 1)
            try writer.withTurn { () throws(EngineError) in
                do throws(EngineError) {
                    try rocksCall("\(path): loading \(paths[0])") {
                        rocksdb_ingest_external_file_cf(database.raw, handle.raw, copies, copies.count, options, $0)
                    }
                } catch {
                    // Files that RocksDB doesn't take say nothing of its own.
                    if case .io(let place, _) = error { throw .corruption(place: place) }
                    throw error
                }
            }
        }

        public func checkpoint(to directory: String) throws(EngineError) {
            try sync()
            let (database, _) = try opened()
            let checkpoint = try rocksCall("\(path): checkpoint") { rocksdb_checkpoint_object_create(database.raw, $0) }
            guard let checkpoint else { throw .io(place: path, errno: 0) }
            defer { rocksdb_checkpoint_object_destroy(checkpoint) }
            try rocksCall("\(path): checkpoint to \(directory)") {
                rocksdb_checkpoint_create(checkpoint, directory, 0, $0)
            }
            try markCopy(directory)
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
            for family in families.families {
                guard let handle = families[family] else { continue }
                rocksdb_compact_range_cf(database.raw, handle.raw, nil, 0, nil, 0)
            }
        }

        public func close() throws(EngineError) {
            guard state.withLock({ $0.database != nil }) else { return }
            defer {
                state.withLock { state in
                    state.families = FamilyMap()
                    state.always = nil
                    state.database = nil
                }
            }
            if !isReadOnly, state.withLock({ $0.poison }) == nil { try sync() }
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
