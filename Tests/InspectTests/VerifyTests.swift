import Bytes
import EngineFaults
import Engines
import Foundation
import Inspect
import InspectFixtures
import Keyspace
import RaftLog
import Sharding
import Testing

/// Whole, damaged, or readable and not sealed.
@Suite struct VerifyTests {
    @Test(arguments: EngineKind.durable) func whatIsWholeIsGoodOrUnsealed(kind: EngineKind) throws {
        try Stores.with(kind) { stores in
            #expect(try SnapshotProgram.run("verify", stores.snapshot).code == 0)
            #expect(try SnapshotProgram.run("verify", stores.snapshot, "--strict").code == 0)
            for path in [stores.node, stores.controller] {
                let outcome = try SnapshotProgram.run("verify", path)
                #expect(outcome.code == 0 && outcome.notes.contains("without a seal"), "\(outcome)")
                #expect(try SnapshotProgram.run("verify", path, "--strict").code == 2)
            }
        }
    }

    @Test func everyDamagedFileOfASnapshotIsListed() throws {
        try Stores.with(.lmdb) { stores in
            for name in ["group-7/0/0.chunk", "group-7/2/0.chunk"] { try flip("\(stores.snapshot)/\(name)", 100) }
            try FileManager.default.removeItem(atPath: "\(stores.snapshot)/group-7/1/0.chunk")
            let report = try StoreVerifier.verify(stores.snapshot)
            #expect(report.verdict == .damaged)
            #expect(report.damage.count == 3, "\(report.damage)")
            for number in 0...2 { #expect(report.damage[number].place.contains("group-7/\(number)")) }
        }
    }

    @Test func aFileThatNobodyListsIsAWarning() throws {
        try Stores.with(.lmdb) { stores in
            try Data().write(to: URL(fileURLWithPath: "\(stores.snapshot)/group-7/notes.txt"))
            let report = try StoreVerifier.verify(stores.snapshot)
            #expect(report.verdict == .good && report.warnings.count == 1)
        }
    }

    @Test func aDamagedHeaderLeavesTheFilesToBeChecked() throws {
        try Stores.with(.lmdb) { stores in
            try flip("\(stores.snapshot)/group-7/header", 5)
            try flip("\(stores.snapshot)/group-7/1/0.chunk", 60)
            let report = try StoreVerifier.verify(stores.snapshot)
            #expect(report.damage.map(\.place).count == 2, "\(report.damage)")
            #expect(report.damage.last?.place.hasSuffix("group-7/1/0.chunk") == true)
        }
    }

    @Test func manifestAndSealBelongTogether() throws {
        for name in ["MANIFEST.json", "SEAL"] {
            try Stores.with(.lmdb) { stores in
                try flip("\(stores.snapshot)/\(name)", 30)
                #expect(try StoreVerifier.verify(stores.snapshot).verdict == .damaged)
                try FileManager.default.removeItem(atPath: "\(stores.snapshot)/\(name)")
                let outcome = try SnapshotProgram.run("verify", stores.snapshot)
                #expect(outcome.code == 2 && outcome.output.contains("damaged"), "\(name): \(outcome)")
            }
        }
    }

    // MARK: - What other tools leave

    /// A node that restoring, or going on alone, has left contradicts itself in nothing.
    @Test func restoredAndRecoveredNodesAreNotCalledDamaged() throws {
        let backup = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/archive-1/backup").path
        let kept = try StoreVerifier.verify(backup)
        #expect(kept.verdict == .good && kept.warnings.isEmpty, "\(kept)")
        try withScratchDirectory { root in
            let target = RestoreTarget(
                controllers: ["localhost:1"], groups: [100: ["localhost:2"], 101: ["localhost:3"]],
                engines: [.rocksdb, .sqlite, .lmdb])
            var random = SplitMix64(seed: 1)
            let plan = try RestorePlan(Backup(Archive(backup)), target, random: &random)
            _ = try Restore.run(Backup(Archive(backup)), plan, to: root)
            for node in plan.nodes {
                let report = try StoreVerifier.verify("\(root)/\(node.name)")
                #expect(report.verdict == .unsealed && report.warnings.isEmpty, "\(node.name): \(report)")
                let outcome = try SnapshotProgram.run("diff", backup, "\(root)/\(node.name)", "--group", "\(node.gid)")
                #expect(outcome.code == (node.gid == 0 ? 2 : 0), "the map names the new cluster: \(outcome)")
            }
        }
        for kind in EngineKind.durable {
            try withScratchDirectory { root in
                try NodeFixture.makeGroup("\(root)/node", kind)
                do {
                    let recovery = try ForcedRecovery("\(root)/node")
                    _ = try recovery.force(life: Incarnation(high: 1, low: 2), time: NodeFixture.start)
                }
                let report = try StoreVerifier.verify("\(root)/node")
                #expect(report.verdict == .unsealed, "\(report)")
            }
        }
    }

    @Test(arguments: ["cluster", "node", "incarnation"]) func anIdentityThatTheRowsDenyIsFound(what: String) throws {
        try Stores.with(.lmdb) { stores in
            let file = URL(fileURLWithPath: "\(stores.node)/FLOTILLA")
            var text = try String(contentsOf: file, encoding: .utf8)
            switch what {
            case "cluster": text.replace("c1c1c1", with: "c1c1c2")
            case "node": text.replace("\"groupId\" : 7", with: "\"groupId\" : 6")
            default: text.replace("070707", with: "070708")
            }
            try Data(text.utf8).write(to: file)
            let report = try StoreVerifier.verify(stores.node)
            // A node that has been replaced has another incarnation, too.
            if what == "incarnation" {
                #expect(report.verdict == .unsealed && report.warnings.count == 1, "\(report)")
            } else {
                #expect(report.verdict == .damaged && report.damage.first?.place == "FLOTILLA", "\(report)")
            }
        }
    }

    // MARK: - What can't say so itself

    /// A value of 4 GiB in a page of 4 KiB: its checksum is taken beyond the end of the file, through the map.
    @Test func aLibraryThatCrashesIsDamage() throws {
        try Stores.with(.lmdb) { stores in
            let file = URL(fileURLWithPath: "\(stores.node)/engine/data.mdb")
            var bytes = [UInt8](try Data(contentsOf: file))
            func word(_ at: Int) -> Int { Int(bytes[at]) | Int(bytes[at + 1]) << 8 }
            // mdb.c: flags of a page at 10 (leaf: 2), end of its pointers at 12, pointers from 16 on. A node: size in two
            // halves, flags (1: the value lies elsewhere, 2: a tree), length of the key.
            for page in stride(from: 8192, to: bytes.count, by: 4096) where word(page + 10) == 2 {
                for pointer in stride(from: page + 16, to: page + word(page + 12), by: 2) {
                    let node = page + word(pointer)
                    if word(node + 4) == 0 { (bytes[node + 2], bytes[node + 3]) = (0xff, 0xff) }
                }
            }
            try Data(bytes).write(to: file)
            let verified = try SnapshotProgram.run("verify", stores.node)
            #expect(verified.code == 2 && verified.output.contains("reading it ended with SIG"), "\(verified)")
            let inspected = try SnapshotProgram.run("inspect", stores.node)
            #expect(inspected.code == 2 && inspected.notes.contains("reading it ended with SIG"), "\(inspected)")
            #expect(inspected.notes.split(separator: "\n").count == 1)
        }
    }

    /// The values of a write-ahead log are in memory while a directory of RocksDB is read.
    @Test func readingStaysWithinItsMemory() throws {
        try withScratchDirectory { root in
            try NodeFixture.makeGroup("\(root)/node", .rocksdb, .init(keys: 60, valueBytes: 1 << 20))
            #expect(try SnapshotProgram.run("verify", "\(root)/node").code == 0)
            let tight = try SnapshotProgram.run("inspect", "\(root)/node", "--memory", "128")
            #expect(tight.code == 2 && tight.notes.contains("within 128 MiB of memory"), "\(tight)")
            #expect(try SnapshotProgram.run("inspect", "\(root)/node", "--memory", "1").code == 64)
        }
    }

    /// A pipe that nobody writes to, where a file should be: opening it doesn't return.
    @Test func whatDoesNotGetOnIsEndedAndDamage() throws {
        try Stores.with(.lmdb) { stores in
            let path = "\(stores.snapshot)/group-7/0/0.chunk"
            try FileManager.default.removeItem(atPath: path)
            #expect(mkfifo(path, 0o600) == 0)
            for verb in ["verify", "inspect"] {
                let outcome = try SnapshotProgram.run(verb, stores.snapshot, "--timeout", "0.5")
                #expect(outcome.code == 2, "\(outcome)")
                #expect((outcome.output + outcome.notes).contains("has not got on for 0.5 seconds"), "\(outcome)")
                #expect((outcome.output + outcome.notes).contains("shard/0 of group 7"), "it says where")
            }
        }
    }

    // MARK: - What the rows of a directory say of each other

    /// Each writes something that contradicts the rest; verification must say what.
    @Test(
        arguments: [
            "key of another shard", "unknown row", "session without end", "session count", "staged hash", "log gap",
            "applied beyond the log", "family that is missing", "family named twice", "family number ahead",
            "membership from the future",
        ])
    func aContradictionIsFound(what: String) throws {
        try withScratchDirectory { root in
            let path = "\(root)/node"
            try NodeFixture.makeGroup(path, .lmdb)
            var expected = ""
            try change(path) { layout, rows, batch, engine in
                let shard0 = try #require(rows.families["shard/0"])
                switch what {
                case "key of another shard":
                    batch.put(shard0, key: ShardRows.userKey(Array(NodeFixture.key(in: 2, "stray").utf8)), value: [0])
                    expected = "a key of shard 2: "
                case "unknown row":
                    batch.put(shard0, key: [0x09], value: [1])
                    expected = "a row of no known kind"
                case "session without end":
                    batch.deleteRange(shard0, from: [0x02], to: [0x03])
                    expected = "3 session rows, and 0 rows of session ends"
                case "session count":
                    batch.deleteRange(shard0, from: [0x01], to: [0x03])
                    expected = "0 open sessions, and the shard's record counts 3"
                case "staged hash":
                    let staged = try #require(rows.staged["shard/3/2"]?.family)
                    batch.put(staged, key: ShardRows.userKey(Array(NodeFixture.key(in: 3, "more").utf8)), value: [0])
                    expected = "its content hash is not what its note says"
                case "log gap":
                    batch.delete(layout.log, key: bigEndianBytes(rows.applied.position.index - 3))
                    expected = "is missing"
                case "applied beyond the log":
                    batch.deleteRange(layout.log, from: bigEndianBytes(rows.applied.position.index - 1), to: nil)
                    expected = "applied is 87@2, and the log is"
                case "family that is missing":
                    batch.put(layout.meta, key: [0x20] + Array("shard/2".utf8), value: bigEndianBytes(60))
                    expected = "the tables name it, and it doesn't exist"
                case "family named twice":
                    batch.put(layout.meta, key: [0x20] + Array("shard/2".utf8), value: bigEndianBytes(shard0.rawValue))
                    expected = "it is named twice"
                case "family number ahead":
                    try engine.createFamily(FamilyID(1_000))
                    expected = "family 1000 exists"
                default:
                    let next = Membership(members: rows.membership.members, index: 1_000)
                    batch.put(layout.meta, key: [0x11], value: next.encoded)
                    expected = "the membership is of entry 1000"
                }
            }
            let report = try StoreVerifier.verify(path)
            #expect(report.verdict == .damaged)
            #expect(report.damage.contains { $0.problem.contains(expected) }, "\(expected): \(report.damage)")
        }
    }

    @Test func rowsThatNothingNamesAreAWarning() throws {
        try withScratchDirectory { root in
            try NodeFixture.makeGroup("\(root)/node", .rocksdb)
            try change("\(root)/node") { _, _, batch, engine in
                try engine.createFamily(FamilyID(40))
                batch.put(FamilyID(40), key: [1], value: [2])
            }
            let report = try StoreVerifier.verify("\(root)/node")
            #expect(report.verdict == .unsealed && report.warnings.count == 1, "\(report)")
        }
    }

    private func change(
        _ path: String,
        _ body: (GroupLayout, GroupStorageRows, inout WriteBatch, any StorageEngine) throws -> Void
    ) throws {
        let directory = try NodeDirectory.openStopped(path)
        let engine = try directory.openEngine()
        let view = try engine.snapshot()
        let layout = try #require(try FamilyTable.layouts(in: view).first)
        let rows = try GroupStorageRows.load(layout, in: view)
        view.close()
        var batch = WriteBatch()
        try body(layout, rows, &batch, engine)
        try engine.write(batch, durability: .synced)
        try engine.close()
    }

    private func flip(_ path: String, _ byte: Int) throws {
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        bytes[byte % bytes.count] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }
}
