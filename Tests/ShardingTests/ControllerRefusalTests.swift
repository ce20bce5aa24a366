import Keyspace
import RaftLog
import Sharding
import Testing

/// Nonsense gets a sentence that names the thing and the remedy, and no new config.
@Suite struct ControllerRefusalTests {
    private func bench() throws -> MachineBench<ControllerMachine> {
        let bench = try MachineBench.controller(shards: 8)
        try bench.run(.join([1: ["a:1", "a:2"], 2: ["b:1"]]))
        try bench.hear()
        return bench
    }

    private func expect(
        _ command: ControllerCommand, _ kind: ControllerRefusal.Kind, saying words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let bench = try bench()
        let refusal = try #require(try bench.refusal(command), "taken", sourceLocation: sourceLocation)
        #expect(refusal.kind == kind, sourceLocation: sourceLocation)
        for word in words {
            #expect(refusal.description.contains(word), "\(refusal)", sourceLocation: sourceLocation)
        }
    }

    @Test func aJoinOfNothing() throws { try expect(.join([:]), .invalid, saying: "no group") }
    @Test func groupZero() throws { try expect(.join([0: ["c:1"]]), .invalid, saying: "gid 0") }
    @Test func aGroupWithoutAddresses() throws { try expect(.join([3: []]), .invalid, saying: "group 3", "HOST:PORT") }
    @Test func anEmptyAddress() throws { try expect(.join([3: ["c:1", ""]]), .invalid, saying: "group 3") }
    @Test func anAddressTwice() throws { try expect(.join([3: ["c:1", "c:1"]]), .invalid, saying: "group 3", "twice") }

    @Test func anAddressOfAnotherGroup() throws {
        try expect(.join([3: ["c:1", "b:1"]]), .precondition, saying: "group 3", "b:1", "group 2")
    }

    @Test func anAddressInTwoGroupsOfOneJoin() throws {
        try expect(.join([3: ["c:1"], 4: ["c:1"]]), .precondition, saying: "c:1", "group 3", "group 4")
    }

    @Test func aGroupThatJoinsAgainElsewhere() throws {
        try expect(.join([1: ["c:1"]]), .precondition, saying: "group 1", "a:1,a:2", "group member")
    }

    @Test func aJoinOfWhichOnePartIsWrongChangesNothing() throws {
        try expect(.join([3: ["c:1"], 4: ["a:1"]]), .precondition, saying: "a:1")
    }

    @Test func aLeaveOfNothing() throws { try expect(.leave([]), .invalid, saying: "no group") }
    @Test func aLeaveOfAStranger() throws { try expect(.leave([1, 9]), .notFound, saying: "no group 9", "query") }

    @Test func aLeaveOfTheLastGroupWithData() throws {
        try expect(.leave([1, 2]), .precondition, saying: "holds data", "join another")
    }

    @Test func aShardOutOfRange() throws {
        try expect(.move(shard: 8, to: 1), .invalid, saying: "shard 8", "0 to 7")
        try expect(.move(shard: .max, to: 1), .invalid, saying: "out of range")
    }

    @Test func aMoveToAStranger() throws { try expect(.move(shard: 0, to: 9), .notFound, saying: "no group 9") }

    @Test func aMoveToAGroupThatLeaves() throws {
        let bench = try bench()
        try bench.run(.leave([2]))
        let refusal = try #require(try bench.refusal(.move(shard: 0, to: 2)))
        #expect(refusal.kind == .precondition)
        #expect(refusal.description.contains("leaving"))
    }

