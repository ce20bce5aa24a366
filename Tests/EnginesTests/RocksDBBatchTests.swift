#if RocksDB
    import Testing

    import Engines

    /// The form is RocksDB's own (`write_batch.cc`).
    @Suite struct RocksDBBatchTests {
        private func filled(_ batch: WriteBatch, log: [UInt8] = [], _ number: (FamilyID) -> UInt32?) -> [UInt8] {
            var made = RocksDBBatch()
            made.fill(batch, log: log, number)
            return Array(made.bytes)
        }

        @Test func everyOperationHasItsRecord() {
            var batch = WriteBatch()
            batch.put(FamilyID(7), key: [1, 2], value: [3])
            batch.put(FamilyID(7), key: [4], value: [])
            batch.delete(FamilyID(8), key: [5])
            batch.deleteRange(FamilyID(8), from: [6], to: [7, 7])
            let bytes = filled(batch, log: [9, 9]) { $0 == FamilyID(7) ? 1 : 300 }
            let records: [[UInt8]] = [
                [3, 2, 9, 9], [5, 1, 2, 1, 2, 1, 3], [5, 1, 1, 4, 0], [4, 0xac, 2, 1, 5],
                [0x0e, 0xac, 2, 1, 6, 2, 7, 7],
            ]
            // A sequence number that RocksDB fills in, and a count that leaves out what is for the log alone.
            #expect(bytes == [0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0] + records.joined())
        }

        @Test func aRangeWithoutAnEndReachesBeyondEveryKeyAndAnEmptyOneIsLeftOut() {
            var batch = WriteBatch()
            batch.deleteRange(FamilyID(1), from: [2], to: [2])
            batch.deleteRange(FamilyID(1), from: [3], to: [2])
            batch.deleteRange(FamilyID(1), from: [4], to: nil)
            let bytes = filled(batch) { _ in 1 }
            let end = [UInt8](repeating: 0xff, count: EngineLimits.keyBytesMax + 1)
            #expect(bytes == [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0x0e, 1, 1, 4, 0x80, 4] + end)
        }

        @Test func itIsFilledAnewWhateverItHeld() {
            var large = WriteBatch()
            for _ in 0..<3 { large.put(FamilyID(1), key: [1], value: [UInt8](repeating: 1, count: 3 << 20)) }
            var small = WriteBatch()
            small.put(FamilyID(1), key: [1], value: [2])
            var made = RocksDBBatch()
            made.fill(large, log: []) { _ in 1 }
            #expect(made.bytes.count > 9 << 20)
            made.fill(small, log: []) { _ in 1 }
            #expect(Array(made.bytes) == filled(small) { _ in 1 })
        }
    }
#endif
