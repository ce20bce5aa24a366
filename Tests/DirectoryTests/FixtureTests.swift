import Engines
import Foundation
import Inspect
import Keyspace
import RaftLog
import Sharding
import Testing

/// Every format version that this program reads, as it was once written, is read for ever.
@Suite struct FixtureTests {
    @Test func everyFixtureIsThere() throws {
        #expect(try FileManager.default.contentsOfDirectory(atPath: FixtureStore.path).sorted() == FixtureStore.names)
    }

    // MARK: - Records

    @Test(arguments: RecordFile.all) func recordsAreReadAndWrittenAsEver(file: RecordFile) throws {
        let lines = try FixtureStore.text("record-1/\(file.name).txt").split(separator: "\n").map(String.init)
        #expect(lines.map { String($0.prefix { $0 != " " }) } == file.samples.map(\.name))
        for (line, sample) in zip(lines, file.samples) {
            let stored = try bytes(hex: line.split(separator: " ").dropFirst().joined())
            #expect(try sample.isRead(stored), "\(file.name): \(sample.name)")
            #expect(sample.encoded == stored, "\(file.name): \(sample.name)")
        }
    }

    // MARK: - Directories

    @Test(arguments: EngineKind.durable, ["controller", "group"])
    func aNodeDirectoryHoldsWhatWasPutIntoIt(kind: EngineKind, role: String) throws {
        try withTemporaryDirectory { root in
            let name = "node-directory-2/\(kind)-\(role)"
            try FixtureStore.unpack("\(name).tar.gz", into: "\(root)/node")
            #expect(try NodeContents("\(root)/node") == FixtureStore.decode(NodeContents.self, "\(name).json"))
            let identity = try unwrapped(try NodeDirectory.identity(at: "\(root)/node"))
            let directory = try NodeDirectory.open(
                "\(root)/node", engine: kind, role: role, groupId: identity.groupId, nodeId: identity.nodeId,
                incarnation: identity.incarnation)
            let engine = try directory.openEngine()
            let table = try FamilyTable(engine: engine)
            try table.sweepUnmapped()
            let view = try engine.snapshot()
            defer { view.close() }
            let layout = try table.layout(of: identity.groupId)
            if role == "controller" {
                let machine = try GroupStorage.open(layout, machine: ControllerMachine(), in: view).storage.machine
                #expect(machine.map?.groups.keys.sorted() == [100, 101])
            } else {
                let machine = try GroupStorage.open(layout, machine: GroupMachine(), in: view).storage.machine
                #expect(machine.shards[6]?.state == .serving && machine.shards[1]?.state == .gone)
                #expect(try GroupReader(layout, in: view).stagedShards() == [ShardEpoch(shard: 7, epoch: 6)])
            }
            view.close()
            try engine.close()
        }
    }

    @Test func identitiesAreReadAsEver() throws {
        for (name, identity) in FixtureMaker.identities {
            try withTemporaryDirectory { root in
                try FixtureStore.write(try FixtureStore.bytes("identity-2/\(name)"), root, "FLOTILLA")
                #expect(try NodeDirectory.identity(at: root) == identity)
            }
        }
    }

    /// A log that ends before what the note says is refused, so a note of ours must be believed.
    @Test func aSyncMarkIsBelieved() throws {
        try withTemporaryDirectory { root in
            try FixtureStore.write(try FixtureStore.bytes("sync-mark-1/SYNCED"), root, "engine/SYNCED")
            #expect(throws: EngineError.self) { _ = try EngineKind.lmdb.open("\(root)/engine") }
            try FixtureStore.write([UInt8](repeating: 0, count: 24), root, "engine/SYNCED")
            try EngineKind.lmdb.open("\(root)/engine").close()
        }
    }

    // MARK: - Archives and exported families

