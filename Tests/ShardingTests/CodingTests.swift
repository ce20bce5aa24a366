import Bytes
import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// What is written is read back; what is damaged is refused, never a crash.
@Suite struct CodingTests {
    private static let stamp = SessionStamp(
        token: [UInt8](repeating: 9, count: 16), end: .max, sequence: 300, lowestUnanswered: 2)
    private static let epoch = ShardEpoch(shard: 1023, epoch: .max)
    private static let hashes = ShardHashes(
        user: ContentHash(count: .max, high: 1, low: .max), session: ContentHash(count: 0, high: .max, low: 0))

    static let groupCommands: [GroupCommand] = [
        .write(key: [0, 255], .put(value: []), nil), .write(key: [], .append(value: [1]), stamp),
        .write(key: [1], .delete, stamp), .write(key: [1], .compareAndSet(expected: nil, value: nil), nil),
        .write(key: [1], .compareAndSet(expected: [], value: [2]), stamp), .adopt(epoch, shardCount: 64),
        .freeze(epoch, to: .max), .unfreeze(epoch), .collect(epoch),
        .activate(
            epoch,
            Activation(
                hashes: hashes, logTime: .max, shardCount: 64,
                stagedBy: [Incarnation(high: .max, low: 0), Incarnation(high: 1, low: 2)])),
        .activate(epoch, Activation(hashes: ShardHashes(), logTime: 0, shardCount: 1, stagedBy: [])), .reject(epoch),
        .passTime, .abandon(epoch), .thaw(epoch),
    ]

    @Test(arguments: groupCommands) func aGroupCommandIsReadBack(command: GroupCommand) throws {
        #expect(try GroupCommand(encoded: command.encoded) == command)
        refusesDamage(command.encoded) { bytes throws(CodingError) in _ = try GroupCommand(encoded: bytes) }
    }

    static let controllerCommands: [ControllerCommand] = [
        .initialize(shardCount: 64, clusterID: [1, 2]), .join([1: ["a:1", "b:2"], .max: []]), .join([:]),
        .leave([1, .max]),
        .move(shard: 3, to: 4), .report(shard: 1, epoch: .max, event: .rejected),
        .relocate(1, ["a:1"], membershipIndex: .max), .hold(id: [1, 2], holder: "a backup", lasts: .max),
        .prolong(id: [], lasts: 0), .release(id: [1]), .passTime, .giveUp(.max),
        .abort(shard: 1023, isForced: false), .abort(shard: 0, isForced: true),
    ]

    @Test(arguments: controllerCommands) func aControllerCommandIsReadBack(command: ControllerCommand) throws {
        for id: [UInt8] in [[], [1, 2, 3]] {
            let encoded = command.encoded(requestID: id)
            let decoded = try ControllerCommand.decode(encoded)
            #expect(decoded.command == command && decoded.requestID == id)
            refusesDamage(encoded) { bytes throws(CodingError) in _ = try ControllerCommand.decode(bytes) }
        }
    }

    @Test func aHoldIsReadBack() throws {
        let hold = MoveHold(id: [1, 2], holder: "a backup", until: .max, waiting: [0: 1, 63: .max])
        #expect(try MoveHold(encoded: hold.encoded) == hold)
        refusesDamage(hold.encoded) { bytes throws(CodingError) in _ = try MoveHold(encoded: bytes) }
    }

    @Test func aShardMapIsReadBack() throws {
        let map = ShardMap(
            number: 300, clusterID: [1],
            groups: [1: .init(addresses: ["a", "b"]), 2: .init(addresses: ["c"], isLeaving: true)],
            shards: [
                .init(gid: 0, epoch: 0), .init(gid: 1, epoch: 7, move: .init(from: 1, to: 2, epoch: 8, phase: .moving)),
                .init(gid: 2, epoch: 9, move: .init(from: 1, to: 2, epoch: 9, phase: .collecting)),
                .init(gid: 1, epoch: 9, move: .init(from: 1, to: 2, epoch: 10, phase: .rejected)),
            ])
        #expect(try ShardMap(encoded: map.encoded) == map)
        refusesDamage(map.encoded) { bytes throws(CodingError) in _ = try ShardMap(encoded: bytes) }
    }

    @Test func rowsOfAGroupAreReadBack() throws {
        var record = ShardRecord(state: .frozen(to: 3, epoch: 9), epoch: 8)
        record.rejectedEpoch = 7
        record.sessions = 5
        for state in [ShardRecord.State.serving, .gone, .frozen(to: 3, epoch: 9)] {
            record.state = state
            #expect(try ShardRecord(encoded: record.encoded) == record)
            refusesDamage(record.encoded) { bytes throws(CodingError) in _ = try ShardRecord(encoded: bytes) }
        }
        let staged = StagedShard(hashes: Self.hashes, sessions: 4)
        #expect(try StagedShard(encoded: staged.encoded) == staged)
        refusesDamage(staged.encoded) { bytes throws(CodingError) in _ = try StagedShard(encoded: bytes) }
        for decision in [ShardDecision.activated(Self.hashes), .rejected] {
            #expect(try ShardDecision(encoded: decision.encoded) == decision)
            refusesDamage(decision.encoded) { bytes throws(CodingError) in _ = try ShardDecision(encoded: bytes) }
        }
    }

    @Test func aSessionRowIsReadBack() throws {
        var row = SessionRow(end: 99)
        let replies: [KeyReply] = [
            .put, .appended(length: 1 << 30), .deleted(existed: true), .deleted(existed: false),
            .compared(succeeded: true),
            .compared(succeeded: false),
        ]
        for (number, reply) in replies.enumerated() { row.record(reply, for: UInt64(number) * 1000 + 1) }
        #expect(try SessionRow(encoded: row.encoded) == row)
        refusesDamage(row.encoded) { bytes throws(CodingError) in _ = try SessionRow(encoded: bytes) }
        for (number, reply) in replies.enumerated() { #expect(row.answer(to: UInt64(number) * 1000 + 1) == reply) }
        #expect(row.answer(to: 0) == nil && row.answer(to: 2) == nil && row.answer(to: .max) == nil)
    }

    private func refusesDamage(_ bytes: [UInt8], _ decode: ([UInt8]) throws(CodingError) -> Void) {
        for count in 0..<bytes.count {
            #expect(throws: CodingError.self, "\(count) of \(bytes.count) bytes") { try decode(Array(bytes[..<count])) }
        }
        #expect(throws: CodingError.self) { try decode(bytes + [0]) }
        var random = SplitMix64(seed: UInt64(bytes.count))
        for _ in 0..<300 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                guard let place = damaged.indices.randomElement(using: &random) else { continue }
                damaged[place] = UInt8.random(in: 0...255, using: &random)
            }
            try? decode(damaged)
        }
    }
}
