#if RocksDB
    internal import Glibc

    /// Says "no space" before RocksDB runs into it. A write, flush or compaction that fails halfway leaves RocksDB in a
    /// state from which its C API offers no way back, and Debian's build, which has assertions, aborts the process.
    package struct RocksSpace {
        /// What memory holds must still find room when it is flushed.
        private let floorBytes: UInt64
        /// Far above the floor the file system is asked once for so many bytes written.
        private static let askBytes = 1 << 20

        private let path: String
        private var written = 0
        private var isClose = true

        package init(path: String, floorBytes: UInt64 = UInt64(RocksOptions.familyBufferBytes) * 3) {
            self.path = path
            self.floorBytes = floorBytes
        }

        mutating func check(_ bytes: Int) throws(EngineError) {
            written += bytes
            guard isClose || written >= Self.askBytes else { return }
            written = 0
            var status = statvfs()
            guard statvfs(path, &status) == 0 else { return }
            let free = UInt64(status.f_bavail) * UInt64(status.f_frsize)
            isClose = free < 4 * floorBytes
            guard free >= floorBytes + UInt64(bytes) else {
                throw .noSpace(
                    place:
                        "\(path): \(free >> 20) MiB are free, and RocksDB needs \(floorBytes >> 20) for its own work"
                )
            }
        }
    }
#endif
