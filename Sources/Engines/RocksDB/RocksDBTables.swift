#if RocksDB
    internal import CRocksDB

    /// Writes sorted records into RocksDB table files: RocksDB's own form of a family in motion, and its fastest way
    /// to take one in.
    final class RocksTables: FamilyLoader {
        /// Larger than a level-0 file would be, small enough to be sent again.
        private static let fileBytesMax: UInt64 = 64 << 20
        /// How often the size of the file is asked for, in bytes added.
        private static let measureBytes = 1 << 20

        private let directory: String
        private let writer: OpaquePointer
        private let environment: OpaquePointer
        private let take: ([String]) throws(EngineError) -> Void
        private var isOpen = false
        private var sinceMeasured = 0
        private(set) var names: [String] = []

        /// `take` gets the finished files.
        init(
            directory: String, options: OpaquePointer, take: @escaping ([String]) throws(EngineError) -> Void
        ) {
            self.directory = directory
            self.take = take
            environment = rocksMade(rocksdb_envoptions_create())
            writer = rocksMade(rocksdb_sstfilewriter_create(environment, options))
        }

        deinit {
            rocksdb_sstfilewriter_destroy(writer)
            rocksdb_envoptions_destroy(environment)
        }

        func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(EngineError) {
            if !isOpen {
                let name = "\(names.count).sst"
                try rocksCall("\(directory)/\(name)") { rocksdb_sstfilewriter_open(writer, "\(directory)/\(name)", $0) }
                names.append(name)
                isOpen = true
            }
            try rocksCall(directory) {
                rocksdb_sstfilewriter_put(writer, key.chars, key.count, value.chars, value.count, $0)
            }
            sinceMeasured += key.count + value.count
            if sinceMeasured >= Self.measureBytes {
                sinceMeasured = 0
                var size: UInt64 = 0
                rocksdb_sstfilewriter_file_size(writer, &size)
                if size >= Self.fileBytesMax { try finishFile() }
            }
        }

        func finishFile() throws(EngineError) {
            guard isOpen else { return }
            isOpen = false
            try rocksCall(directory) { rocksdb_sstfilewriter_finish(writer, $0) }
        }

        func finish() throws(EngineError) {
            try finishFile()
            try take(names.map { "\(directory)/\($0)" })
        }

        /// Nothing has reached the engine before `finish`.
        func abandon() {}

        static func export(
            _ family: FamilyID, from snapshot: any ReadSnapshot, options: OpaquePointer, to directory: String
        ) throws(EngineError) -> FamilyManifest {
            let tables = RocksTables(directory: directory, options: options) { (_) throws(EngineError) in }
            let tally = try tally(family, in: snapshot) { (key, value) throws(EngineError) in
                try tables.add(key: key, value: value)
            }
            try tables.finishFile()
            var files: [FamilyManifest.File] = []
            for name in tables.names { files.append(try ExportFile.describe(name, in: directory)) }
            return tally.manifest(ChunkFormat.rocksdb, files)
        }

        /// Every record of the family, counted and hashed.
        static func tally(
            _ family: FamilyID, in snapshot: any ReadSnapshot,
            _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(EngineError) -> Void = { _, _ in }
        ) throws(EngineError) -> FamilyTally {
            guard let snapshot = snapshot as? RocksSnapshot else { throw .unsupported("another engine's snapshot") }
            var tally = FamilyTally()
            try snapshot.scanAll(family) { (key, value) throws(EngineError) in
                guard tally.add(key: key, value: value) else {
                    throw .corruption(place: "\(family): keys out of order")
                }
                try body(key, value)
            }
            return tally
        }
    }

    extension RocksSnapshot {
        /// Every record once, past the cache: what is read here is not read again soon.
        func scanAll(
            _ family: FamilyID, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws(EngineError) -> Void
        ) throws(EngineError) {
            try withIterator(family, fillsCache: false) { (iterator) throws(EngineError) in
                rocksdb_iter_seek_to_first(iterator)
                var keyCount = 0
                var valueCount = 0
                while rocksdb_iter_valid(iterator) != 0 {
                    let key = rocksdb_iter_key(iterator, &keyCount)
                    let value = rocksdb_iter_value(iterator, &valueCount)
                    try body(
                        UnsafeRawBufferPointer(start: key, count: keyCount),
                        UnsafeRawBufferPointer(start: value, count: valueCount))
                    rocksdb_iter_next(iterator)
                }
                try rocksCall("reading \(family)") { rocksdb_iter_get_error(iterator, $0) }
            }
        }
    }
#endif
