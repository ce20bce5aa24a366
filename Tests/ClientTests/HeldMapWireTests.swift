import Foundation
import Keyspace
import Testing
import Wire

/// The shard map between its protobuf and its value.
@Suite struct HeldMapWireTests {
    @Test func aMapIsReadBack() {
        var map = ShardMap(
            number: 7, clusterID: [1, 2],
            groups: [100: .init(addresses: ["a:1", "b:1"]), 101: .init(addresses: ["c:1"], isLeaving: true)],
            shards: [
                .init(gid: 100, epoch: 3, move: .init(from: 100, to: 101, epoch: 4, phase: .moving)),
                .init(gid: 101, epoch: 2, move: .init(from: 100, to: 101, epoch: 2, phase: .collecting)),
                .init(gid: .none, epoch: 0),
                .init(gid: 100, epoch: 9, move: .init(from: 100, to: 101, epoch: 10, phase: .rejected)),
            ])
        #expect(HeldMap(HeldMap(map: map).wire) == HeldMap(map: map))
        map.isBalancePending = true
        let hold = MoveHold(id: [5, 6], holder: "a backup", until: 99, waiting: [2: 101])
        #expect(HeldMap(HeldMap(map: map, hold: hold).wire) == HeldMap(map: map, hold: hold))
    }

    /// Whatever a controller sends: a row for each shard, each group once, and nothing that names what isn't there.
    @Test(arguments: [0, 3, 1024, 5000, UInt32.max]) func nonsenseIsLeftOut(count: UInt32) {
        var wire = Flotilla_V1_Config()
        wire.number = .max
        wire.shardCount = count
        for (gid, addresses) in [(100, ["a:1"]), (100, ["other:1"]), (0, ["x:1"]), (UInt64.max, [])] {
            var group = Flotilla_V1_GroupAddresses()
            (group.gid, group.addresses) = (gid, addresses)
            wire.groups.append(group)
        }
        wire.shards = [.max, 0, 100, 7]
        wire.epochs = [.max]
        for (shard, to) in [(UInt32.max, UInt64(1)), (1, 2), (1, 3), (2_000, 4)] {
            var move = Flotilla_V1_MoveRow()
            (move.shard, move.from, move.to, move.epoch, move.phase) = (shard, 1, to, .max, .UNRECOGNIZED(9))
            wire.moves.append(move)
        }
        var waiting = Flotilla_V1_WaitingMove()
        waiting.shard = .max
        wire.hold.waiting = [waiting]
        let held = HeldMap(wire)
        #expect(held.map.shardCount == min(Int(count), Limits.shardCountMax))
        #expect(held.map.groups.keys.sorted() == [100, GroupID(.max)])
        #expect(held.map.groups[100]?.addresses == ["a:1"])
        #expect(held.map.row(0)?.epoch ?? .max == .max)
        #expect(held.map.row(1)?.epoch ?? 0 == 0)
        #expect(held.map.moves.map(\.shard) == (count > 1 ? [1] : []))
        #expect(held.map.row(1)?.move?.to == (count > 1 ? 2 : nil))
        #expect(held.hold?.waiting == [:])
        #expect(held.map.row(ShardID(clamping: count)) == nil)
    }

    @Test func requestsAndAnswersAreReadBack() {
        let stamp = SessionStamp(
            token: [UInt8](repeating: 9, count: 16), end: 5, sequence: 300, lowestUnanswered: 2)
        let operations: [KvRequest.Operation] = [
            .get(key: [1]), .scan(KvScan(shard: 3, start: [1], end: [2], limit: 9, keysOnly: true)),
            .write(key: [1], .put(value: []), nil), .write(key: [1], .append(value: [2]), stamp),
            .write(key: [1], .delete, stamp), .write(key: [1], .compareAndSet(expected: nil, value: []), stamp),
            .write(key: [1], .compareAndSet(expected: [3], value: nil), nil),
        ]
        for operation in operations {
            let request = KvRequest(id: 8, config: 4, operation)
            #expect(KvRequest(request.wire) == request)
        }
        let results: [KvResponse.Result] = [
            .value(nil), .value([]), .value([1]), .page(pairs: [], more: true),
            .page(pairs: [KvPair(key: [1], value: [2])], more: false), .written(.put),
            .written(.appended(length: 7)), .written(.deleted(existed: true)), .written(.compared(succeeded: false)),
        ]
        for result in results { #expect(KvResponse(KvResponse(id: 5, result).wire) == KvResponse(id: 5, result)) }
        for code in KvError.Code.allCases {
            let error = KvError(code, "why", leader: "a:1", config: 3, retryAfterMilliseconds: 4)
            #expect(KvError(error.wire) == error)
        }
        #expect(KvRequest(Flotilla_V1_Request()) == nil)
    }
}
