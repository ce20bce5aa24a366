#if SQLite
    import Testing

    import Engines

    @Suite struct SQLiteCountsTests {
        private let counts = SQLiteCounts()
        private let family = FamilyID(3)

        private func puts(_ count: Int, _ family: FamilyID) -> WriteBatch {
            var batch = WriteBatch()
            for number in 0..<count { batch.put(family, key: [UInt8(number % 256), UInt8(number / 256)], value: [1]) }
            return batch
        }

        /// Whether it was counted, when a count would answer `keys`.
        private func isCounted(_ keys: UInt64 = 100) throws -> Bool {
            var isCounted = false
            _ = try counts.statistics(of: family) { () throws(EngineError) in
                isCounted = true
                return FamilyStatistics(keys: keys, bytes: keys)
            }
            return isCounted
        }

        @Test func aCountServesUntilATwentiethMayHaveChanged() throws {
            #expect(try isCounted())
            counts.note(puts(5, family))
            counts.note(puts(50, FamilyID(4)))
            #expect(try !isCounted())
            counts.note(puts(1, family))
            #expect(try isCounted())
            #expect(try !isCounted())
        }

        @Test func aRangeDeleteEndsACount() throws {
            #expect(try isCounted())
            var batch = puts(1, FamilyID(4))
            batch.deleteRange(family, from: [1], to: nil)
            counts.note(batch)
            #expect(try isCounted())
        }

        @Test func whatIsWrittenDuringACountCountsAsWrittenSince() throws {
            _ = try counts.statistics(of: family) { () throws(EngineError) in
                counts.note(puts(6, family))
                return FamilyStatistics(keys: 100, bytes: 100)
            }
            #expect(try isCounted())
        }

        @Test func anEmptyFamilyIsCountedAfterItsFirstRow() throws {
            #expect(try isCounted(0))
            #expect(try !isCounted(0))
            counts.note(puts(1, family))
            #expect(try isCounted(1))
            counts.forget(family)
            #expect(try isCounted(0))
        }
    }
#endif
