#if LMDB
    internal import Glibc

    /// LMDB's file as it lies on disk, read without a map: a page that is missing is an error here and a SIGBUS there.
    ///
    /// The format is that of LMDB 0.9 on a 64-bit little-endian machine (`MDB_meta`, `MDB_page` and `MDB_node` in
    /// mdb.c): two meta pages, then pages of the same size. Database 0 is the list of free pages: under the number of a
    /// transaction the pages that it freed, a count before them.
    package struct LMDBFile {
        private enum Layout {
            static let pageHeader = 16
            // Of a meta page, whose content follows the page header.
            static let pageBytes = pageHeader + 24
            static let freeDepth = pageHeader + 24 + 6
            static let freeRoot = pageHeader + 24 + 40
            static let lastPage = pageHeader + 120
            static let transaction = pageHeader + 128
            static let metaBytes = pageHeader + 136
            // Of any other page.
            static let pageFlags = 10
            static let pageLower = 12
            static let branch: UInt16 = 1
            static let leaf: UInt16 = 2
            static let nodeHeader = 8
            /// Of the free list: the number of a transaction.
            static let keyBytes = 8
            static let largeValue: UInt16 = 1
            static let depthMax: UInt16 = 32
        }

        private let path: String
        private let descriptor: CInt
        private let fileBytes: UInt64
        private let pageBytes: Int
        /// Of the newest meta page.
        private let lastPage: UInt64
        private let freeRoot: UInt64
        private let freeDepth: UInt16

        /// Refuses a file that is shorter than its own account, and before a writer (`isWritten`) also a list of free
        /// pages that can't be right: LMDB writes wherever that list says.
        ///
        /// A file of no length is new to a writer: it was made and not yet written when its process died. (What was
        /// there is told by `SYNCED`.) To a reader it is nothing.
        package static func check(directory: String, isWritten: Bool) throws(EngineError) {
            let path = "\(directory)/data.mdb"
            guard let bytes = Engines.fileBytes(path), bytes > 0 || !isWritten else { return }
            guard bytes > 0 else { throw .corruption(place: "\(path): is empty") }
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw ioError("opening \(path)") }
            defer { close(descriptor) }
            try LMDBFile(descriptor, path, bytes).check(isWritten: isWritten)
        }

        /// Reads the newer of the two meta pages.
        private init(_ descriptor: CInt, _ path: String, _ bytes: UInt64) throws(EngineError) {
            self.path = path
            self.descriptor = descriptor
            fileBytes = bytes
            let first = try Self.read(descriptor, path, at: 0, count: Layout.metaBytes)
            pageBytes = Int(first.number(Layout.pageBytes, as: UInt32.self))
            guard pageBytes >= 512, pageBytes <= 32_768, pageBytes.nonzeroBitCount == 1 else {
                throw .corruption(place: "\(path): pages of \(pageBytes) bytes")
            }
            let second = try Self.read(descriptor, path, at: UInt64(pageBytes), count: Layout.metaBytes)
            // LMDB takes it from the newer one, and divides by it.
            guard second.number(Layout.pageBytes, as: UInt32.self) == UInt32(pageBytes) else {
                throw .corruption(place: "\(path): its two heads give different sizes of a page")
            }
            // Transactions write the two in turn. A number that is out of turn was not written by one, and LMDB would
            // take the larger one for the newest.
            let even = first.number(Layout.transaction, as: UInt64.self)
            let odd = second.number(Layout.transaction, as: UInt64.self)
            guard max(even, odd) < 1 << 62,
                (even, odd) == (0, 0) || (even & 1 == 0 && odd & 1 == 1 && (even &+ 1 == odd || odd &+ 1 == even))
            else {
                throw .corruption(place: "\(path): transactions \(even) and \(odd) don't follow each other")
            }
            let newest = even > odd ? first : second
            lastPage = newest.number(Layout.lastPage, as: UInt64.self)
            freeRoot = newest.number(Layout.freeRoot, as: UInt64.self)
            freeDepth = newest.number(Layout.freeDepth, as: UInt16.self)
            guard lastPage < 1 << 40 else {
                throw .corruption(place: "\(path): \(bytes) bytes, but its last page is number \(lastPage)")
            }
        }

        /// Pages that are counted and that the file doesn't have, or not whole.
        private var missing: Range<UInt64> {
            let whole = fileBytes / UInt64(pageBytes)
            return min(whole, lastPage + 1)..<(lastPage + 1)
        }

        /// A file may end before the last page that was counted. Pages of a large value that one transaction put and
        /// deleted are taken from the end, are free when it commits, and were never written. So what is missing must be
        /// free.
        private func check(isWritten: Bool) throws(EngineError) {
            let missing = missing
            guard isWritten || !missing.isEmpty else { return }
            var found: Set<UInt64> = []
            try forEachFreePage { page in
                if missing.contains(page) { found.insert(page) }
            }
            guard found.count == missing.count else {
                throw damage("\(fileBytes) bytes, but its last page is number \(lastPage), of \(pageBytes) bytes each")
            }
        }

        // MARK: - The list of free pages

        private func forEachFreePage(_ body: (UInt64) -> Void) throws(EngineError) {
            // An empty tree has no root.
            guard freeRoot != .max else { return }
            guard freeDepth >= 1, freeDepth <= Layout.depthMax else { throw damagedList }
            // A damaged tree may lead to the same pages again and again.
            var visitsLeft = fileBytes / UInt64(pageBytes)
            try visit(freeRoot, depth: freeDepth, &visitsLeft, body)
        }

        private func visit(
            _ number: UInt64, depth: UInt16, _ visitsLeft: inout UInt64, _ body: (UInt64) -> Void
        ) throws(EngineError) {
            guard visitsLeft > 0 else { throw damagedList }
            visitsLeft -= 1
            let page = try read(number, count: pageBytes)
            let flags = page.number(Layout.pageFlags, as: UInt16.self)
            let lower = Int(page.number(Layout.pageLower, as: UInt16.self))
            guard flags & (Layout.branch | Layout.leaf) == (depth > 1 ? Layout.branch : Layout.leaf),
                lower >= Layout.pageHeader, lower <= pageBytes, lower % 2 == 0
            else { throw damagedList }
            for pointer in stride(from: Layout.pageHeader, to: lower, by: 2) {
                let node = Int(page.number(pointer, as: UInt16.self))
                guard node >= lower, node + Layout.nodeHeader <= pageBytes else { throw damagedList }
                let size = UInt64(page.number(node, as: UInt32.self))
                let flags = page.number(node + 4, as: UInt16.self)
                if depth > 1 {
                    // A branch's node keeps its child's number where a leaf's has the size and the flags of a value.
                    try visit(size | UInt64(flags) << 32, depth: depth - 1, &visitsLeft, body)
                    continue
                }
                guard page.number(node + 6, as: UInt16.self) == Layout.keyBytes else { throw damagedList }
                let value = node + Layout.nodeHeader + Layout.keyBytes
                if flags & Layout.largeValue == 0 {
                    guard value + Int(size) <= pageBytes else { throw damagedList }
                    try list(page[value..<value + Int(size)], body)
                } else {
                    guard value + 8 <= pageBytes, size <= (lastPage + 2) * 8 + UInt64(pageBytes) else {
                        throw damagedList
                    }
                    let place = page.number(value, as: UInt64.self)
                    try list(read(place, skipping: Layout.pageHeader, count: Int(size))[...], body)
                }
            }
        }

        /// One record: a count, then so many page numbers, the highest first.
        private func list(_ record: ArraySlice<UInt8>, _ body: (UInt64) -> Void) throws(EngineError) {
            guard record.count >= 8, record.count % 8 == 0 else { throw damagedList }
            let isRight = record.withUnsafeBytes { bytes in
                let count = bytes.loadUnaligned(as: UInt64.self)
                guard count < record.count / 8 else { return false }
                var above = lastPage + 1
                for index in 1..<(Int(count) + 1) {
                    let page = bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
                    guard page >= 2, page < above else { return false }
                    above = page
                    body(page)
                }
                return true
            }
            guard isRight else { throw damagedList }
        }

        // MARK: - Reading

        private func damage(_ what: String) -> EngineError { .corruption(place: "\(path): \(what)") }
        private var damagedList: EngineError { damage("the list of free pages") }

        private func read(_ page: UInt64, skipping: Int = 0, count: Int) throws(EngineError) -> [UInt8] {
            guard page >= 2, page <= lastPage else { throw damagedList }
            return try Self.read(descriptor, path, at: page * UInt64(pageBytes) + UInt64(skipping), count: count)
        }

        private static func read(
            _ descriptor: CInt, _ path: String, at offset: UInt64, count: Int
        ) throws(EngineError) -> [UInt8] {
            var failure: CInt = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                while filled < count {
                    let got = pread(
                        descriptor, buffer.baseAddress.map { $0 + filled }, count - filled,
                        off_t(clamping: offset) + off_t(filled))
                    if got < 0, errno == EINTR { continue }
                    if got < 0 { failure = errno }
                    if got <= 0 { return }
                    filled += got
                }
            }
            if failure != 0 { throw .io(place: "reading \(path)", errno: failure) }
            guard bytes.count == count else {
                throw .corruption(place: "\(path): ends before byte \(offset + UInt64(count))")
            }
            return bytes
        }
    }

    extension [UInt8] {
        /// A number of the machine's byte order, as LMDB writes it. The place must be inside.
        fileprivate func number<Number: FixedWidthInteger & BitwiseCopyable>(
            _ offset: Int, as type: Number.Type
        ) -> Number {
            withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
        }
    }
#endif
