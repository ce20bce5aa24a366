#if LMDB
    import Foundation
    import Testing

    import Engines

    /// What opening accepts of LMDB's file, and what it refuses before the file is mapped.
    @Suite struct LMDBFileTests {
        private let family = FamilyID(2)
        /// Bytes of a page.
        private let page = UInt64(sysconf(Int32(_SC_PAGESIZE)))

        /// How much the list of free pages holds: it fits into a page, or its records have pages of their own, or it has
        /// branches.
        enum FreeList: CaseIterable { case short, largeRecords, manyRecords }

        /// An engine whose file ends before the last page that its meta page counts: a large value was put and deleted
        /// in one transaction, so its pages were taken from the end and never written.
        private func withShortFile(_ list: FreeList, _ body: (_ directory: String, _ file: String) throws -> Void)
            throws
        {
            try withTemporaryDirectory { directory in
                let engine = try LMDBEngine(path: directory)
                try engine.createFamily(family)
                var small = WriteBatch()
                for number in 0..<50 {
                    small.put(family, key: [UInt8(number)], value: [UInt8](repeating: 3, count: 500))
                }
                try engine.write(small, durability: .synced)
                // Nothing that is freed under an older snapshot is taken again.
                let reader = try engine.snapshot()
                switch list {
                case .short: break
                case .largeRecords:
                    try put(engine, key: [100], bytes: 2 << 20)
                    try put(engine, key: [100], bytes: 3)
                case .manyRecords: for number in 0..<400 { try put(engine, key: [UInt8(number % 50)], bytes: 400) }
                }
                var large = WriteBatch()
                large.put(family, key: [200], value: [UInt8](repeating: 7, count: 40_000))
                large.deleteRange(family, from: [200], to: [201])
                try engine.write(large, durability: .synced)
                reader.close()
                try engine.close()
                try body(directory, "\(directory)/data.mdb")
            }
        }

        private func put(_ engine: LMDBEngine, key: [UInt8], bytes: Int) throws {
            var batch = WriteBatch()
            batch.put(family, key: key, value: [UInt8](repeating: 5, count: bytes))
            try engine.write(batch, durability: .synced)
        }

        private func rows(_ engine: LMDBEngine) throws -> Int {
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            var count = 0
            try snapshot.scan(family) { _, _ in
                count += 1
                return true
            }
            return count
        }

        /// Opens, reads everything and closes; `nil` if opening says that the file is damaged.
        private func read(_ directory: String, readOnly: Bool) throws -> Int? {
            let engine: LMDBEngine
            do {
                engine = try LMDBEngine(path: directory, readOnly: readOnly)
            } catch EngineError.corruption {
                return nil
            }
            let count = try rows(engine)
            try engine.close()
            return count
        }

        @Test(arguments: FreeList.allCases) func aFileThatEndsInFreePagesIsWhole(list: FreeList) throws {
            try withShortFile(list) { directory, file in
                let rows = list == .largeRecords ? 51 : 50
                for readOnly in [true, false] { #expect(try read(directory, readOnly: readOnly) == rows) }
                // And it can be written again.
                let engine = try LMDBEngine(path: directory)
                for number in 0..<20 { try put(engine, key: [210, UInt8(number)], bytes: 20_000) }
                try engine.close()
                #expect(try read(directory, readOnly: true) == rows + 20)
            }
        }

        /// Each cut either leaves everything or is refused: a page that is in use is never missed while it is read.
        @Test(arguments: FreeList.allCases, [true, false])
        func aFileThatLacksAPageInUseIsRefused(list: FreeList, readOnly: Bool) throws {
            try withShortFile(list) { directory, file in
                let bytes = try Data(contentsOf: URL(filePath: file))
                let pages = UInt64(bytes.count) / page
                var refused = 0
                let cuts = (0..<20).map { pages - min(pages, $0) } + (0..<10).map { $0 * pages / 10 }
                for cut in cuts {
                    try bytes.prefix(Int(cut * page)).write(to: URL(filePath: file))
                    let found = try read(directory, readOnly: readOnly)
                    if found == nil { refused += 1 }
                    #expect(
                        found == nil || found == (list == .largeRecords ? 51 : 50), "cut to \(cut) of \(pages) pages")
                }
                #expect(refused >= 10)
            }
        }

        /// A writer makes its file before it writes to it.
        @Test func anEmptyFileIsNewToAWriterAndRefusedToAReader() throws {
            try withTemporaryDirectory { directory in
                try Data().write(to: URL(filePath: "\(directory)/data.mdb"))
                #expect(try read(directory, readOnly: true) == nil)
                let engine = try LMDBEngine(path: directory)
                #expect(try engine.families().isEmpty)
                try engine.close()
            }
        }

        /// Wherever a bit of the free list's root page is flipped, opening answers; it does not read or recurse beyond.
        @Test(arguments: FreeList.allCases) func aDamagedFreeListIsAnswered(list: FreeList) throws {
            try withShortFile(list) { directory, file in
                let bytes = try Data(contentsOf: URL(filePath: file))
                let root = bytes.withUnsafeBytes { bytes in
                    func number(_ offset: Int) -> UInt64 {
                        bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                    }
                    return number((number(16 + 128) > number(Int(page) + 16 + 128) ? 0 : Int(page)) + 16 + 24 + 40)
                }
                let start = Int(root * page)
                let handle = try FileHandle(forUpdating: URL(filePath: file))
                defer { try? handle.close() }
                func write(_ place: Int, _ byte: UInt8) throws {
                    try handle.seek(toOffset: UInt64(place))
                    try handle.write(contentsOf: [byte])
                }
                for bit in stride(from: 0, to: Int(page) * 8, by: 5) {
                    let place = start + bit / 8
                    try write(place, bytes[place] ^ 1 << UInt8(bit % 8))
                    defer { try? write(place, bytes[place]) }
                    do {
                        try LMDBFile.check(directory: directory, isWritten: true)
                    } catch EngineError.corruption {}
                }
            }
        }
    }
#endif
