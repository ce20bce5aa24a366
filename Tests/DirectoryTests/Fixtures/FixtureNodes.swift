import Engines
import Foundation
import Inspect
import Keyspace
import RaftLog
import Sharding

/// Nodes whose directories hold one of everything that the format knows.
enum FixtureNodes {
    static let shardCount = 8
    static let clusterID = controllerRecord.hash
    private static let controllerRecord = BootstrapRecord(clusterID: [], gid: 0, membership: members(3, gid: 0))

    /// A controller whose log has every command, two of them refused.
    static func controller(_ path: String, _ kind: EngineKind) throws {
        let node = try StoppedNode(
            path, kind, role: "controller", gid: 0, id: 0, record: controllerRecord, clusterID: clusterID,
            machine: ControllerMachine())
        try node.run([(.opening, [])])
        for (number, command) in RecordSamples.controllerCommands.enumerated() {
            try node.run(
                command.value.encoded(requestID: number == 0 ? [] : [UInt8](repeating: UInt8(number), count: 16)))
        }
        try addChanges(node)
        try node.vote(HardState(term: 3, vote: ReplicaID(2)))
        node.term = 3
        try node.append([(.opening, []), (.command, ControllerCommand.leave([101]).encoded(requestID: [9]))])
        try node.close()
    }

    /// A group that serves, has frozen, handed over, taken over, rejected and staged shards, with sessions.
    static func group(_ path: String, _ kind: EngineKind) throws {
        let node = try StoppedNode(
            path, kind, role: "group", gid: 100, id: 1,
            record: BootstrapRecord(clusterID: clusterID, gid: 100, membership: members(3, gid: 100)),
            clusterID: clusterID, machine: GroupMachine())
        try node.run([(.opening, [])])
        for shard in (0..<6).map({ ShardID(clamping: $0) }) {
            try node.run(GroupCommand.adopt(ShardEpoch(shard: shard, epoch: 1), shardCount: shardCount).encoded)
        }
        for command in writes(node.now) { try node.run(command.encoded) }
        try node.stage(StagedShard.name(RecordSamples.moving), rows: stagedRows, note: stagedNote.encoded)
        for command in [
            GroupCommand.freeze(ShardEpoch(shard: 0, epoch: 2), to: 101),
            .unfreeze(ShardEpoch(shard: 0, epoch: 2)),
            .freeze(ShardEpoch(shard: 1, epoch: 2), to: 101),
            .collect(ShardEpoch(shard: 1, epoch: 2)),
            .freeze(ShardEpoch(shard: 2, epoch: 4), to: 102),
            .activate(RecordSamples.moving, activation),
            .reject(ShardEpoch(shard: 7, epoch: 5)),
            .passTime,
        ] { try node.run(command.encoded) }
        try node.stage("shard/7/6", rows: stagedRows, note: stagedNote.encoded)
        try addChanges(node)
        try node.compact(through: 5)
        try node.vote(HardState(term: 4, vote: ReplicaID(0)))
        node.term = 4
        try node.append([(.opening, []), (.command, GroupCommand.passTime.encoded)])
        try node.close()
    }

    private static func addChanges<Machine>(_ node: StoppedNode<Machine>) throws {
        try node.run(RecordSamples.changes.map { (.membership, $0.value.encoded) })
    }

    /// Writes to every shard: all operations, with and without a session.
    static func writes(_ now: Milliseconds) -> [GroupCommand] {
        (0..<30).flatMap { number -> [GroupCommand] in
            let key = bytes("key\(number)")
            let stamp = SessionStamp(
                token: [UInt8](repeating: UInt8(number % 3), count: 16), end: now + 3_600_000,
                sequence: UInt64(number) * 4 + 1, lowestUnanswered: 1)
            var second = stamp
            second.sequence += 1
            return [
                .write(key: key, .put(value: bytes("value\(number)")), number % 2 == 0 ? stamp : nil),
                .write(key: key, .append(value: [0, 255]), number % 2 == 0 ? second : nil),
                .write(key: key + [0], .compareAndSet(expected: nil, value: [1]), nil),
                .write(key: key + [0], .delete, nil),
            ]
        }
    }

    private static let stagedRows: [(key: [UInt8], value: [UInt8])] = [
        (ShardRows.userKey(bytes("moved")), ShardRows.record(bytes("here")))
    ]

    private static var hashes: ShardHashes {
        var hashes = ShardHashes()
        for row in stagedRows {
            row.key.withUnsafeBytes { key in row.value.withUnsafeBytes { hashes.user.add(key: key, value: $0) } }
        }
        return hashes
    }

    private static var stagedNote: StagedShard { StagedShard(hashes: hashes, sessions: 0) }

    private static var activation: Activation {
        Activation(
            hashes: hashes, logTime: 1_700_000_000_500, shardCount: shardCount,
            stagedBy: members(3, gid: 100).members.prefix(2).map(\.incarnation))
    }
}