    @Test func aMoveOfAShardThatIsMoving() throws {
        let bench = try bench()
        try bench.run(.join([3: ["c:1"]]))
        let shard = try #require(bench.map.shardIDs.first { bench.map[$0].move != nil })
        let refusal = try #require(
            try bench.refusal(.move(shard: shard, to: GroupID(2 - bench.map[shard].gid.rawValue / 2))))
        #expect(refusal.kind == .busy)
        #expect(refusal.description.contains("shard \(shard)") && refusal.description.contains("group 3"))
    }

    /// A group on its way out still serves what it holds: other addresses would send its clients astray.
    @Test func aLeavingGroupJoinsAgainOnlyWithItsOwnAddresses() throws {
        let bench = try bench()
        try bench.run(.leave([2]))
        #expect(try bench.refusal(.join([2: ["elsewhere:1"]]))?.kind == .precondition)
        try bench.run(.join([2: ["b:1"]]))
        #expect(bench.map.groups[2] == .init(addresses: ["b:1"]))
        try bench.finishMoves()
        #expect(bench.load == [1: 4, 2: 4])
    }

    @Test func aGroupThatWasNeverHeardOfGivesItsShardsBack() throws {
        let bench = try bench()
        let before = bench.map.shards.map(\.gid)
        try bench.run(.join([3: ["nowhere:1"]]))
        #expect(bench.map.shards.contains { $0.move?.to == 3 })
        try bench.run(.leave([3]))
        #expect(bench.map.groups[3] == nil)
        #expect(bench.map.shards.allSatisfy { $0.move == nil } && bench.map.shards.map(\.gid) == before)
        // The epochs of the moves are used up.
        #expect(bench.map.shards.contains { $0.epoch > 1 })
    }

    @Test func theFirstGroupOfAllMayHaveBeenASlip() throws {
        let bench = try MachineBench.controller(shards: 8)
        try bench.run(.join([3: ["nowhere:1"]]))
        #expect(bench.load == [3: 8])
        try bench.run(.leave([3]))
        #expect(bench.map.groups.isEmpty && bench.map.shards.allSatisfy { $0.gid == .none })
        try bench.run(.join([1: ["a:1"]]))
        #expect(bench.map.shards.allSatisfy { $0.gid == 1 && $0.isBlank && $0.epoch == 2 })
    }

    @Test func aGroupThatWasFoundedAnewIsRefusedUntilItIsGivenUp() throws {
        let bench = try bench()
        func hear(_ identity: [UInt8]) throws -> ControllerRefusal? {
            let reply = try bench.run(.relocate(1, ["a:1", "a:2"], membershipIndex: 0, identity: identity))
            if case .refused(let refusal) = reply { return refusal } else { return nil }
        }
        #expect(try hear([1]) == nil && bench.map.groups[1]?.identity == [1])
        #expect(try hear([1]) == nil)
        let refusal = try #require(try hear([2]))
        #expect(refusal.kind == .precondition && refusal.description.contains("give-up 1"))
        let before = bench.map
        try bench.run(.giveUp(1))
        #expect(try hear([2]) == nil && bench.map.groups[1]?.identity == [2])
        for shard in bench.map.shardIDs {
            let (old, new) = (before[shard], bench.map[shard])
            #expect(new.gid == old.gid && new.isBlank)
            #expect(new.epoch == (old.gid == 1 ? old.epoch + 1 : old.epoch))
        }
        #expect(try bench.refusal(.giveUp(9))?.kind == .notFound)
    }

    /// The target may serve it already, and has not been able to say so.
    @Test func aShardOnTheMoveDoesNotBeginAgainAtASourceThatIsGivenUp() throws {
        let bench = try bench()
        let shard = try #require(bench.map.shardIDs.first { bench.map[$0].gid == 1 })
        try bench.run(.move(shard: shard, to: 2))
        let before = bench.map[shard]
        try bench.run(.giveUp(1))
        #expect(!bench.map[shard].isBlank)
        #expect(bench.map[shard].move?.epoch == before.move?.epoch && bench.map[shard].epoch == before.epoch)
    }

    @Test func aGroupThatWasGivenUpIsFoundWhereItIsFoundedAnew() throws {
        let bench = try bench()
        try bench.run(.relocate(1, ["a:1", "a:2"], membershipIndex: 7, identity: [1]))
        try bench.run(.giveUp(1))
        try bench.run(.relocate(1, ["elsewhere:1"], membershipIndex: 0, identity: [2]))
        #expect(bench.map.groups[1]?.addresses == ["elsewhere:1"])
    }

    @Test func joiningAgainWithTheSameAddressesIsNoNewConfig() throws {
        let bench = try bench()
        let before = bench.map
        #expect(try bench.run(.join([2: ["b:1"]])) == .map(before))
    }

    @Test func aCommandThatCantBeReadIsRefused() throws {
        let bench = try bench()
        let before = bench.map
        for payload: [UInt8] in [[], [0], [0, 99], [5, 1], [0, 4, 1], [0, 3, 0xff, 0xff, 0xff]] {
            guard case .refused(let refusal) = try bench.apply([payload])[0] else {
                Issue.record("\(payload) was taken")
                continue
            }
            #expect(refusal.kind == .invalid)
        }
        #expect(bench.map == before)
    }
}
