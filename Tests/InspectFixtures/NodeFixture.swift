public import Engines
import Inspect
public import Keyspace
public import RaftLog
import Sharding

/// Stopped nodes with a little of everything, made by the very code that makes a server's: applied commands, sessions,
/// a frozen shard, a staged one, decisions, a log that was compacted. The same bytes on every engine and every time.
public enum NodeFixture {
    public static let gid: UInt64 = 7
    public static let shardCount = 4
    public static let clusterID = [UInt8](repeating: 0xc1, count: 16)
    /// Unix milliseconds: the stamps of all entries.
    public static let start: Milliseconds = 1_700_000_000_000

    /// How much is in it.
    public struct Size: Sendable {
        public var keys = 60
        public var valueBytes = 20
        /// One large value in each served shard.
        public var largeValueBytes = 9_000
        /// Commands that are applied at once.
        public var batch = 50
        /// Whether the log is compacted after each batch: a node that has run for long holds little of it.
        public var compacts = false

        public init(keys: Int = 60, valueBytes: Int = 20, largeValueBytes: Int = 9_000) {
            self.keys = keys
            self.valueBytes = valueBytes
            self.largeValueBytes = largeValueBytes
        }
    }

    /// A member of group 7: it serves shards 0 and 2, has frozen shard 1 for group 9, and has shard 3 staged.
    ///
    /// `beforeClosing` finds the directory as a kill would leave it.
    public static func makeGroup(
        _ path: String, _ kind: EngineKind, _ size: Size = Size(), beforeClosing: () throws -> Void = {}
    ) throws {
        let node = try Node(path, kind, role: "group", gid: gid, machine: GroupMachine())
        for shard in [0, 1, 2] as [ShardID] {
            try node.apply([GroupCommand.adopt(ShardEpoch(shard: shard, epoch: 1), shardCount: shardCount).encoded])
        }
        // Compacted away later.
        try node.apply((0..<10).map { put("early \($0)", [UInt8](repeating: 7, count: 5)) })
        try node.compact()
        var number = 0
        while number < size.keys {
            // Batches as a node writes them: it applies at most 4 MiB at a time.
            let last = min(size.keys, number + min(size.batch, max(1, (4 << 20) / max(1, size.valueBytes))))
            if size.compacts { try node.compact() }
            try node.apply((number..<last).map { put("key \($0)", value($0, size.valueBytes)) })
            number = last
        }
        for shard in [0, 2] as [ShardID] {
            let name = key(in: shard, "large")
            try node.apply([put(name, value(shard.index, size.largeValueBytes))])
        }
        try node.apply([
            GroupCommand.write(key: [0, 0xff, 0x5c], .put(value: [1, 0, 0xfe]), nil).encoded,
            put(key(in: 0, "пример"), Array("значение".utf8)),
        ])
        for session in 1...3 {
            for (sequence, shard) in ([0, 2] as [ShardID]).enumerated() {
                let stamp = SessionStamp(
                    token: [UInt8](repeating: UInt8(session), count: 16), end: start + 3_600_000 * UInt64(session),
                    sequence: UInt64(sequence + 1), lowestUnanswered: 0)
                try node.apply([
                    GroupCommand.write(
                        key: Array(key(in: shard, "session").utf8), .append(value: Array("+\(session)".utf8)), stamp
                    ).encoded
                ])
            }
        }
        try node.apply([
            GroupCommand.freeze(ShardEpoch(shard: 1, epoch: 2), to: 9).encoded,
            GroupCommand.reject(ShardEpoch(shard: 3, epoch: 1)).encoded,
        ])
        try node.stage(ShardEpoch(shard: 3, epoch: 2), keys: 5)
        try beforeClosing()
        try node.close()
    }

    /// A controller with groups 7 and 9 and a shard on the move.
    public static func makeController(_ path: String, _ kind: EngineKind) throws {
        let node = try Node(path, kind, role: "controller", gid: 0, machine: ControllerMachine())
        func run(_ command: ControllerCommand, _ id: UInt8) throws {
            try node.apply([command.encoded(requestID: [UInt8](repeating: id, count: 16))])
        }
        try run(.initialize(shardCount: shardCount, clusterID: clusterID), 1)
        try run(.join([7: ["localhost:6001", "localhost:6002"]]), 2)
        try run(.join([9: ["localhost:6011"]]), 3)
        try node.close()
    }

    /// A backup of stopped nodes, the controller's among them.
    public static func makeBackup(of paths: [String], _ out: String) throws {
        let writer = try ArchiveWriter(
            out,
            ArchiveManifest(
                kind: .backup, clusterId: BytesText.hex(clusterID), createdAtMs: start, madeBy: "flotilla 0",
                configNumber: 2))
        for path in paths {
            let directory = try NodeDirectory.openStopped(path)
            let engine = try directory.openEngine()
            let view = try engine.snapshot()
            for layout in try FamilyTable.layouts(in: view) {
                let (header, families) = try SnapshotHeader.read(layout, in: view)
                var manifests: [FamilyManifest] = []
                for (number, family) in families.enumerated() {
                    let place = try writer.makeFamily(
                        role: directory.identity.role, gid: GroupID(layout.gid), number: number)
                    manifests.append(
                        try engine.export(family, from: view, format: ChunkFormat.portable, to: place))
                }
                try writer.add(
                    role: directory.identity.role, gid: GroupID(layout.gid), nodeId: directory.identity.nodeId,
                    engine: engine.kind, header: header, families: manifests)
            }
            view.close()
            try engine.close()
        }
        try writer.seal()
    }

