import Engines
import Keyspace
import RaftLog
import Sharding

/// A machine with a log of its own and a disk: commands in, replies out, no cluster.
final class MachineBench<Machine: StateMachine> {
    let engine = MemoryEngine()
    let families: FamilyTable
    let layout: GroupLayout
    private(set) var storage: GroupStorage<Machine>
    private let make: () -> Machine
    private var serial: UInt64 = 0
    /// The leader's clock: the stamp of the next entries.
    var now: Milliseconds = 1_000_000

    init(gid: GroupID = 7, _ make: @escaping () -> Machine) throws {
        self.make = make
        families = try FamilyTable(engine: engine)
        layout = try families.layout(of: gid.rawValue)
        var batch = WriteBatch()
        let member = Member(
            id: ReplicaID(1), address: "n1", incarnation: Incarnation(high: 1, low: 1), standing: .voter)
        BootstrapRecord(clusterID: [1], gid: gid.rawValue, membership: Membership(members: [member])).write(
            to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
        storage = try GroupStorage.open(layout, machine: make(), in: engine.snapshot()).storage
    }

    var machine: Machine { storage.machine }

    /// Applies the commands in one batch, and returns their replies in order.
    func apply(_ payloads: [[UInt8]]) throws -> [Machine.Reply] {
        serial += 1
        var request = WriteRequest(serial: serial)
        for payload in payloads {
            let entry = Entry(
                index: storage.applied.position.index + 1 + LogIndex(request.entries.count), term: 1, kind: .command,
                stamp: now, payload: payload)
            request.entries.append(entry)
            request.commands.append(WriteRequest.Command(entry: entry, token: entry.index))
        }
        var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in try families.take()
        }
        let outcome = try storage.execute(request, in: &batch)
        try engine.write(batch.batch, durability: .synced)
        for family in batch.unmapped { try engine.dropFamily(family) }
        return outcome.replies.map(\.reply)
    }

    /// The process ends, and a new one opens what is on disk.
    func restart() throws {
        engine.crash(keepingUnsynced: 0)
        storage = try GroupStorage.open(layout, machine: make(), in: engine.snapshot()).storage
    }
}

extension MachineBench where Machine == ControllerMachine {
    /// A controller with an initialised map.
    static func controller(shards: Int = 64) throws -> MachineBench {
        let bench = try MachineBench(gid: 0) { ControllerMachine() }
        _ = try bench.run(.initialize(shardCount: shards, clusterID: [1, 2]))
        return bench
    }

    @discardableResult
    func run(_ command: ControllerCommand, id: [UInt8] = []) throws -> ControllerMachine.Reply {
        try apply([command.encoded(requestID: id)])[0]
    }

    /// Every group says that it is there.
    func hear() throws {
        for (gid, group) in map.groups.sorted(by: { $0.key < $1.key }) {
            try run(.relocate(gid, group.addresses, membershipIndex: 0))
        }
    }

    var map: ShardMap { machine.map ?? ShardMap(number: 0, clusterID: [], groups: [:], shards: []) }

    /// The refusal of a command, which must change nothing.
    func refusal(_ command: ControllerCommand) throws -> ControllerRefusal? {
        let before = map
        guard case .refused(let refusal) = try run(command) else { return nil }
        return map == before ? refusal : nil
    }

    /// Everything on the move arrives.
    func finishMoves() throws {
        while let shard = map.shardIDs.first(where: { map[$0].move != nil }) {
            guard let move = map[shard].move else { return }
            try run(.report(shard: shard, epoch: move.epoch, event: .activated))
            try run(.report(shard: shard, epoch: move.epoch, event: .collected))
        }
    }

    /// Shards per group, by where they will be.
    var load: [GroupID: Int] {
        var load: [GroupID: Int] = [:]
        for shard in map.shardIDs { load[map.destination(shard), default: 0] += 1 }
        return load
    }
}

extension MachineBench where Machine == GroupMachine {
    /// A group that serves every shard of a cluster with `shards` shards.
    static func group(_ gid: GroupID = 7, shards: Int = 4, adopting: [ShardID]? = nil) throws -> MachineBench {
        let bench = try MachineBench(gid: gid) { GroupMachine() }
        for shard in adopting ?? (0..<shards).map({ ShardID(clamping: $0) }) {
            _ = try bench.run(.adopt(ShardEpoch(shard: shard, epoch: 1), shardCount: shards))
        }
        return bench
    }

    @discardableResult
    func run(_ command: GroupCommand) throws -> GroupReply { try apply([command.encoded])[0] }

    /// Several commands in one batch.
    func run(_ commands: [GroupCommand]) throws -> [GroupReply] { try apply(commands.map(\.encoded)) }

    func write(_ key: String, _ operation: KeyOperation, _ stamp: SessionStamp? = nil) throws -> GroupReply {
        try run(.write(key: Array(key.utf8), operation, stamp))
    }

    var reader: GroupReader { get throws { GroupReader(layout, in: try engine.snapshot()) } }

    func get(_ key: String, shards: Int = 4) throws -> String? {
        try reader.get(Array(key.utf8), shardCount: shards).get().map { String(decoding: $0, as: UTF8.self) }
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A session of a client.
struct TestSession {
    var token: [UInt8]
    var end: Milliseconds

    init(_ number: UInt8, end: Milliseconds) {
        token = [UInt8](repeating: number, count: 16)
        self.end = end
    }

    func stamp(_ sequence: UInt64, lowest: UInt64 = 0) -> SessionStamp {
        SessionStamp(token: token, end: end, sequence: sequence, lowestUnanswered: lowest)
    }
}
