import Engines
import Foundation
import Keyspace
import RaftLog
import Sharding
import Testing

/// No committed command may make apply throw or trap, whatever it holds, and every engine makes the same of it: a
/// command that stopped a replica would stop it again at every start.
@Suite struct MachineFuzzTests {
    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func everyEngineMakesTheSameOfAnyGroupCommand(seed: UInt64) throws {
        var source = CommandSource(seed: seed)
        let payloads = source.payloads(count: 400) { $0.groupCommand().encoded }
        try compare(payloads, gid: 7) { GroupMachine() }
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func everyEngineMakesTheSameOfAnyControllerCommand(seed: UInt64) throws {
        var source = CommandSource(seed: seed)
        let first = ControllerCommand.initialize(shardCount: 8, clusterID: [1, 2]).encoded(requestID: [])
        let payloads = source.payloads(count: 400) { source in
            source.controllerCommand().encoded(requestID: source.bytes(source.pick([0, 0, 16, 64, 65, 600])))
        }
        try compare([(0, first)] + payloads, gid: 0) { ControllerMachine() }
    }

    /// How entries fall into batches is another thing on each replica; what they make of them must not be. Compared while
    /// shards are copied, too: what is noted of changes is the same whoever is asked.
    @Test(arguments: 1...12 as ClosedRange<UInt64>) func howEntriesFallIntoBatchesChangesNothing(seed: UInt64) throws {
        var source = LifeSource(seed: seed)
        let replicas = try (0..<3).map { _ in try FuzzedReplica(MemoryEngine(), gid: 7) { GroupMachine() } }
        for round in 0..<60 {
            let commands = (0..<12).map { _ in source.next() }
            let replies = [
                try replicas[0].apply(commands), try commands.flatMap { try replicas[1].apply([$0]) },
                try commands.chunks(of: 1 + round % 5).flatMap { try replicas[2].apply($0) },
            ]
            let contents = try replicas.map { try $0.contents() }
            for other in [1, 2] {
                #expect(replies[other] == replies[0], "round \(round)")
                #expect(contents[other] == contents[0], "round \(round), replica \(other)")
            }
        }
    }

    private func compare<Machine: StateMachine>(
        _ payloads: [(stamp: Milliseconds, bytes: [UInt8])], gid: GroupID, _ make: @escaping () -> Machine
    ) throws where Machine.Reply: Equatable {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-fuzz-\(UUID())").path
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: root) }
        var replicas = [try FuzzedReplica(MemoryEngine(), gid: gid, make)]
        for kind in EngineKind.durable {
            try FileManager.default.createDirectory(atPath: "\(root)/\(kind)", withIntermediateDirectories: false)
            replicas.append(try FuzzedReplica(try kind.open("\(root)/\(kind)"), gid: gid, make))
        }
        for (number, batch) in payloads.chunks(of: 20).enumerated() {
            let replies = try replicas.map { try $0.apply(batch) }
            for other in replies.dropFirst() { #expect(other == replies[0], "batch \(number)") }
            #expect(replies[0].count == batch.count)
            if number % 8 == 7 { for replica in replicas { try replica.reopen() } }
        }
        let contents = try replicas.map { try $0.contents() }
        for other in contents.dropFirst() { #expect(other == contents[0]) }
        for replica in replicas { try replica.engine.close() }
    }
}

extension Array {
    fileprivate func chunks(of size: Int) -> [[Element]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}

/// One machine on one engine.
private final class FuzzedReplica<Machine: StateMachine> {
    let engine: any StorageEngine
    private let families: FamilyTable
    private let layout: GroupLayout
    private let make: () -> Machine
    private var storage: GroupStorage<Machine>
    private var serial: UInt64 = 0

