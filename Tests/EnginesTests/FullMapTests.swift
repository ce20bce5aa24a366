#if LMDB
    import Foundation
    import Testing

    import Engines

    /// A map without room is a full disk: said, survived, and mended by deleting.
    @Suite struct FullMapTests {
        private let family = FamilyID(2)

        private func withEngine(_ body: (LMDBEngine) throws -> Void) throws {
            try withTemporaryDirectory { directory in
                let engine = try LMDBEngine(path: directory, readOnly: false, mapBytes: [1 << 20])
                try engine.createFamily(family)
                try body(engine)
            }
        }

        private func put(
            _ engine: LMDBEngine, _ rows: [(key: [UInt8], bytes: Int)], _ durability: Durability = .synced
        ) throws {
            var batch = WriteBatch()
            for row in rows { batch.put(family, key: row.key, value: [UInt8](repeating: 7, count: row.bytes)) }
            try engine.write(batch, durability: durability)
        }

        private func keys(_ engine: LMDBEngine) throws -> [[UInt8]] {
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            var keys: [[UInt8]] = []
            try snapshot.scan(family) { key, _ in
                keys.append(Array(key))
                return true
            }
            return keys
        }

        /// Writes rows of `bytes` until the map is full; their number, and what the engine said.
        private func fill(_ engine: LMDBEngine, bytes: Int) throws -> (count: UInt16, error: EngineError) {
            for number: UInt16 in 0..<UInt16.max {
                do {
                    try put(engine, [([UInt8(number >> 8), UInt8(number & 0xff)], bytes)])
                } catch let error as EngineError {
                    return (number, error)
                }
            }
            throw EngineError.unsupported("a map that never fills")
        }

        /// One row after another: a transaction copies each page that it changes before it gives any back.
        private func delete(_ engine: LMDBEngine, below count: UInt16) throws {
            for number in 0..<count {
                var batch = WriteBatch()
                batch.delete(family, key: [UInt8(number >> 8), UInt8(number & 0xff)])
                try engine.write(batch, durability: .synced)
            }
        }

        @Test func aBatchThatDoesNotFitIsRefusedWholeWhileItIsPut() throws {
            try withEngine { engine in
                try put(engine, [([1], 10)])
                #expect {
                    try put(engine, [([2], 10), ([3], 2 << 20)])
                } throws: { error in
                    if case .noSpace? = error as? EngineError { true } else { false }
                }
                #expect(try keys(engine) == [[1]])
                try put(engine, [([4], 10)])
                #expect(try keys(engine) == [[1], [4]])
            }
        }

        /// Small rows fill the map to its last page: the last of them fits, and committing it doesn't.
        @Test(arguments: [100, 900, 3000, 5000, 9000]) func aFullMapIsNoSpaceAndLeavesNothing(bytes: Int) throws {
            try withEngine { engine in
                let (count, error) = try fill(engine, bytes: bytes)
                guard case .noSpace = error else {
                    Issue.record("a full map was called \(error)")
                    return
                }
                #expect(try keys(engine).count == Int(count))
                #expect {
                    try put(engine, [([0xff], 1 << 20)])
                } throws: { error in
                    if case .noSpace? = error as? EngineError { true } else { false }
                }
                #expect(try keys(engine).count == Int(count), "nor does the next")
            }
        }

        @Test(arguments: [3000, 5000, 9000]) func aDeleteMakesRoom(bytes: Int) throws {
            try withEngine { engine in
                let count = try fill(engine, bytes: bytes).count
                try delete(engine, below: count / 2)
                #expect(try keys(engine).count == Int(count - count / 2))
                try put(engine, [([0xff], bytes)])
                #expect(try keys(engine).last == [0xff])
            }
        }

        /// A map that is full to the last page has none for the copies that a delete of small rows needs; a drop needs
        /// hardly any.
        @Test(arguments: [100, 900, 5000]) func aDropMakesRoom(bytes: Int) throws {
            try withEngine { engine in
                let count = try fill(engine, bytes: bytes).count
                try engine.dropFamily(family)
                while try engine.reclaim() {}
                try engine.createFamily(family)
                #expect(try keys(engine).isEmpty)
                #expect(try fill(engine, bytes: bytes).count > count / 2)
            }
        }

        @Test func whatWasThereBeforeTheMapWasFullIsThereAfterReopening() throws {
            try withTemporaryDirectory { directory in
                var count = 0
                do {
                    let engine = try LMDBEngine(path: directory, readOnly: false, mapBytes: [1 << 20])
                    try engine.createFamily(family)
                    count = Int(try fill(engine, bytes: 900).count)
                    try engine.close()
                }
                let engine = try LMDBEngine(path: directory, readOnly: false, mapBytes: [1 << 20])
                #expect(try keys(engine).count == count)
                try engine.close()
            }
        }

        @Test func aBufferedBatchThatOverfillsTheMapIsRefusedWhole() throws {
            try withEngine { engine in
                try put(engine, [([1], 10)])
                // Buffered batches gather up to 8 MiB before they are committed.
                var refused: UInt8?
                for number: UInt8 in 10..<30 where refused == nil {
                    do { try put(engine, [([number], 1 << 20)], .buffered) } catch let error as EngineError {
                        guard case .noSpace = error else { throw error }
                        refused = number
                    }
                }
                let number = try #require(refused)
                #expect(try !keys(engine).contains([number]))
            }
        }
    }
#endif
