import Keyspace
import RaftLog
import Sharding
import Testing

/// The map follows a group's members: where clients find it changes without a join.
@Suite struct RelocationTests {
    private func bench() throws -> MachineBench<ControllerMachine> {
        let bench = try MachineBench.controller(shards: 4)
        try bench.run(.join([1: ["a:1", "a:2"], 2: ["b:1"]]))
        return bench
    }

    @Test func aGroupThatMovedIsFoundWhereItIs() throws {
        let bench = try bench()
        let before = bench.map
        try bench.run(.relocate(1, ["a:1", "c:9"], membershipIndex: 17))
        #expect(bench.map.groups[1] == .init(addresses: ["a:1", "c:9"], membershipIndex: 17))
        #expect(bench.map.shards == before.shards)
        #expect(bench.map.number == before.number + 1)
        try bench.restart()
        #expect(bench.map.groups[1]?.membershipIndex == 17)
    }

    @Test func olderNewsOfTheMembersChangesNothing() throws {
        let bench = try bench()
        try bench.run(.relocate(1, ["c:9"], membershipIndex: 17))
        let before = bench.map
        for index: UInt64 in [0, 16, 17] { try bench.run(.relocate(1, ["d:1"], membershipIndex: index)) }
        try bench.run(.relocate(1, [], membershipIndex: 99))
        #expect(bench.map == before)
    }

    @Test func anAddressOfAnotherGroupIsRefused() throws {
        let bench = try bench()
        #expect(try bench.refusal(.relocate(1, ["b:1"], membershipIndex: 17))?.kind == .precondition)
        #expect(try bench.refusal(.relocate(9, ["c:1"], membershipIndex: 17))?.kind == .notFound)
    }

    @Test func aLeavingGroupThatJoinsAgainKeepsWhatIsKnownOfItsMembers() throws {
        let bench = try bench()
        try bench.run(.relocate(2, ["c:9"], membershipIndex: 17))
        try bench.run(.leave([2]))
        try bench.run(.join([2: ["c:9"]]))
        #expect(bench.map.groups[2] == .init(addresses: ["c:9"], membershipIndex: 17))
    }
}