    init(_ engine: any StorageEngine, gid: GroupID, _ make: @escaping () -> Machine) throws {
        self.engine = engine
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

    func apply(_ commands: [(stamp: Milliseconds, bytes: [UInt8])]) throws -> [Machine.Reply] {
        serial += 1
        var request = WriteRequest(serial: serial)
        for command in commands {
            let index = storage.applied.position.index + 1 + LogIndex(request.entries.count)
            let entry = Entry(index: index, term: 1, kind: .command, stamp: command.stamp, payload: command.bytes)
            request.entries.append(entry)
            request.commands.append(WriteRequest.Command(entry: entry, token: index))
        }
        let view = try engine.snapshot()
        defer { view.close() }
        var batch = StorageBatch(view: view) { [families] () throws(EngineError) in try families.take() }
        let outcome = try storage.execute(request, in: &batch)
        view.close()
        try engine.write(batch.batch, durability: batch.durability)
        for family in batch.unmapped { try engine.dropFamily(family) }
        return outcome.replies.map(\.reply)
    }

    /// What a restart reads must be readable.
    func reopen() throws {
        let view = try engine.snapshot()
        defer { view.close() }
        storage = try GroupStorage.open(layout, machine: make(), in: view).storage
    }

    /// Every row, by the family's name.
    func contents() throws -> [String: [[UInt8]]] {
        let view = try engine.snapshot()
        defer { view.close() }
        let (header, physical) = try SnapshotHeader.read(layout, in: view)
        var contents = ["": [header.encoded]]
        for (name, family) in zip(header.families, physical) {
            try view.scan(family) { key, value in
                contents[name, default: []] += [Array(key), Array(value)]
                return true
            }
        }
        return contents
    }
}

/// The life of a group in commands: two shards are written in sessions, which end and are closed, and begin to move and stay.
private struct LifeSource {
    private var random: SplitMix64
    private var now: Milliseconds = 1_000_000
    private var adopted = 0
    private var epoch: UInt64 = 1
    private var sequences: [UInt8: UInt64] = [:]

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    private mutating func draw(_ most: Int) -> Int { Int.random(in: 0..<most, using: &random) }

    mutating func next() -> (stamp: Milliseconds, bytes: [UInt8]) {
        now += Milliseconds(draw(60))
        return (now, command().encoded)
    }

    private mutating func command() -> GroupCommand {
        if adopted < 2 {
            adopted += 1
            return .adopt(ShardEpoch(shard: ShardID(clamping: adopted - 1), epoch: 1), shardCount: 2)
        }
        let shard = ShardID(clamping: draw(2))
        switch draw(24) {
        case 0:
            epoch += 1
            return .prepare(ShardEpoch(shard: shard, epoch: epoch), to: 8)
        case 1: return .prepare(ShardEpoch(shard: shard, epoch: epoch), to: 8)
        case 2: return .freeze(ShardEpoch(shard: shard, epoch: epoch), to: 8)
        case 3, 4: return .unfreeze(ShardEpoch(shard: shard, epoch: epoch))
        case 5: return .abandon(ShardEpoch(shard: shard, epoch: epoch))
        case 6:
            epoch += 1
            return .thaw(ShardEpoch(shard: shard, epoch: epoch))
        case 7: return .passTime
        case 8: return .closeSession(shard, token: token(UInt8(draw(12))))
        default: return write()
        }
    }

    private mutating func write() -> GroupCommand {
        let key = bytes("key \(draw(6))")
        let operation: KeyOperation
        switch draw(8) {
        case 0, 1: operation = .delete
        case 2: operation = .append(value: bytes("+"))
        case 3: operation = .compareAndSet(expected: nil, value: bytes("new"))
        // Refused, and its session's row stays as it is.
        case 4 where draw(6) == 0:
            operation = .put(value: [UInt8](repeating: 1, count: Limits.valueBytesMax + 1))
        default: operation = .put(value: bytes("value \(draw(4))"))
        }
        guard draw(4) > 0 else { return .write(key: key, operation, nil) }
        // Old sessions end within a few entries, and new ones take their numbers.
        let number = UInt8(draw(12))
        let lasts = number < 6 ? Milliseconds(150) : 3_600_000
        let sequence = sequences[number, default: 1]
        if draw(5) > 0 { sequences[number] = sequence + 1 }
        let lowest = draw(3) == 0 ? sequence : 0
        return .write(
            key: key, operation,
            SessionStamp(
                token: token(number), end: (now / lasts + 1) * lasts, sequence: sequence, lowestUnanswered: lowest))
    }

    /// One that ends is another one afterwards.
    private func token(_ number: UInt8) -> [UInt8] {
        let life = number < 6 ? UInt8(truncatingIfNeeded: now / 150) : 0
        return [UInt8](repeating: number, count: 15) + [life]
    }
}

/// Commands of any shape: sound, extreme, and with damaged bytes.
private struct CommandSource {
    private var random: SplitMix64
    private var now: Milliseconds = 1_000_000

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int.random(in: values.indices, using: &random)]
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }

    /// Log time goes on, and in the last tenth anywhere.
    mutating func payloads(
        count: Int, _ make: (inout CommandSource) -> [UInt8]
    ) -> [(stamp: Milliseconds, bytes: [UInt8])] {
        (0..<count).map { number in
            now += Milliseconds.random(in: 0...5_000, using: &random)
            let stamp = number > count * 9 / 10 && chance(10) ? number64() : now
            var payload = make(&self)
            if chance(20) { damage(&payload) }
            return (stamp, payload)
        }
    }

