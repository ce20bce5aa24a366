import EngineFaults
import Engines
import Foundation
import Inspect
import InspectFixtures
import Keyspace
import Testing

/// What is found in a store, and that looking changes nothing.
@Suite struct InspectTests {
    @Test(arguments: EngineKind.durable) func everyCommandLeavesEveryFileAsItWas(kind: EngineKind) throws {
        try Stores.with(kind) { stores in
            let before = try Stores.checksums(stores.root)
            for path in [stores.node, stores.snapshot] {
                for verb in [["inspect"], ["verify"], ["keys"], ["scan"], ["dump"], ["histogram"], ["diff", path]] {
                    let outcome = try SnapshotProgram.run(verb + [path])
                    #expect(outcome.code == 0, "\(verb) \(path): \(outcome)")
                }
            }
            for verb in [["inspect"], ["verify"], ["log"], ["diff", stores.controller]] {
                #expect(try SnapshotProgram.run(verb + [stores.controller]).code == 0)
            }
            #expect(try SnapshotProgram.run("log", stores.node).code == 0)
            #expect(try Stores.checksums(stores.root) == before)
        }
    }

    @Test(arguments: EngineKind.durable) func aDirectoryThatCantBeWrittenToIsRead(kind: EngineKind) throws {
        try Stores.with(kind) { stores in
            let names = try FileManager.default.subpathsOfDirectory(atPath: stores.node)
            func protect(_ mode: Int, _ directoryMode: Int) throws {
                for name in names + [""] {
                    var isDirectory: ObjCBool = false
                    _ = FileManager.default.fileExists(atPath: "\(stores.node)/\(name)", isDirectory: &isDirectory)
                    try FileManager.default.setAttributes(
                        [.posixPermissions: isDirectory.boolValue ? directoryMode : mode],
                        ofItemAtPath: "\(stores.node)/\(name)")
                }
            }
            try protect(0o400, 0o500)
            defer { try? protect(0o600, 0o700) }
            let outcome = try SnapshotProgram.run("verify", stores.node)
            #expect(outcome.code == 0, "\(outcome)")
        }
    }

    @Test func aShardThatIsNotHereIsSaidToBeMissing() throws {
        try Stores.with(.lmdb) { stores in
            for verb in ["keys", "scan", "dump", "histogram"] {
                let outcome = try SnapshotProgram.run(verb, stores.node, "--shard", "3")
                #expect(outcome.code == 0 && outcome.notes.contains("doesn't hold shard 3"), "\(outcome)")
            }
        }
    }

