#if RocksDB
    internal import CRocksDB

    /// Calls a RocksDB function with its error slot and turns what it left there into an `EngineError`.
    func rocksCall<Result>(
        _ place: @autoclosure () -> String, _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) throws(EngineError) -> Result {
        var message: UnsafeMutablePointer<CChar>?
        let result = body(&message)
        guard let message else { return result }
        let text = String(cString: message)
        rocksdb_free(message)
        throw rocksError(text, place())
    }

    func rocksError(_ text: String, _ place: String) -> EngineError {
        if text.hasPrefix("Corruption") { return .corruption(place: "\(place): \(text)") }
        if text.contains("No space left") || text.contains("Disk quota") || text.contains("NoSpace") {
            return .noSpace(place: place)
        }
        if text.contains("lock") && text.contains("LOCK") { return .locked(path: place, holder: "another process") }
        return .io(place: "\(place): \(text)", errno: 0)
    }

    /// What a constructor of RocksDB's returns: `nil` only where there is no memory left, and nothing works then.
    func rocksMade(_ object: OpaquePointer?, _ caller: StaticString = #function) -> OpaquePointer {
        guard let object else { preconditionFailure("RocksDB made nothing in \(caller): out of memory") }
        return object
    }

    /// The open database. Handles and snapshots hold on to it, so it closes after the last of them: closing with
    /// live handles aborts the process in Debian's build.
    final class RocksDatabase: @unchecked Sendable {
        let raw: OpaquePointer
        let options: OpaquePointer
        private let cache: OpaquePointer
        /// Removed with the database.
        private let scratch: String?

        init(raw: OpaquePointer, options: OpaquePointer, cache: OpaquePointer, scratch: String?) {
            self.raw = raw
            self.options = options
            self.cache = cache
            self.scratch = scratch
        }

        deinit {
            rocksdb_close(raw)
            rocksdb_options_destroy(options)
            rocksdb_cache_destroy(cache)
            if let scratch { removeTree(scratch, itself: true) }
        }
    }

    /// One column family. A dropped one stays readable for whoever still holds it.
    final class RocksFamily: @unchecked Sendable {
        let raw: OpaquePointer
        /// RocksDB's own number for it, as in its log.
        let number: UInt32
        private let database: RocksDatabase

        init(raw: OpaquePointer, database: RocksDatabase) {
            self.raw = raw
            number = rocksdb_column_family_handle_get_id(raw)
            self.database = database
        }

        deinit { rocksdb_column_family_handle_destroy(raw) }
    }

    /// Each choice has its reason, and the figure that it changed, in docs/engines.md.
    package enum RocksOptions {
        /// All families share this budget of memory for writes; the largest is flushed when it is used up.
        package static let writeBufferBudgetBytes = 96 << 20
        /// A busy family flushes at this size.
        package static let familyBufferBytes = 16 << 20
        /// What a family takes with its first row. RocksDB would take 1 MiB, and most shards are idle most of the
        /// time.
        package static let arenaBlockBytes = 64 << 10
        package static let blockCacheBytes = 64 << 20
        /// Beyond this the families that pin the oldest log file are flushed.
        package static let logBytesMax: UInt64 = 128 << 20
        package static let openFilesMax: Int32 = 512
        /// How often a flush or compaction lists the directory when it ends, and removes what belongs to nothing. It does
        /// so under a lock of the database.
        package static let leftoverScanMicroseconds: UInt64 = 1_000_000

        /// How a log that ends in damage is read.
        enum Recovery {
            /// A torn tail is what a crash leaves and is cut; damage before the tail is an error.
            case tolerateTail
            /// Everything from the damage on is cut. Only once it is proved that nothing of it was synced.
            case pointInTime
        }

        package static func make(cache: OpaquePointer) -> OpaquePointer { make(cache: cache, .tolerateTail) }

        /// `logDirectory`: where RocksDB's own log of events goes, if not beside the data.
        static func make(
            cache: OpaquePointer, _ recovery: Recovery, createIfMissing: Bool = true, compress: Bool = true,
            logDirectory: String? = nil
        ) -> OpaquePointer {
            let options = rocksMade(rocksdb_options_create())
            rocksdb_options_set_create_if_missing(options, createIfMissing ? 1 : 0)
            rocksdb_options_set_db_write_buffer_size(options, writeBufferBudgetBytes)
            rocksdb_options_set_write_buffer_size(options, familyBufferBytes)
            rocksdb_options_set_arena_block_size(options, arenaBlockBytes)
            rocksdb_options_set_max_total_wal_size(options, logBytesMax)
            rocksdb_options_set_max_open_files(options, openFilesMax)
            rocksdb_options_set_max_background_jobs(options, 2)
            rocksdb_options_set_keep_log_file_num(options, 2)
            rocksdb_options_set_info_log_level(options, 2)
            if let logDirectory { rocksdb_options_set_db_log_dir(options, logDirectory) }
            // The output of a flush or compaction that a drop cuts off is only found by looking for it.
            rocksdb_options_set_delete_obsolete_files_period_micros(options, leftoverScanMicroseconds)
            // Nobody reads them, and they wake the disk every ten minutes.
            rocksdb_options_set_stats_dump_period_sec(options, 0)
            rocksdb_options_set_stats_persist_period_sec(options, 0)
            let mode =
                switch recovery {
                case .tolerateTail: rocksdb_tolerate_corrupted_tail_records_recovery
                case .pointInTime: rocksdb_point_in_time_recovery
                }
            rocksdb_options_set_wal_recovery_mode(options, Int32(mode))
            rocksdb_options_set_compression(
                options, Int32(compress ? rocksdb_lz4_compression : rocksdb_no_compression))
            // No readahead of whole files at open, so that opening with many families stays fast.
            rocksdb_options_set_skip_stats_update_on_db_open(options, 1)
            let table = rocksMade(rocksdb_block_based_options_create())
            rocksdb_block_based_options_set_block_cache(table, cache)
            rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10))
            rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1)
            rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1)
            rocksdb_options_set_block_based_table_factory(options, table)
            rocksdb_block_based_options_destroy(table)
            return options
        }
    }
#endif