    @Test(arguments: ["snapshot", "backup"]) func anArchiveHoldsWhatWasSaved(kind: String) throws {
        let archive = try Archive("\(FixtureStore.path)/archive-1/\(kind)")
        #expect(archive.manifest.kind.rawValue == kind)
        #expect(archive.manifest.groups.map(\.gid) == (kind == "backup" ? [0, 100, 101] : [100]))
        let expected = try FixtureStore.decode([String: [String]].self, "archive-1/\(kind).json")
        #expect(try FixtureMaker.contents(archive) == expected)
        if kind == "backup" { #expect(try Backup(archive).groups.count == 2) }
    }

    @Test(arguments: FixtureMaker.forms.map(\.format)) func anExportedFamilyIsLoadedAsEver(format: String) throws {
        let path = "\(FixtureStore.path)/exported-family-1/\(format)"
        let manifest = try FixtureStore.decode(FamilyManifest.self, "exported-family-1/\(format).json")
        #expect(manifest.format == format)
        let expected = try FixtureStore.text("exported-family-1/rows.txt").split(separator: "\n").map(String.init)
        for kind in EngineKind.durable {
            try withTemporaryDirectory { root in
                try FileManager.default.createDirectory(atPath: "\(root)/engine", withIntermediateDirectories: true)
                let engine = try kind.open("\(root)/engine")
                guard engine.capabilities.formats.contains(format) else { return try engine.close() }
                // Loading may use up the files.
                try FileManager.default.copyItem(atPath: path, toPath: "\(root)/files")
                try engine.createFamily(FamilyID(7))
                try engine.ingest(manifest, from: "\(root)/files", into: FamilyID(7))
                let view = try engine.snapshot()
                #expect(try NodeContents.rows(FamilyID(7), view) == expected)
                view.close()
                try engine.close()
            }
        }
    }
}

/// The records of one format, and how they are read.
struct RecordFile: Sendable, CustomTestStringConvertible {
    struct Sample: Sendable {
        var name: String
        var encoded: [UInt8]
        /// Do these bytes mean the sample?
        var isRead: @Sendable ([UInt8]) throws -> Bool
    }

    var name: String
    var samples: [Sample]
    var testDescription: String { name }

    init<Value: Equatable & Sendable>(
        _ name: String, _ values: [RecordSamples.Named<Value>], _ encode: (Value) -> [UInt8],
        _ decode: @escaping @Sendable ([UInt8]) throws -> Value
    ) {
        self.name = name
        samples = values.map { value in
            Sample(name: value.name, encoded: encode(value.value), isRead: { try decode($0) == value.value })
        }
    }

    static let all: [RecordFile] = [
        RecordFile("raft-message", RecordSamples.messages, { $0.encoded }, Message.init(encoded:)),
        RecordFile("membership-change", RecordSamples.changes, { $0.encoded }, MembershipChange.init(encoded:)),
        RecordFile("membership", RecordSamples.memberships, { $0.encoded }, Membership.init(encoded:)),
        RecordFile("group-command", RecordSamples.groupCommands, { $0.encoded }, GroupCommand.init(encoded:)),
        RecordFile(
            "controller-command", RecordSamples.controllerCommands + RecordSamples.holdCommands,
            { $0.encoded(requestID: [1, 2]) },
            { try ControllerCommand.decode($0).command }),
        RecordFile("snapshot-header", RecordSamples.headers, { $0.encoded }, SnapshotHeader.init(encoded:)),
        RecordFile("bootstrap-record", RecordSamples.bootstraps, { $0.encoded }, BootstrapRecord.init(encoded:)),
        RecordFile("recovery-note", RecordSamples.notes, { $0.encoded }, RecoveryNote.init(encoded:)),
        RecordFile("hard-state", RecordSamples.hardStates, { $0.encoded }, HardState.init(encoded:)),
        RecordFile("move-hold", RecordSamples.holds, { $0.encoded }, MoveHold.init(encoded:)),
        RecordFile("shard-map", RecordSamples.maps, { $0.encoded }, ShardMap.init(encoded:)),
        RecordFile("shard-record", RecordSamples.shardRecords, { $0.encoded }, ShardRecord.init(encoded:)),
        RecordFile("shard-decision", RecordSamples.decisions, { $0.encoded }, ShardDecision.init(encoded:)),
        RecordFile("staged-shard", RecordSamples.stagedShards, { $0.encoded }, StagedShard.init(encoded:)),
        RecordFile("session-row", RecordSamples.sessions, { $0.encoded }, SessionRow.init(encoded:)),
    ]
}

/// Makes what `FixtureTests` reads; run by scripts/make-fixtures alone.
@Suite struct FixtureMaker {
    static let identities: [(name: String, identity: DirectoryIdentity)] = {
        let fresh = DirectoryIdentity(
            engine: .rocksdb, role: "group", groupId: 100, nodeId: 2, incarnation: String(repeating: "0a", count: 16))
        var member = fresh
        member.clusterId = String(repeating: "0b", count: 16)
        member.hasJoined = true
        var copy = member
        copy.isCopy = true
        var moved = member
        moved.movedTo = "/data/elsewhere"
        return [("fresh", fresh), ("member", member), ("copy", copy), ("moved", moved)]
    }()

