import Engines
import Foundation
import Inspect
import Keyspace
import RaftLog
import Sharding

/// A cluster of a controller and groups 100 and 101, one stopped node of each, with known contents.
struct SmallCluster {
    static let shardCount = 8
    static let gids: [GroupID] = [100, 101]
    static let keys = (0..<60).map { "key\($0)" }
    static let token = [UInt8](repeating: 7, count: 16)

    let controller: StoppedNode<ControllerMachine>
    var groups: [GroupID: StoppedNode<GroupMachine>] = [:]
    let clusterID: [UInt8]

    /// - Parameter now: the leaders' clock. A server that goes on from here has the real one.
    init(_ root: String, _ kind: EngineKind = .rocksdb, now: Milliseconds = 1_700_000_000_000) throws {
        let record = BootstrapRecord(clusterID: [], gid: 0, membership: members(3, gid: 0))
        clusterID = record.hash
        controller = try StoppedNode(
            "\(root)/controller", kind, role: "controller", gid: 0, id: 0, record: record, clusterID: record.hash,
            machine: ControllerMachine())
        func run(_ command: ControllerCommand) throws { try controller.run(command.encoded(requestID: [1, 2, 3])) }
        try controller.run([(.opening, [])])
        try controller.run(
            ControllerCommand.initialize(shardCount: Self.shardCount, clusterID: record.hash).encoded(requestID: []))
        var joining: [GroupID: [String]] = [:]
        for gid in Self.gids { joining[gid] = members(3, gid: gid).members.map(\.address) }
        try controller.run(ControllerCommand.join(joining).encoded(requestID: [1, 2, 3]))
        let map = try unwrapped(controller.storage.machine.map)
        for gid in Self.gids {
            let node = try StoppedNode(
                "\(root)/group-\(gid)", kind, role: "group", gid: gid, id: 1,
                record: BootstrapRecord(clusterID: record.hash, gid: gid.rawValue, membership: members(3, gid: gid)),
                clusterID: record.hash, machine: GroupMachine())
            node.now = now
            try node.run([(.opening, [])])
            for shard in map.shardIDs where map[shard].gid == gid {
                try node.run(
                    GroupCommand.adopt(ShardEpoch(shard: shard, epoch: map[shard].epoch), shardCount: Self.shardCount)
                        .encoded)
            }
            groups[gid] = node
        }
        for key in Self.keys { try put(key) }
    }

    /// The group that serves a key.
    func owner(_ key: String) throws -> StoppedNode<GroupMachine> {
        let shard = Slot.shard(of: bytes(key), shardCount: Self.shardCount)
        return try unwrapped(groups[try unwrapped(controller.storage.machine.map)[shard].gid])
    }

    /// Puts a key to its value, in a session.
    func put(_ key: String) throws {
        let node = try owner(key)
        let command = GroupCommand.write(
            key: bytes(key), .put(value: bytes("value of \(key)")), Self.stamp(key, now: node.now))
        try node.run(command.encoded)
    }

    /// The key's own session, whose first write is the put.
    static func stamp(_ key: String, now: Milliseconds) -> SessionStamp {
        SessionStamp(
            token: Array((bytes(key) + token).prefix(16)), end: now + 3_600_000, sequence: 1, lowestUnanswered: 1)
    }

    func backup(
        to path: String, kind: ArchiveManifest.Kind = .backup, controller isIn: Bool = true,
        groups chosen: [GroupID] = gids
    ) throws {
        let writer = try ArchiveWriter(
            path,
            ArchiveManifest(
                kind: kind, clusterId: Incarnation(bytes: clusterID)?.description ?? "", createdAtMs: 1_700_000_000_000,
                madeBy: "test", configNumber: controller.storage.machine.map?.number))
        if isIn { try controller.save(to: writer) }
        for gid in chosen { try groups[gid]?.save(to: writer) }
        try writer.seal()
    }

    func close() throws {
        try controller.close()
        for group in groups.values { try group.close() }
    }
}

/// A backup of stopped nodes, the controller's among them.
func backup(of directories: [String], clusterID: [UInt8], to path: String) throws {
    let writer = try ArchiveWriter(
        path,
        ArchiveManifest(
            kind: .backup, clusterId: Incarnation(bytes: clusterID)?.description ?? "", createdAtMs: 1_700_000_000_000,
            madeBy: "test"))
    for directory in directories {
        let node = try NodeDirectory.openStopped(directory)
        let engine = try node.identity.engine.open(node.enginePath, readOnly: true)
        let view = try engine.snapshot()
        let layout = try unwrapped(FamilyTable.layout(of: node.identity.groupId, in: view))
        try save(layout, node.identity, engine, view, to: writer)
        view.close()
        try engine.close()
    }
    try writer.seal()
}

/// Adds a node's group to an archive that is being written.
func save(
    _ layout: GroupLayout, _ identity: DirectoryIdentity, _ engine: any StorageEngine, _ view: any ReadSnapshot,
    to writer: ArchiveWriter
) throws {
    let (header, physical) = try SnapshotHeader.read(layout, in: view)
    let manifests = try physical.enumerated().map { number, family in
        try engine.export(
            family, from: view, format: ChunkFormat.portable,
            to: writer.makeFamily(role: identity.role, gid: GroupID(identity.groupId), number: number))
    }
    try writer.add(
        role: identity.role, gid: GroupID(identity.groupId), nodeId: identity.nodeId, engine: identity.engine,
        header: header,
        families: manifests)
}

struct Missing: Error {
    var what = "a value"
}

/// A value that the test can't go on without.
func unwrapped<Value>(_ value: Value?) throws -> Value {
    guard let value else { throw Missing() }
    return value
}