    @Test(arguments: EngineKind.durable) func nothingIsOpenedBesideARunningServer(kind: EngineKind) throws {
        try Stores.with(kind) { stores in
            let server = try NodeDirectory.open(
                stores.node, engine: kind, role: "group", groupId: NodeFixture.gid, nodeId: 1,
                incarnation: String(repeating: "07", count: 16))
            defer { withExtendedLifetime(server) {} }
            for verb in ["inspect", "verify", "keys"] {
                let outcome = try SnapshotProgram.run(verb, stores.node)
                #expect(outcome.code == 69)
                #expect(outcome.output == "")
                #expect(
                    outcome.notes.contains(
                        "is in use by process \(getpid()); stop it first, or ask it for a snapshot while it runs"))
                #expect(
                    outcome.notes.contains(
                        "(flotilla snapshot save --endpoint HOST:PORT --out SNAPSHOT, with the address of a node of "
                            + "group 7)"))
            }
        }
    }

    @Test func aServerStaysOutWhileADirectoryIsRead() throws {
        try Stores.with(.lmdb) { stores in
            let store = try InspectedStore(stores.node)
            #expect(throws: EngineError.self) {
                _ = try NodeDirectory.open(
                    stores.node, engine: .lmdb, role: "group", groupId: NodeFixture.gid, nodeId: 1,
                    incarnation: String(repeating: "07", count: 16))
            }
            _ = try InspectedStore(stores.node)
            withExtendedLifetime(store) {}
        }
    }

    @Test(arguments: EngineKind.durable) func aSnapshotSaysWhatItsNodeSays(kind: EngineKind) throws {
        try Stores.with(kind) { stores in
            let node = try StoreReport.read(InspectedStore(stores.node))
            let snapshot = try StoreReport.read(InspectedStore(stores.snapshot))
            let (left, right) = (try #require(node.groups.first), try #require(snapshot.groups.first))
            #expect(left.shards?.map { $0.contents?.contentHash } == right.shards?.map { $0.contents?.contentHash })
            #expect(left.shards?.map(\.state) == ["serving", "frozen", "serving"])
            #expect(left.shards?.map { $0.contents?.sessions } == [3, 0, 3])
            #expect(left.applied.index == right.applied.index && left.logTimeMs == right.logTimeMs)
            #expect(left.staged?.map(\.keys) == [5] && right.staged?.isEmpty == true)
            #expect(left.decisions?.map(\.decision) == ["rejected"])
            #expect(left.term == 2 && left.vote == 1 && right.term == nil)
            #expect(left.log.map { $0.base.index + 1 == $0.firstIndex && $0.lastIndex == left.applied.index } == true)
            #expect(left.shards?.first?.contents?.biggest.first?.bytes == 9_000)
            #expect(node.clusterId == snapshot.clusterId)
        }
    }

    @Test func replicasOnDifferentEnginesCompareEqual() throws {
        try withScratchDirectory { root in
            for kind in EngineKind.durable { try NodeFixture.makeGroup("\(root)/\(kind)", kind) }
            for (left, right) in [("rocksdb", "lmdb"), ("lmdb", "sqlite")] {
                let outcome = try SnapshotProgram.run("diff", "\(root)/\(left)", "\(root)/\(right)")
                #expect(outcome.code == 0 && outcome.output == "equal: 58 keys in 3 shards\n", "\(outcome)")
            }
        }
    }

    @Test func whatDiffersIsListedByShard() throws {
        try withScratchDirectory { root in
            try NodeFixture.makeGroup("\(root)/a", .lmdb)
            try NodeFixture.makeGroup("\(root)/b", .sqlite, .init(keys: 50, largeValueBytes: 8_000))
            let report = try DiffReport.read(InspectedStore("\(root)/a"), InspectedStore("\(root)/b")) { _ in }
            #expect(!report.isEqual)
            #expect(report.shards.map(\.differs) == [1, 0, 1], "the large values")
            #expect(report.shards.reduce(0) { $0 + $1.onlyInA } > 0 && report.shards.allSatisfy { $0.onlyInB == 0 })
            #expect(try SnapshotProgram.run("diff", "\(root)/a", "\(root)/b").code == 2)
            #expect(try SnapshotProgram.run("diff", "\(root)/b", "\(root)/a", "--limit", "0").code == 2)
        }
    }

    @Test func controllersAreComparedByTheirMapsAndHoldNoKeys() throws {
        try withScratchDirectory { root in
            try NodeFixture.makeController("\(root)/a", .rocksdb)
            try NodeFixture.makeController("\(root)/b", .sqlite)
            let outcome = try SnapshotProgram.run("diff", "\(root)/a", "\(root)/b")
            #expect(outcome.code == 0 && outcome.output == "shard maps: config 2 and config 2, equal\n", "\(outcome)")
            let keys = try SnapshotProgram.run("keys", "\(root)/a")
            #expect(keys.code == 1 && keys.notes.contains("holds the shard map and no keys"), "\(keys)")
        }
    }

    @Test func aBackupIsReadAsAWhole() throws {
        try Stores.with(.lmdb) { stores in
            let backup = "\(stores.root)/backup"
            try NodeFixture.makeBackup(of: [stores.controller, stores.node], backup)
            #expect(try SnapshotProgram.run("verify", backup).code == 0)
            let diff = try SnapshotProgram.run("diff", backup, stores.node)
            #expect(diff.code == 0 && diff.output == "equal: 58 keys in 3 shards\n", "\(diff)")
            let report = try StoreReport.read(InspectedStore(backup))
            #expect(report.kind == .backup && report.groups.map(\.role) == ["controller", "group"])
            #expect(report.groups.first?.map?.shards.compactMap(\.move).count == 2)
            #expect(try SnapshotProgram.run("keys", backup, "--group", "0").code == 1)
        }
    }

    @Test func valuesComeOutAsTheyWentIn() throws {
        try Stores.with(.rocksdb) { stores in
            for path in [stores.node, stores.snapshot] {
                let store = try InspectedStore(path)
                let key = Array(NodeFixture.key(in: 2, "large").utf8)
                let (shard, value) = try #require(try store.get(key, RecordSelection()))
                #expect(shard.shard == 2 && value == NodeFixture.value(2, 9_000))
                #expect(try SnapshotProgram.run("get", path, "00ff5c", "--hex").output == "0100fe\n")
                #expect(try SnapshotProgram.run("get", path, "\\x00\\xff\\x5c", "-w", "json").output.contains("AQD+"))
                let missing = try SnapshotProgram.run("get", path, "nope")
                #expect(missing.code == 2 && missing.output == "" && missing.notes.contains("holds no key nope"))
            }
        }
    }

    @Test func whatIsNoStoreIsNamed() throws {
        try withScratchDirectory { root in
            try Data("x".utf8).write(to: URL(fileURLWithPath: "\(root)/file"))
            try FileManager.default.createDirectory(
                atPath: "\(root)/unfinished/group-7/0", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(
                atPath: "\(root)/killed/.unfinished/group-7/0", withIntermediateDirectories: true)
            for (path, code, words) in [
                ("\(root)/absent", Int32(1), "does not exist"), ("\(root)/file", 1, "is a file"),
                (root, 1, "is neither a snapshot or backup"), ("\(root)/unfinished", 2, "never finished"),
                ("\(root)/killed", 2, "never finished"),
            ] {
                for verb in ["inspect", "keys", "log"] {
                    let outcome = try SnapshotProgram.run(verb, path)
                    #expect(outcome.code == code && outcome.notes.contains(words), "\(outcome)")
                    #expect(outcome.notes.split(separator: "\n").count == 1, "one line")
                }
            }
            #expect(try SnapshotProgram.run("inspect").code == 64)
            #expect(try SnapshotProgram.run("keys", root, "--limit", "0").code == 64)
            #expect(try SnapshotProgram.run("keys", root, "--hex", "--prefix", "xyz").code == 64)
        }
    }

    @Test func aSnapshotThatCantBeFinishedLeavesNothing() throws {
        try Stores.with(.sqlite) { stores in
            #expect(throws: EngineError.self) {
                _ = try ArchiveMaker.save(
                    from: stores.node, to: stores.snapshot, madeBy: "t", createdAtMs: 0)
            }
            let present = try StoreVerifier.verify(stores.snapshot)
            #expect(present.verdict == .good, "the one that was there stays")
            #expect(throws: EngineError.self) {
                _ = try ArchiveMaker.save(from: stores.snapshot, to: "\(stores.root)/x", madeBy: "t", createdAtMs: 0)
            }
            #expect(throws: EngineError.self) {
                _ = try ArchiveMaker.save(
                    from: stores.node, to: "\(stores.root)/x", gid: 9, madeBy: "t", createdAtMs: 0)
            }
            #expect(throws: EngineError.self) {
                _ = try ArchiveMaker.save(
                    from: stores.node, to: "\(stores.node)/staging/../x/y", madeBy: "t", createdAtMs: 0)
            }
            #expect(!FileManager.default.fileExists(atPath: "\(stores.root)/x"))
            #expect(!FileManager.default.fileExists(atPath: "\(stores.node)/x"))
        }
    }
}
