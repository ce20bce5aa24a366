#if RocksDB
    import Synchronization
    import Testing

    import Engines

    /// What a drop leaves opens, again and again, also if there was no room to prepare it.
    @Suite struct RocksDBDropTests {
        private let stays = FamilyID(2)
        private let goes = FamilyID(3)

        private func put(_ engine: RocksDBEngine, _ family: FamilyID, _ key: UInt8, _ durability: Durability) throws {
            var batch = WriteBatch()
            batch.put(family, key: [key], value: [key])
            try engine.write(batch, durability: durability)
        }

        enum After: CaseIterable { case nothing, sync, batchWithoutRecords, bufferedRow, syncedRow, anotherDrop }

        @Test(arguments: After.allCases, [true, false]) func aDropIsNoLoss(after: After, isFull: Bool) throws {
            try withTemporaryDirectory { directory in
                var engine = try RocksDBEngine(path: directory)
                for family in [stays, goes, FamilyID(4)] { try engine.createFamily(family) }
                try put(engine, stays, 1, .synced)
                try put(engine, FamilyID(4), 1, .synced)
                for row: UInt8 in 0..<5 { try put(engine, goes, row, row == 4 ? .buffered : .synced) }
                if isFull { engine.space.withLock { $0 = RocksSpace(path: directory, floorBytes: .max / 8) } }
                try engine.dropFamily(goes)
                if after == .anotherDrop { try engine.dropFamily(FamilyID(4)) }
                engine.space.withLock { $0 = RocksSpace(path: directory) }
                switch after {
                case .nothing, .anotherDrop: break
                case .sync: try engine.sync()
                case .batchWithoutRecords:
                    var batch = WriteBatch()
                    batch.deleteRange(stays, from: [9], to: [8])
                    try engine.write(batch, durability: .synced)
                case .bufferedRow: try put(engine, stays, 2, .buffered)
                case .syncedRow: try put(engine, stays, 2, .synced)
                }
                for round in 0..<4 {
                    try engine.close()
                    engine = try RocksDBEngine(path: directory)
                    let snapshot = try engine.snapshot()
                    defer { snapshot.close() }
                    #expect(try snapshot.get(stays, key: [1]) == [1], "round \(round)")
                    #expect(try !engine.families().contains(goes))
                }
                try engine.close()
            }
        }
    }
#endif
