#if RocksDB
    internal import CRocksDB
    internal import Glibc

    /// How a directory is opened, and when a log that ends in damage is forgiven.
    ///
    /// Each of RocksDB's ways to recover errs. Point in time silently drops synced writes after one flipped bit;
    /// tolerating the tail refuses a tail that a power cut tore in the middle. So each batch carries, in the log
    /// only, the sequence number that the last sync had reached (`LogMark`), and the file `SYNCED` notes it too. If
    /// tolerating the tail isn't enough, and what point in time would keep reaches that number, nothing that was
    /// promised is lost, and the rest is dropped. Otherwise the directory is refused.
    struct RocksOpening {
        let database: RocksDatabase
        let families: [(name: String, family: RocksFamily)]

        init(path: String, readOnly: Bool, mark: SyncMark) throws(EngineError) {
            try RocksManifest.check(path, mark)
            self = try Self.recover(path, readOnly: readOnly, mark)
        }

        private static func recover(_ path: String, readOnly: Bool, _ mark: SyncMark) throws(EngineError) -> Self {
            do throws(EngineError) {
                let opened = try open(path, readOnly: readOnly, .tolerateTail)
                let reached = rocksdb_get_latest_sequence_number(opened.database.raw)
                guard reached >= mark.found else { throw lost(path, reached, mark.found, nil) }
                return opened
            } catch {
                guard case .corruption(let place) = error else { throw error }
                // Reading alone changes nothing, so it may try.
                let trial: RocksOpening
                do throws(EngineError) { trial = try open(path, readOnly: true, .pointInTime) } catch {
                    throw .corruption(place: place)
                }
                let reached = rocksdb_get_latest_sequence_number(trial.database.raw)
                let synced = max(mark.found, RocksLog.syncedSequence(in: path))
                guard reached >= synced else { throw lost(path, reached, synced, place) }
                return readOnly ? trial : try open(path, readOnly: false, .pointInTime)
            }
        }

        private init(database: RocksDatabase, families: [(name: String, family: RocksFamily)]) {
            self.database = database
            self.families = families
        }

        private static func lost(
            _ path: String, _ reached: UInt64, _ synced: UInt64, _ cause: String?
        ) -> EngineError {
            .corruption(
                place: "\(path): the log ends at sequence number \(reached), but everything up to \(synced) was synced"
                    + (cause.map { " (\($0))" } ?? ""))
        }

        private static func open(
            _ path: String, readOnly: Bool, _ recovery: RocksOptions.Recovery
        ) throws(EngineError) -> RocksOpening {
            do throws(EngineError) { return try open(path, readOnly: readOnly, recovery, compress: true) } catch {
                // A library that was built without LZ4 says so here.
                guard case .io(let place, _) = error, place.contains("ompression") else { throw error }
                return try open(path, readOnly: readOnly, recovery, compress: false)
            }
        }

        private static func open(
            _ path: String, readOnly: Bool, _ recovery: RocksOptions.Recovery, compress: Bool
        ) throws(EngineError) -> RocksOpening {
            // RocksDB writes a log of events even when it only reads; that one goes elsewhere.
            let scratch = readOnly ? try makeScratchDirectory() : nil
            let cache = rocksMade(rocksdb_cache_create_lru(RocksOptions.blockCacheBytes))
            let options = RocksOptions.make(
                cache: cache, recovery, createIfMissing: !readOnly, compress: compress, logDirectory: scratch)
            do throws(EngineError) {
                let names = try listFamilies(options, path)
                let opened = try open(options, path, names, readOnly: readOnly)
                let database = RocksDatabase(raw: opened.raw, options: options, cache: cache, scratch: scratch)
                return RocksOpening(
                    database: database,
                    families: opened.families.map { ($0.0, RocksFamily(raw: $0.1, database: database)) })
            } catch {
                rocksdb_options_destroy(options)
                rocksdb_cache_destroy(cache)
                if let scratch { removeTree(scratch, itself: true) }
                throw error
            }
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
    }

    /// What each batch says, in the log only: how far the log had been synced when it was written.
    enum LogMark {
        private static let magic: [UInt8] = Array("FSYN".utf8)
        static let bytes = 12

        static func encode(_ synced: UInt64) -> [UInt8] {
            magic + withUnsafeBytes(of: synced.littleEndian) { Array($0) }
        }

        static func decode(_ bytes: ArraySlice<UInt8>) -> UInt64? {
            guard bytes.count == Self.bytes, bytes.starts(with: magic) else { return nil }
            return bytes.dropFirst(4).withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        }
    }

    /// RocksDB's log files as far as the recovery rule needs them: blocks of 32 KiB, records with their own checksum.
    /// Source: RocksDB's wiki, "Write Ahead Log File Format", and "WriteBatch" in its db/write_batch.cc.
    package enum RocksLog {
        private static let blockBytes = 32_768
        private static let headerBytes = 7
        /// Record types that begin a batch.
        private static let full: UInt8 = 1
        private static let first: UInt8 = 2
        private static let last: UInt8 = 4
        /// A batch: sequence number (8), count (4), then operations; ours begins with this one.
        private static let batchHeaderBytes = 12
        private static let logDataTag: UInt8 = 3

        /// The highest number that any whole record of the directory's logs proves to have been synced. Looks past
        /// damage: whatever comes after a hole may prove that the hole was synced.
        static func syncedSequence(in directory: String) -> UInt64 {
            var synced: UInt64 = 0
            for name in directoryEntries(directory) ?? [] where name.hasSuffix(".log") {
                guard let bytes = try? readFile("\(directory)/\(name)", limit: 1 << 30) else { continue }
                synced = max(synced, syncedSequence(bytes))
            }
            return synced
        }

        /// All records up to `end` are whole.
        package static func isWhole(_ bytes: [UInt8], through end: Int) -> Bool {
            var at = 0
            while at < end {
                let left = blockBytes - at % blockBytes
                if left < headerBytes {
                    at += left
                    continue
                }
                guard at + headerBytes <= bytes.count else { return false }
                let next = at + headerBytes + (Int(bytes[at + 4]) | Int(bytes[at + 5]) << 8)
                guard (full...last).contains(bytes[at + 6]), next <= at + left, next <= bytes.count,
                    isWhole(bytes[at..<next])
                else { return false }
                at = next
            }
            return true
        }

        package static func syncedSequence(_ bytes: [UInt8]) -> UInt64 {
            var synced: UInt64 = 0
            for block in stride(from: 0, to: bytes.count, by: blockBytes) {
                let end = min(block + blockBytes, bytes.count)
                var at = block
                while at + headerBytes <= end {
                    let length = Int(bytes[at + 4]) | Int(bytes[at + 5]) << 8
                    let type = bytes[at + 6]
                    let next = at + headerBytes + length
                    // After a damaged record nothing in its block can be trusted to begin where it seems to.
                    guard (full...last).contains(type), next <= end, isWhole(bytes[at..<next]) else { break }
                    if type == full || type == first, let mark = mark(bytes[(at + headerBytes)..<next]) {
                        synced = max(synced, mark)
                    }
                    at = next
                }
            }
            return synced
        }

        /// The checksum covers type and payload, and is masked so that a checksum of checksums is none.
        private static func isWhole(_ record: ArraySlice<UInt8>) -> Bool {
            let stored = record.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) }
            let rotated = stored &- 0xa282_ead8
            let crc = (rotated >> 17) | (rotated << 15)
            return record.dropFirst(6).withUnsafeBytes { crc32c($0) } == crc
        }

        private static func mark(_ batch: ArraySlice<UInt8>) -> UInt64? {
            let body = batch.dropFirst(batchHeaderBytes)
            guard body.count >= 2 + LogMark.bytes, body[body.startIndex] == logDataTag,
                Int(body[body.startIndex + 1]) == LogMark.bytes
            else { return nil }
            return LogMark.decode(body.dropFirst(2).prefix(LogMark.bytes))
        }
    }

    /// The MANIFEST, which names the table files. RocksDB takes one that ends early for one that a crash cut, and then
    /// ignores the tables that it no longer names; so its number and synced length are noted with each sync.
    package struct RocksManifest {
        private let directory: String
        private var number: UInt64 = 0
        private var descriptor: Int32 = -1
        private var bytes: UInt64 = 0
        private static let lengthBits: UInt64 = 40

        init(directory: String) { self.directory = directory }

        func close() { if descriptor >= 0 { Glibc.close(descriptor) } }

        private static func current(_ directory: String) -> (number: UInt64, path: String)? {
            guard let text = try? readFile("\(directory)/CURRENT", limit: 256) else { return nil }
            let name = String(decoding: text.prefix { $0 != 10 }, as: UTF8.self)
            guard name.hasPrefix("MANIFEST-"), let number = UInt64(name.dropFirst(9)) else { return nil }
            return (number, "\(directory)/\(name)")
        }

        /// Number and length, to be noted; the length is on the disk by then.
        mutating func tag() -> UInt64 {
            if descriptor < 0 {
                guard let (number, path) = Self.current(directory) else { return 0 }
                self.number = number
                descriptor = open(path, O_RDONLY | O_CLOEXEC)
                guard descriptor >= 0 else { return 0 }
            }
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { return 0 }
            if UInt64(status.st_size) != bytes {
                // A background thread may be between writing and syncing it.
                guard fdatasync(descriptor) == 0 else { return 0 }
                bytes = UInt64(status.st_size)
            }
            return number << Self.lengthBits | bytes
        }

        package static func check(_ directory: String, _ mark: SyncMark) throws(EngineError) {
            guard mark.foundTag != 0, let (number, path) = current(directory), number == mark.foundTag >> lengthBits
            else { return }
            let bytes = Int(mark.foundTag & (1 << lengthBits - 1))
            let manifest = try readFile(path, limit: 1 << 31)
            guard manifest.count >= bytes, RocksLog.isWhole(manifest, through: bytes) else {
                throw .corruption(place: "\(path): cut or damaged within the first \(bytes) bytes, which were synced")
            }
        }
    }
#endif
