import Engines
import Foundation
import Testing

/// What engines make of files that a kill left, and that were cut or damaged since: never less than what was synced.
///
/// A copy of an open engine's directory is what a kill leaves.
@Suite struct SyncedFilesTests {
    static let family = FamilyID(2)

    /// A directory in which [0]...[3] were synced and [4]...[7] only buffered, as a kill leaves it.
    private func withKilled(
        _ kind: EngineKind, log isLog: (String) -> Bool, _ body: (Killed) throws -> Void
    ) throws {
        try withTemporaryDirectory { place in
            let engine = try kind.open(try makeDirectory("\(place)/open"))
            try engine.createFamily(Self.family)
            for key: UInt8 in 0..<4 { try engine.put(key, .synced) }
            let found = directoryEntries("\(place)/open")?.first(where: isLog)
            let log = try #require(found)
            let syncedBytes = try #require(fileBytes("\(place)/open/\(log)"))
            for key: UInt8 in 4..<8 {
                var batch = WriteBatch()
                batch.put(Self.family, key: [key], value: [UInt8](repeating: key, count: 30))
                // A range delete, if only of nothing, doesn't wait in SQLite's overlay: into the log, and no sync.
                batch.deleteRange(Self.family, from: [0xff], to: [0xff])
                try engine.write(batch, durability: .buffered)
            }
            try FileManager.default.copyItem(atPath: "\(place)/open", toPath: "\(place)/killed")
            try engine.close()
            let killed = Killed(kind: kind, place: place, log: log, syncedBytes: Int(syncedBytes))
            // On LMDB it makes a transaction, and that is synced.
            let left = try killed.keys { _ in }
            #expect(left == (0..<8).map { [$0] }, "untouched")
            try body(killed)
        }
    }

    // MARK: - Reading alone

    @Test(arguments: EngineKind.durable) func readingWhatAKillLeftChangesNoByte(kind: EngineKind) throws {
        try withKilled(kind, log: { _ in true }) { killed in
            let path = try killed.fresh()
            let before = try files(of: path)
            let engine = try kind.open(path, readOnly: true)
            let found = try engine.keys()
            #expect(found.count >= 4 && found == (0..<UInt8(found.count)).map { [$0] })
            try engine.close()
            let after = try files(of: path)
            #expect(after.keys.sorted() == before.keys.sorted())
            for (name, bytes) in before { #expect(after[name] == bytes, "\(name)") }
        }
    }

    private func files(of directory: String) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in directoryEntries(directory) ?? [] {
            files[name] = try readFile("\(directory)/\(name)", limit: 1 << 26)
        }
        return files
    }

    // MARK: - RocksDB

    #if RocksDB
        private func isRocksLog(_ name: String) -> Bool { name.hasSuffix(".log") }

