#if SQLite
    internal import Glibc
    internal import Synchronization

    /// What is known of the write-ahead log beside what SQLite knows.
    ///
    /// SQLite reads a log up to the first page that fails its checksum and forgets the rest without a word, synced or
    /// not. So the number of pages that the last sync covered is noted in `SYNCED`, and a log that holds fewer is
    /// refused. Source of the format: sqlite.org/fileformat2.html, section 4.
    final class SQLiteLog: Sendable {
        private let mark: SyncMark
        private let path: String
        /// The log that is noted, by its salt, and the pages in it.
        private let noted: Mutex<(salt: UInt64, frames: Int32)>

        init(directory: String, file: String, isReadOnly: Bool) throws(EngineError) {
            mark = try SyncMark(directory: directory, isReadOnly: isReadOnly)
            path = "\(file)-wal"
            noted = Mutex((0, 0))
            if mark.isFound, (fileBytes(file) ?? 0) < 512 {
                throw .corruption(place: "\(file): missing or cut, but it has been written to")
            }
            guard mark.found > 0 else { return }
            let log = try Self.read(path)
            if let log, log.salt == mark.foundTag {
                guard log.frames >= mark.found else {
                    throw .corruption(
                        place: "\(path): \(log.frames) pages can be read, but \(mark.found) were synced")
                }
                return
            }
            // A log that begins anew counts on in the first half of its salt. Everything in the one before had been
            // written to the file and synced by then.
            if let log, case let steps = UInt32(truncatingIfNeeded: log.salt >> 32) &- UInt32(mark.foundTag >> 32),
                steps > 0, steps < 1 << 31
            {
                return
            }
            throw .corruption(place: "\(path): missing or damaged, but \(mark.found) pages of it were synced")
        }

        /// A commit was synced, with `frames` pages in the log.
        func noteSync(frames: Int32) {
            noted.withLock { noted in
                // Fewer pages than before: the log has begun anew, with another salt.
                if noted.salt == 0 || frames <= noted.frames { noted.salt = Self.salt(path) ?? 0 }
                noted.frames = frames
                if noted.salt != 0 { mark.note(UInt64(frames), tag: noted.salt) }
            }
        }

        /// All of the log is in the file, synced, and from now on the log may begin anew, or go. Synced before it does:
        /// after a power cut the note of a log that has gone would be taken for a loss.
        func willReset() {
            noted.withLock { noted in
                mark.note(0, synced: true)
                noted = (0, 0)
            }
        }

        private static func salt(_ path: String) -> UInt64? {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            var salt: UInt64 = 0
            return withUnsafeMutableBytes(of: &salt) { pread(descriptor, $0.baseAddress, 8, 16) } == 8
                ? UInt64(bigEndian: salt) : nil
        }

        /// The log's salt, and the pages up to the last commit that can be read; `nil` without a whole header.
        static func read(_ path: String) throws(EngineError) -> (salt: UInt64, frames: UInt64)? {
            guard fileExists(path) else { return nil }
            // Through a map: after a long read the log may be larger than memory.
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw ioError("opening \(path)") }
            defer { close(descriptor) }
            guard let bytes = fileBytes(path).map({ Int($0) }), bytes > 0 else { return nil }
            guard let map = mmap(nil, bytes, PROT_READ, MAP_SHARED, descriptor, 0), map != MAP_FAILED else {
                throw ioError("reading \(path)")
            }
            defer { munmap(map, bytes) }
            return parse(UnsafeRawBufferPointer(start: map, count: bytes))
        }

        private static let headerBytes = 32
        private static let frameHeaderBytes = 24

        private static func parse(_ log: UnsafeRawBufferPointer) -> (salt: UInt64, frames: UInt64)? {
            guard log.count >= headerBytes else { return nil }
            func number(_ offset: Int) -> UInt32 {
                UInt32(bigEndian: log.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            }
            let magic = number(0)
            guard magic & ~1 == 0x377f_0682 else { return nil }
            let isBigEndian = magic & 1 == 1
            let pageBytes = Int(number(8))
            guard (512...65_536).contains(pageBytes) else { return nil }
            var sum = Checksum()
            sum.add(UnsafeRawBufferPointer(rebasing: log[..<24]), isBigEndian)
            guard sum.first == number(24), sum.second == number(28) else { return nil }
            let salt = UInt64(number(16)) << 32 | UInt64(number(20))
            var frames: UInt64 = 0
            var committed: UInt64 = 0
            var at = headerBytes
            while at + frameHeaderBytes + pageBytes <= log.count {
                guard UInt64(number(at + 8)) << 32 | UInt64(number(at + 12)) == salt else { break }
                sum.add(UnsafeRawBufferPointer(rebasing: log[at..<at + 8]), isBigEndian)
                let page = at + frameHeaderBytes
                sum.add(UnsafeRawBufferPointer(rebasing: log[page..<page + pageBytes]), isBigEndian)
                guard sum.first == number(at + 16), sum.second == number(at + 20) else { break }
                frames += 1
                if number(at + 4) != 0 { committed = frames }
                at = page + pageBytes
            }
            return (salt, committed)
        }

        private struct Checksum {
            var first: UInt32 = 0
            var second: UInt32 = 0

            mutating func add(_ bytes: UnsafeRawBufferPointer, _ isBigEndian: Bool) {
                var (first, second) = (first, second)
                for offset in stride(from: 0, to: bytes.count, by: 8) {
                    let low = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                    let high = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                    first = first &+ (isBigEndian ? UInt32(bigEndian: low) : UInt32(littleEndian: low)) &+ second
                    second = second &+ (isBigEndian ? UInt32(bigEndian: high) : UInt32(littleEndian: high)) &+ first
                }
                (self.first, self.second) = (first, second)
            }
        }
    }
#endif