    private mutating func damage(_ payload: inout [UInt8]) {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: payload.removeLast(min(payload.count, Int.random(in: 0...8, using: &random)))
            case 1: payload += bytes(Int.random(in: 0...8, using: &random))
            case 2:
                if let place = payload.indices.randomElement(using: &random) {
                    payload[place] ^= pick([1, 0x80, 0xff])
                }
            default:
                let place = Int.random(in: 0...payload.count, using: &random)
                payload.insert(contentsOf: [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], at: place)
            }
        }
    }

    private mutating func number64() -> UInt64 {
        pick([0, 1, now, now + 1, now + 60_000, .max - 1, .max, UInt64(Int64.max)])
    }

    private mutating func shard() -> ShardID {
        chance(85) ? ShardID(pick([0, 1, 2, 3])) : ShardID(pick([7, 8, 1_023, 1_024, .max]))
    }

    private mutating func epoch() -> ShardEpoch {
        ShardEpoch(shard: shard(), epoch: chance(80) ? pick([1, 2, 3, 4]) : number64())
    }

    private mutating func key() -> [UInt8] {
        chance(90) ? [pick([1, 2, 3, 4, 5, 6, 7, 8])] : bytes(pick([0, 1, 480, 481, 511, 512, 5_000]))
    }

    private mutating func value() -> [UInt8] { bytes(pick([0, 1, 100, 2_000])) }

    mutating func groupCommand() -> GroupCommand {
        switch Int.random(in: 0..<22, using: &random) {
        case 20: return .prepare(epoch(), to: pick([0, 1, .max]))
        case 21: return .expect(epoch())
        case 0, 1: return .adopt(epoch(), shardCount: chance(80) ? 8 : pick([0, 1, 9, 1_024, 1_025, .max]))
        case 2: return .freeze(epoch(), to: pick([0, 1, .max]))
        case 3: return .unfreeze(epoch())
        case 4: return .collect(epoch())
        case 5:
            let lives = (0..<pick([0, 1, 5])).map { _ in Incarnation(high: number64(), low: 7) }
            return .activate(
                epoch(),
                Activation(
                    hashes: ShardHashes(), logTime: number64(), shardCount: pick([0, 8, 9, 1_025, .max]),
                    stagedBy: lives))
        case 6: return .reject(epoch())
        case 7: return .passTime
        case 8: return .abandon(epoch())
        case 9: return .thaw(epoch())
        default:
            let operation: KeyOperation =
                switch Int.random(in: 0..<4, using: &random) {
                case 0: .put(value: value())
                case 1: .append(value: value())
                case 2: .delete
                default: .compareAndSet(expected: chance(50) ? nil : value(), value: chance(50) ? nil : value())
                }
            guard chance(80) else { return .write(key: key(), operation, nil) }
            let token = chance(90) ? [UInt8](repeating: pick([1, 2, 3]), count: 16) : bytes(pick([0, 15, 17, 600]))
            let end = chance(80) ? now + 60_000 : number64()
            return .write(
                key: key(), operation,
                SessionStamp(
                    token: token, end: end, sequence: chance(80) ? pick([1, 2, 3, 4, 5]) : number64(),
                    lowestUnanswered: chance(80) ? pick([0, 1, 2]) : number64()))
        }
    }

    private mutating func text() -> String {
        chance(80)
            ? "host\(pick([1, 2, 3, 4])):\(pick([1, 2, 3]))"
            : String(repeating: pick(["a", "\u{e9}", "\n"]), count: pick([0, 1, 259, 260, 70_000]))
    }

    private mutating func texts() -> [String] { (0..<pick([0, 1, 3, 3, 3, 40])).map { _ in text() } }

    private mutating func gid() -> GroupID { chance(80) ? GroupID(pick([100, 101, 102])) : GroupID(number64()) }

    mutating func controllerCommand() -> ControllerCommand {
        switch Int.random(in: 0..<14, using: &random) {
        case 0: return .initialize(shardCount: pick([0, 8, 1_024, .max]), clusterID: bytes(pick([0, 16, 700])))
        case 1, 2:
            return .join(Dictionary((0..<pick([0, 1, 2, 30])).map { _ in (gid(), texts()) }) { first, _ in first })
        case 3: return .leave((0..<pick([0, 1, 2])).map { _ in gid() })
        case 4, 5: return .move(shard: shard(), to: gid())
        case 6, 7:
            return .report(shard: shard(), epoch: epoch().epoch, event: pick([.activated, .rejected, .collected]))
        case 8: return .relocate(gid(), texts(), membershipIndex: number64())
        case 9: return .hold(id: bytes(pick([16, 16, 0, 700])), holder: text(), lasts: number64())
        case 11: return .abort(shard: shard(), isForced: chance(30))
        case 12: return .giveUp(gid())
        case 10: return .prolong(id: bytes(16), lasts: number64())
        default: return chance(50) ? .release(id: bytes(16)) : .passTime
        }
    }
}
