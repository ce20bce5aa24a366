#if LMDB && SQLite
    import Foundation
    import Testing

    import Engines

    /// A scan of keys leaves large values where they are. RocksDB keeps a key and its value in one block, which it can only
    /// read whole; there the conformance suite says that nothing of the value is shown.
    @Suite struct KeyScanTests {
        private let family = FamilyID(2)
        private static let values = 32
        private static let valueBytes = 1 << 20

        private static let filling: UInt8 = 7

        /// Bytes that this thread has read so far, as the system counts them.
        private func bytesRead() throws -> Int {
            let text = try String(contentsOfFile: "/proc/thread-self/io", encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("rchar: ") })
            return try #require(Int(line.dropFirst(7)))
        }

        /// Bytes that a scan of a directory which was just opened reads.
        private func reading(_ kind: EngineKind, _ directory: String, _ contents: CursorContents) throws -> Int {
            let engine = try kind.open(directory)
            let snapshot = try engine.snapshot()
            let before = try bytesRead()
            var keys = 0
            try snapshot.scan(family, reading: contents) { _, _ in
                keys += 1
                return true
            }
            let after = try bytesRead()
            #expect(keys == Self.values)
            snapshot.close()
            try engine.close()
            return after - before
        }

        private func withLargeValues(_ kind: EngineKind, _ body: (_ directory: String) throws -> Void) throws {
            try withTemporaryDirectory { directory in
                let engine = try kind.open(directory)
                try engine.createFamily(family)
                var batch = WriteBatch()
                for number in 0..<Self.values {
                    batch.put(
                        family, key: [UInt8](repeating: UInt8(number), count: EngineLimits.keyBytesMax),
                        value: [UInt8](repeating: Self.filling, count: Self.valueBytes))
                }
                try engine.write(batch, durability: .synced)
                try engine.close()
                try body(directory)
            }
        }

        @Test func aScanOfKeysOnSQLiteReadsNoValue() throws {
            try withLargeValues(.sqlite) { directory in
                let all = Self.values * Self.valueBytes
                let pairs = try reading(.sqlite, directory, .pairs)
                let keys = try reading(.sqlite, directory, .keys)
                #expect(pairs > all)
                #expect(keys < all / 50)
            }
        }

        /// What is read of a map isn't counted anywhere; but whoever looks at a value here finds it damaged.
        @Test(arguments: [(EngineKind.rocksdb, 1), (.lmdb, 0), (.sqlite, 0)])
        func aCursorSaysWhatWasReadOfValues(kind: EngineKind, share: Int) throws {
            try withLargeValues(kind) { directory in
                let engine = try kind.open(directory)
                let snapshot = try engine.snapshot()
                for (contents, expected) in [(CursorContents.pairs, 1), (.keys, share)] {
                    let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false, reading: contents)
                    var keys = 0
                    while try cursor.next({ _, _ in }) != nil {
                        keys += 1
                        #expect(cursor.valueBytesRead == keys * Self.valueBytes * expected)
                    }
                    #expect(keys == Self.values)
                }
                snapshot.close()
                try engine.close()
            }
        }

        @Test func aScanOfKeysOnLMDBLooksAtNoValue() throws {
            try withLargeValues(.lmdb) { directory in
                let file = URL(fileURLWithPath: "\(directory)/data.mdb")
                var bytes = try Data(contentsOf: file)
                let page = 4096
                var damaged = 0
                for start in stride(from: 0, to: bytes.count - page, by: page)
                where bytes[start..<start + page].allSatisfy({ $0 == Self.filling }) {
                    bytes[start] ^= 1
                    damaged += 1
                }
                #expect(damaged > Self.values * Self.valueBytes / page / 2)
                try bytes.write(to: file)
                #expect(throws: EngineError.self) { _ = try reading(.lmdb, directory, .pairs) }
                _ = try reading(.lmdb, directory, .keys)
            }
        }
    }
#endif