        @Test func aRocksDBLogThatIsCutBeforeWhatWasSyncedIsRefused() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                for cut in stride(from: 0, to: killed.syncedBytes, by: max(1, killed.syncedBytes / 9)) {
                    #expect(throws: EngineError.self, "cut at \(cut) of \(killed.syncedBytes)") {
                        _ = try killed.keys { try $0.cutLog(at: cut) }
                    }
                }
            }
        }

        @Test func aRocksDBLogWithABitFlippedInWhatWasSyncedIsRefused() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                for place in stride(from: 0, to: killed.syncedBytes, by: max(1, killed.syncedBytes / 9)) {
                    #expect(throws: EngineError.self, "byte \(place) of \(killed.syncedBytes)") {
                        _ = try killed.keys { try $0.flipLog(at: place) }
                    }
                }
            }
        }

        @Test func aRocksDBLogWhoseUnsyncedTailIsDamagedOpensWithWhatWasSynced() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in try killed.checkTail() }
        }

        @Test func aRocksDBLogThatIsGoneIsRefused() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                #expect(throws: EngineError.self) { _ = try killed.keys { try $0.removeLog() } }
            }
        }

        /// Every record tells how far the log had been synced before it.
        @Test func aCutLogProvesWhatItsWholeRecordsSay() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                let log = try killed.logBytes()
                let whole = RocksLog.syncedSequence(log)
                #expect(whole >= 4)
                var last: UInt64 = 0
                for count in 0...log.count {
                    let proven = RocksLog.syncedSequence(Array(log[..<count]))
                    #expect(proven >= last && proven <= whole, "cut at \(count)")
                    #expect(RocksLog.isWhole(Array(log[..<count]), through: log.count) == (count == log.count))
                    last = proven
                }
                #expect(last == whole)
            }
        }

        @Test func aFlippedBitInALogIsFoundAndProvesNothing() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                let log = try killed.logBytes()
                let whole = RocksLog.syncedSequence(log)
                for place in log.indices {
                    var damaged = log
                    damaged[place] ^= 1 << UInt8(place % 8)
                    #expect(!RocksLog.isWhole(damaged, through: log.count), "bit \(place % 8) of byte \(place)")
                    #expect(RocksLog.syncedSequence(damaged) <= whole, "bit \(place % 8) of byte \(place)")
                }
            }
        }

        @Test func aManifestThatIsCutOrDamagedWithinWhatWasSyncedIsRefused() throws {
            try withKilled(.rocksdb, log: isRocksLog) { killed in
                let path = try killed.fresh()
                let mark = try SyncMark(directory: path, isReadOnly: true)
                let name = try #require(directoryEntries(path)?.first { $0.hasPrefix("MANIFEST-") })
                let manifest = try readFile("\(path)/\(name)", limit: 1 << 20)
                let file = URL(fileURLWithPath: "\(path)/\(name)")
                #expect(throws: Never.self) { try RocksManifest.check(path, mark) }
                let synced = Int(mark.foundTag & (1 << 40 - 1))
                #expect((1...manifest.count).contains(synced))
                for place in 0..<synced {
                    try Data(manifest[..<place]).write(to: file)
                    #expect(throws: EngineError.self, "cut at \(place)") { try RocksManifest.check(path, mark) }
                    var damaged = manifest
                    damaged[place] ^= 1 << UInt8(place % 8)
                    try Data(damaged).write(to: file)
                    #expect(throws: EngineError.self, "byte \(place)") { try RocksManifest.check(path, mark) }
                }
            }
        }
    #endif

    // MARK: - SQLite

    #if SQLite
        private func isWAL(_ name: String) -> Bool { name.hasSuffix("-wal") }

        @Test func aSQLiteLogThatIsCutBeforeWhatWasSyncedIsRefused() throws {
            try withKilled(.sqlite, log: isWAL) { killed in
                for cut in stride(from: 0, to: killed.syncedBytes, by: max(1, killed.syncedBytes / 19)) {
                    #expect(throws: EngineError.self, "cut at \(cut) of \(killed.syncedBytes)") {
                        _ = try killed.keys { try $0.cutLog(at: cut) }
                    }
                }
            }
        }

        @Test func aSQLiteLogWithABitFlippedInWhatWasSyncedIsRefused() throws {
            try withKilled(.sqlite, log: isWAL) { killed in
                let places = Array(0..<32) + Array(stride(from: 32, to: killed.syncedBytes, by: 1013))
                for place in places {
                    #expect(throws: EngineError.self, "byte \(place) of \(killed.syncedBytes)") {
                        _ = try killed.keys { try $0.flipLog(at: place) }
                    }
                }
            }
        }

        @Test func aSQLiteLogWhoseUnsyncedTailIsDamagedOpensWithWhatWasSynced() throws {
            try withKilled(.sqlite, log: isWAL) { killed in try killed.checkTail() }
        }

        @Test func aSQLiteLogThatIsGoneAfterAKillIsRefused() throws {
            try withKilled(.sqlite, log: isWAL) { killed in
                #expect(throws: EngineError.self) { _ = try killed.keys { try $0.removeLog() } }
            }
        }

        /// Four synced rows, and a copy of the directory behind `close`.
        private func withClosed(holdsEngine: Bool, _ body: (String) throws -> Void) throws {
            try withTemporaryDirectory { place in
                var engine: (any StorageEngine)? = try EngineKind.sqlite.open(try makeDirectory("\(place)/open"))
                try engine?.createFamily(Self.family)
                for key: UInt8 in 0..<4 { try engine?.put(key, .synced) }
                try engine?.close()
                if !holdsEngine { engine = nil }
                try FileManager.default.copyItem(atPath: "\(place)/open", toPath: "\(place)/closed")
                engine = nil
                try body("\(place)/closed")
            }
        }

        private func withoutLog(_ directory: String) throws -> [[UInt8]] {
            unlink("\(directory)/engine.db-wal")
            unlink("\(directory)/engine.db-shm")
            let engine = try EngineKind.sqlite.open(directory)
            defer { try? engine.close() }
            return try engine.keys()
        }

        @Test func aSQLiteDirectoryWhoseEngineIsGoneOpensWithoutALog() throws {
            try withClosed(holdsEngine: false) { (directory) throws in
                #expect(try withoutLog(directory) == [[0], [1], [2], [3]])
            }
        }

        @Test func aSQLiteDirectoryThatWasClosedOpensWithoutALog() throws {
            try withClosed(holdsEngine: true) { (directory) throws in
                #expect(try withoutLog(directory) == [[0], [1], [2], [3]])
            }
        }

        @Test func aLogThatIsLeftBehindCloseIsStillVouchedFor() throws {
            try withClosed(holdsEngine: true) { (directory) throws in
                let log = URL(fileURLWithPath: "\(directory)/engine.db-wal")
                guard let bytes = try? Data(contentsOf: log), !bytes.isEmpty else { return }
                try bytes[..<(bytes.count / 2)].write(to: log)
                #expect(throws: EngineError.self) { try EngineKind.sqlite.open(directory).close() }
            }
        }
    #endif
}