    static let forms: [(format: String, engine: EngineKind)] = [
        (ChunkFormat.portable, .lmdb), (ChunkFormat.rocksdb, .rocksdb), (ChunkFormat.sqlite, .sqlite),
    ]

    /// Every row of every group, and its header, by name.
    static func contents(_ archive: Archive) throws -> [String: [String]] {
        var contents: [String: [String]] = [:]
        for group in archive.manifest.groups {
            contents["\(group.title) header"] = [hexadecimal(try archive.header(of: group).encoded)]
            for family in group.families {
                let rows = try PortableFamily(family.manifest, in: archive.directory(of: family, in: group))
                var lines: [String] = []
                let cursor = try rows.cursor(lower: [], upper: nil, reverse: false)
                while let line = try cursor.next({ NodeContents.line($0, $1) }) { lines.append(line) }
                contents["\(group.title) \(family.name)"] = lines
            }
        }
        return contents
    }

    @Test(.enabled(if: FixtureStore.making != nil)) func make() throws {
        let root = try unwrapped(FixtureStore.making)
        for file in RecordFile.all {
            let lines = file.samples.map { "\($0.name) \(hexadecimal($0.encoded))\n" }
            try FixtureStore.write(lines.joined(), root, "record-1/\(file.name).txt")
        }
        for (name, identity) in Self.identities { try FixtureStore.writeJSON(identity, root, "identity-2/\(name)") }
        try withTemporaryDirectory { try makeNodes($0, root) }
        try withTemporaryDirectory { try makeArchives($0, root) }
        try withTemporaryDirectory { try makeFamilies($0, root) }
        try withTemporaryDirectory { scratch in
            try FileManager.default.createDirectory(atPath: "\(scratch)/engine", withIntermediateDirectories: true)
            let engine = try EngineKind.lmdb.open("\(scratch)/engine")
            try engine.createFamily(FamilyID(7))
            try engine.close()
            let mark = try Data(contentsOf: URL(fileURLWithPath: "\(scratch)/engine/SYNCED"))
            try FixtureStore.write(Array(mark), root, "sync-mark-1/SYNCED")
        }
    }

    private func makeNodes(_ scratch: String, _ root: String) throws {
        for kind in EngineKind.durable {
            for role in ["controller", "group"] {
                let name = "\(kind)-\(role)"
                let path = "\(scratch)/\(name)"
                if role == "controller" {
                    try FixtureNodes.controller(path, kind)
                } else {
                    try FixtureNodes.group(path, kind)
                }
                // The program's own notes for people, and the reserve, are no format.
                for file in ["engine/LOG", "engine/lock.mdb", "LOCK", "RESERVE", "staging"] {
                    try? FileManager.default.removeItem(atPath: "\(path)/\(file)")
                }
                try FixtureStore.pack(path, into: "\(root)/node-directory-2/\(name).tar.gz")
                try FixtureStore.writeJSON(try NodeContents(path), root, "node-directory-2/\(name).json")
            }
        }
    }

    private func makeArchives(_ scratch: String, _ root: String) throws {
        let cluster = try SmallCluster("\(scratch)/cluster", .lmdb)
        for kind in ["snapshot", "backup"] {
            let path = "\(root)/archive-1/\(kind)"
            if kind == "backup" {
                try cluster.backup(to: path)
            } else {
                try cluster.backup(to: path, kind: .snapshot, controller: false, groups: [100])
            }
            try FixtureStore.writeJSON(try Self.contents(Archive(path)), root, "archive-1/\(kind).json")
        }
        try cluster.close()
    }

    private func makeFamilies(_ scratch: String, _ root: String) throws {
        for (format, kind) in Self.forms {
            try FileManager.default.createDirectory(
                atPath: "\(scratch)/\(kind)", withIntermediateDirectories: true)
            let engine = try kind.open("\(scratch)/\(kind)")
            try engine.createFamily(FamilyID(7))
            var batch = WriteBatch()
            for number in 0..<40 {
                batch.put(
                    FamilyID(7), key: bytes("key\(number)"), value: [UInt8](repeating: UInt8(number), count: number))
            }
            try engine.write(batch, durability: .synced)
            let view = try engine.snapshot()
            let files = "\(root)/exported-family-1/\(format)"
            try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
            let manifest = try engine.export(FamilyID(7), from: view, format: format, to: files)
            try FixtureStore.writeJSON(manifest, root, "exported-family-1/\(format).json")
            let rows = try NodeContents.rows(FamilyID(7), view).map { "\($0)\n" }.joined()
            try FixtureStore.write(rows, root, "exported-family-1/rows.txt")
            view.close()
            try engine.close()
        }
    }
}
