#if SQLite
    import Foundation
    import Testing

    import Engines

    /// How a family lies in SQLite's file, today and in directories of earlier versions.
    @Suite struct SQLiteTablesTests {
        private static let family = FamilyID(2)
        private static let earlier = "(k BLOB PRIMARY KEY, v BLOB NOT NULL, c INTEGER NOT NULL) WITHOUT ROWID"

        /// Rows of values just above what a page of keys keeps in place, in no order.
        private func rows(_ count: Int) -> [(key: [UInt8], value: [UInt8])] {
            (0..<count).map { number in
                let key = UInt64(number) &* 0x9e37_79b9_7f4a_7c15
                return (
                    withUnsafeBytes(of: key.bigEndian) { Array($0) },
                    [UInt8](repeating: UInt8(number & 255), count: 1014)
                )
            }
        }

        private func fill(_ engine: any StorageEngine, _ rows: [(key: [UInt8], value: [UInt8])]) throws {
            for start in stride(from: 0, to: rows.count, by: 100) {
                var batch = WriteBatch()
                for row in rows[start..<min(start + 100, rows.count)] {
                    batch.put(Self.family, key: row.key, value: row.value)
                }
                try engine.write(batch, durability: .buffered)
            }
            try engine.sync()
        }

        private func contents(_ engine: any StorageEngine) throws -> ContentHash {
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            return try snapshot.contentHash(of: Self.family)
        }

        private func move(_ source: any StorageEngine, to target: any StorageEngine, by directory: String) throws {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let snapshot = try source.snapshot()
            defer { snapshot.close() }
            let manifest = try source.export(
                Self.family, from: snapshot, format: ChunkFormat.sqlite, to: directory)
            try target.createFamily(Self.family)
            try target.ingest(manifest, from: directory, into: Self.family)
        }

        private func open(_ directory: String) throws -> SQLiteEngine {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            return try SQLiteEngine(path: directory)
        }

        @Test func aValueOfAThousandBytesTakesNoPageOfItsOwn() throws {
            try withTemporaryDirectory { directory in
                let engine = try open("\(directory)/engine")
                try engine.createFamily(Self.family)
                let rows = rows(2000)
                try fill(engine, rows)
                try engine.compact()
                let bytes = rows.count * (8 + 1014)
                #expect(try engine.statistics().storageBytes < UInt64(bytes) * 3 / 2)
                try engine.close()
            }
        }

        /// A backup tool, or a person with a shell, holds the file.
        @Test(arguments: [Durability.synced, .logged, .buffered])
        func aFileThatSomebodyHoldsIsBusyAndNoHarmIsDone(durability: Durability) throws {
            try withTemporaryDirectory { directory in
                let engine = try SQLiteEngine(path: directory, busyTimeout: 0)
                try engine.createFamily(Self.family)
                let other = try SQLiteConnection(path: "\(directory)/engine.db", readOnly: false)
                try other.execute("BEGIN IMMEDIATE")
                var batch = WriteBatch()
                batch.put(Self.family, key: [1], value: [2])
                func write() throws {
                    try engine.write(batch, durability: durability)
                    try engine.sync()
                }
                for _ in 0..<3 {
                    let error = #expect(throws: EngineError.self) { try write() }
                    guard case .busy = error else {
                        Issue.record("refused as \(String(describing: error))")
                        return
                    }
                }
                try other.execute("COMMIT")
                try write()
                let snapshot = try engine.snapshot()
                #expect(try snapshot.get(Self.family, key: [1]) == [2])
                snapshot.close()
                try engine.close()
            }
        }

        @Test(arguments: [4096, 8192, 16384])
        func aDirectoryOfAnEarlierVersionGoesOn(pageBytes: Int) throws {
            try withTemporaryDirectory { directory in
                let path = "\(directory)/earlier"
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                do {
                    let connection = try SQLiteConnection(path: "\(path)/engine.db", readOnly: false)
                    try connection.execute("PRAGMA page_size = \(pageBytes)")
                    try connection.execute("CREATE TABLE \(SQLiteEngine.table(Self.family)) \(Self.earlier)")
                }
                let old = try open(path)
                #expect(try old.families() == [Self.family])
                let rows = rows(3000)
                try fill(old, rows)
                // Written again, and some deleted.
                try fill(old, rows.prefix(500).map { ($0.key, [1, 2, 3]) })
                var batch = WriteBatch()
                for row in rows[500..<600] { batch.delete(Self.family, key: row.key) }
                try old.write(batch, durability: .synced)
                let hash = try contents(old)
                #expect(hash.count == 2900)

                let new = try open("\(directory)/new")
                try move(old, to: new, by: "\(directory)/there")
                #expect(try contents(new) == hash)
                try fill(new, [(rows[0].key, [4])])
                let changed = try contents(new)

                try old.dropFamily(Self.family)
                var slices = 1
                while try old.reclaim() { slices += 1 }
                #expect(slices > 2)
                try move(new, to: old, by: "\(directory)/back")
                #expect(try contents(old) == changed)

                try old.checkpoint(to: "\(directory)/copy")
                try old.close()
                let reopened = try open(path)
                #expect(try contents(reopened) == changed)
                try reopened.close()
                let copy = try SQLiteEngine(path: "\(directory)/copy", readOnly: true)
                #expect(try contents(copy) == changed)
                try copy.close()

                try new.dropFamily(Self.family)
                slices = 1
                while try new.reclaim() { slices += 1 }
                #expect(slices > 2)
                try new.close()
            }
        }
    }
#endif