/// A directory as a kill left it, of which each trial gets a copy.
private struct Killed {
    let kind: EngineKind
    let place: String
    let log: String
    /// The log's length after the last sync.
    let syncedBytes: Int

    struct Copy {
        let log: URL

        func cutLog(at count: Int) throws { try Data(try Data(contentsOf: log)[..<count]).write(to: log) }
        func flipLog(at place: Int) throws {
            var bytes = try Data(contentsOf: log)
            bytes[place] ^= 1 << UInt8(place % 8)
            try bytes.write(to: log)
        }
        func removeLog() throws { try FileManager.default.removeItem(at: log) }
    }

    /// A new copy of the directory.
    func fresh() throws -> String {
        let path = "\(place)/copy"
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: "\(place)/killed", toPath: path)
        return path
    }

    func logBytes() throws -> [UInt8] { try readFile("\(place)/killed/\(log)", limit: 1 << 24) }

    /// Damages a copy and reads what is left in it.
    func keys(_ damage: (Copy) throws -> Void) throws -> [[UInt8]] {
        let path = try fresh()
        try damage(Copy(log: URL(fileURLWithPath: "\(path)/\(log)")))
        let engine = try kind.open(path)
        let keys = try engine.keys()
        try engine.close()
        return keys
    }

    /// Cut and damaged behind what was synced: everything synced is there, and of the rest a beginning.
    func checkTail() throws {
        let end = try logBytes().count
        #expect(end > syncedBytes)
        for place in stride(from: syncedBytes, to: end, by: max(1, (end - syncedBytes) / 9)) {
            for (what, damage) in [("cut", { try $0.cutLog(at: place) }), ("flip", { try $0.flipLog(at: place) })]
                as [(String, (Copy) throws -> Void)]
            {
                let found = try keys(damage)
                #expect(found.count >= 4, "\(what) at \(place), \(syncedBytes)..<\(end)")
                #expect(found == (0..<UInt8(found.count)).map { [$0] }, "\(what) at \(place)")
            }
        }
    }
}

private func makeDirectory(_ path: String) throws -> String {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
}

extension StorageEngine {
    fileprivate func put(_ key: UInt8, _ durability: Durability) throws {
        var batch = WriteBatch()
        batch.put(SyncedFilesTests.family, key: [key], value: [UInt8](repeating: key, count: 30))
        try write(batch, durability: durability)
    }

    fileprivate func keys() throws -> [[UInt8]] {
        let snapshot = try snapshot()
        defer { snapshot.close() }
        var keys: [[UInt8]] = []
        try snapshot.scan(SyncedFilesTests.family) { key, _ in
            keys.append(Array(key))
            return true
        }
        return keys
    }
}