    private static func put(_ key: String, _ value: [UInt8]) -> [UInt8] {
        GroupCommand.write(key: Array(key.utf8), .put(value: value), nil).encoded
    }

    /// A key that belongs to the shard.
    public static func key(in shard: ShardID, _ name: String) -> String {
        var number = 0
        while Slot.shard(of: Array("\(name) \(number)".utf8), shardCount: shardCount) != shard { number += 1 }
        return "\(name) \(number)"
    }

    /// Bytes that depend on the number alone, and don't compress away.
    public static func value(_ number: Int, _ count: Int) -> [UInt8] {
        var random = SplitMix64(seed: UInt64(number))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: random.next().littleEndian) { bytes.append(contentsOf: $0) } }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}

/// A node that applies what it is given, without a cluster.
private final class Node<Machine: StateMachine> {
    private let directory: NodeDirectory
    private let engine: any StorageEngine
    private let families: FamilyTable
    private let layout: GroupLayout
    private var storage: GroupStorage<Machine>
    private var serial: UInt64 = 0

    init(_ path: String, _ kind: EngineKind, role: String, gid: UInt64, machine: Machine) throws {
        let life = String(repeating: role == "controller" ? "0c" : "07", count: 16)
        directory = try NodeDirectory.open(
            path, engine: kind, role: role, groupId: gid, nodeId: 1, incarnation: life)
        engine = try directory.openEngine()
        families = try FamilyTable(engine: engine)
        layout = try families.layout(of: gid)
        var members: [Member] = []
        for number: UInt64 in 1...3 {
            let own = Incarnation(hex: life) ?? Incarnation(high: 0, low: 0)
            members.append(
                Member(
                    id: ReplicaID(number), address: "localhost:700\(number)",
                    incarnation: number == 1 ? own : Incarnation(high: gid, low: number),
                    standing: number == 3 ? .learner : .voter))
        }
        var batch = WriteBatch()
        let record = BootstrapRecord(
            clusterID: role == "controller" ? [] : NodeFixture.clusterID, gid: gid,
            membership: Membership(members: members))
        record.write(to: layout, in: &batch)
        try directory.record(clusterId: BytesText.hex(role == "controller" ? record.hash : NodeFixture.clusterID))
        try engine.write(batch, durability: .synced)
        try directory.recordJoined()
        let view = try engine.snapshot()
        defer { view.close() }
        storage = try GroupStorage.open(layout, machine: machine, in: view).storage
        try write { request in
            request.hardState = HardState(term: 2, vote: ReplicaID(1))
            append(.opening, [], to: &request)
        }
    }

    private func append(_ kind: Entry.Kind, _ payload: [UInt8], to request: inout WriteRequest) {
        let entry = Entry(
            index: storage.applied.position.index + 1 + LogIndex(request.entries.count), term: 2, kind: kind,
            stamp: kind == .command ? NodeFixture.start + serial * 1000 : 0, payload: payload)
        request.entries.append(entry)
        request.commands.append(WriteRequest.Command(entry: entry))
    }

    func apply(_ payloads: [[UInt8]]) throws {
        try write { request in
            for payload in payloads { append(.command, payload, to: &request) }
        }
    }

    func compact() throws { try write { $0.compactThrough = storage.applied.position } }

    private func write(_ fill: (inout WriteRequest) -> Void) throws {
        serial += 1
        var request = WriteRequest(serial: serial)
        fill(&request)
        let view = try engine.snapshot()
        defer { view.close() }
        var batch = StorageBatch(view: view) { [families] () throws(EngineError) in try families.take() }
        _ = try storage.execute(request, in: &batch)
        try engine.write(batch.batch, durability: .synced)
        for family in batch.unmapped { try engine.dropFamily(family) }
    }

    /// As a move's target does it: rows in a family beside the log, and a note.
    func stage(_ shard: ShardEpoch, keys: Int) throws {
        let family = try families.take()
        var batch = WriteBatch()
        var hashes = ShardHashes()
        for number in 0..<keys {
            let key = ShardRows.userKey(Array(NodeFixture.key(in: shard.shard, "staged \(number) /").utf8))
            let record: [UInt8] = [0] + NodeFixture.value(number, 10)
            batch.put(family, key: key, value: record)
            key.withUnsafeBytes { key in
                record.withUnsafeBytes { ShardRows.add(key: key, value: $0, to: &hashes) }
            }
        }
        layout.putStaged(
            StagedShard.name(shard),
            StagedFamily(family: family, note: StagedShard(hashes: hashes, sessions: 0).encoded),
            in: &batch)
        try engine.write(batch, durability: .synced)
    }

    func close() throws { try engine.close() }
}
