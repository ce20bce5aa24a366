import ClientCore
import Keyspace
import Testing

@Suite struct RoutingTableTests {
    private func config(_ number: UInt64, shards: [GroupID], groups: [GroupID: [String]]) -> ShardMap {
        ShardMap(
            number: number, clusterID: [], groups: groups.mapValues { ShardMap.Group(addresses: $0) },
            shards: shards.map { ShardMap.Row(gid: $0, epoch: 1) })
    }

    @Test func aClusterThatWasRestoredInTheOldOnesPlaceIsBelieved() {
        var table = RoutingTable()
        table.adopt(config(7, shards: [100], groups: [100: ["a:1"]]))
        var restored = config(4, shards: [101], groups: [101: ["b:1"]])
        restored.clusterID = [1]
        table.adopt(restored)
        #expect(table.number == 4 && table.group(of: 0) == 101)
        table.adopt(config(8, shards: [100], groups: [100: ["a:1"]]))
        #expect(table.number == 8)
    }

    @Test func requestsSayWhichClusterTheyMean() {
        var table = RoutingTable()
        #expect(table.cluster == 0)
        var map = config(1, shards: [100], groups: [100: ["a:1"]])
        table.adopt(map)
        #expect(table.cluster == 0, "a map without a cluster says nothing")
        map.number = 2
        map.clusterID = [0, 0, 0, 0, 0, 0, 1, 2, 3]
        table.adopt(map)
        #expect(table.cluster == 258)
    }

    @Test func anEmptyTableKnowsNoGroup() {
        var table = RoutingTable()
        #expect(table.isEmpty)
        #expect(table.group(of: 0) == nil)
        #expect(table.node(of: 100) == nil)
    }

    @Test func anOlderConfigDoesNotReplaceANewerOne() {
        var table = RoutingTable()
        table.adopt(config(7, shards: [100, 101], groups: [100: ["a:1"], 101: ["b:1"]]))
        table.adopt(config(6, shards: [101, 101], groups: [101: ["b:1"]]))
        #expect(table.number == 7)
        #expect(table.group(of: 0) == 100)
    }

    @Test func aShardWithoutAGroupIsServedByNobody() {
        var table = RoutingTable()
        table.adopt(config(1, shards: [0, 100], groups: [100: ["a:1"]]))
        #expect(table.group(of: 0) == nil)
        #expect(table.group(of: 1) == 100)
        #expect(table.group(of: 2) == nil)
    }

    @Test func keysOfOneHashTagShareAShard() {
        var table = RoutingTable()
        table.adopt(config(1, shards: Array(repeating: 100, count: 64), groups: [100: ["a:1"]]))
        #expect(table.shard(of: Array("{user1}.name".utf8)) == table.shard(of: Array("{user1}.mail".utf8)))
    }

    @Test func aKnownLeaderIsAskedFirstUntilItDeniesIt() {
        var table = RoutingTable()
        table.adopt(config(1, shards: [100], groups: [100: ["a:1", "b:1", "c:1"]]))
        table.leads("b:1", in: 100)
        #expect((0..<4).allSatisfy { _ in table.node(of: 100) == "b:1" })
        table.doesNotLead("b:1", in: 100, hint: "")
        #expect(Set((0..<3).map { _ in table.node(of: 100) }) == ["a:1", "b:1", "c:1"])
    }

    @Test func aHintIsFollowedButNotToTheNodeThatGaveIt() {
        var table = RoutingTable()
        table.adopt(config(1, shards: [100], groups: [100: ["a:1", "b:1"]]))
        table.doesNotLead("a:1", in: 100, hint: "b:1")
        #expect(table.node(of: 100) == "b:1")
        table.doesNotLead("b:1", in: 100, hint: "b:1")
        #expect(Set((0..<2).map { _ in table.node(of: 100) }) == ["a:1", "b:1"])
    }

    @Test func aLateDenialDoesNotUnseatTheNewLeader() {
        var table = RoutingTable()
        table.adopt(config(1, shards: [100], groups: [100: ["a:1", "b:1"]]))
        table.leads("b:1", in: 100)
        table.doesNotLead("a:1", in: 100, hint: "")
        #expect(table.node(of: 100) == "b:1")
    }
}
