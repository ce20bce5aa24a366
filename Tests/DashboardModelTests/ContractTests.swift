import DashboardModel
import Foundation
import Keyspace
import Testing

/// docs/dashboard.md, field by field: each object has exactly these names, also when everything is unknown.
@Suite struct ContractTests {
    private func expect(
        _ value: Any?, _ names: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let object = try #require(value as? [String: Any], sourceLocation: sourceLocation)
        #expect(
            object.keys.sorted() == names.split(whereSeparator: \.isWhitespace).map(String.init).sorted(),
            sourceLocation: sourceLocation)
    }

    private func first(_ value: Any?) -> Any? { (value as? [Any])?.first }
    private func at(_ value: Any?, _ path: String...) -> Any? {
        path.reduce(value) { ($0 as? [String: Any])?[$1] }
    }

    private let nodeNames = """
        id address role term commitIndex lastApplied storageBytes healthy lastSeen groupId error downSince condition
        engine version firstIndex lastIndex lagEntries voter storageCapacity storageFree reusableBytes shortOfSpace
        httpAddress startedAt leaderChanges proposalsPending snapshotsInstalled snapshotsSent fsync operationsPerSecond
        peers
        """

    @Test func everyObjectHasTheNamesOfTheContract() throws {
        var cluster = ClusterFixture()
        cluster.config.moves = [.init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving)]
        cluster.config.hold = .init(
            holder: "flotilla backup create", until: cluster.now, waiting: [.init(shard: 2, to: 101)])
        cluster.change(100, 0) { $0.peers = [.init(id: 1, address: "host100:1")] }
        cluster.fail(101, 2)
        cluster.observe()
        cluster.change(100, 0) { $0.fsync = latency(5) }
        cluster.change(100, 1) { $0.lastApplied = 30 }
        cluster.config.moves = []
        cluster.observe()
        cluster.config.moves = [.init(shard: 3, from: 101, to: 100, epoch: 2, phase: .moving)]
        cluster.observe()
        cluster.change(100, 0) { $0.fsync = latency(9) }
        cluster.observe()

        let dashboard = try object(cluster.model.dashboard())
        try expect(dashboard, "topology metrics shards moves events status")
        try expect(
            dashboard["status"],
            "sequence version allowActions updateIntervalMs collectedAt clusterId controller missing")
        try expect(at(dashboard, "status", "controller"), "reachable error since")
        try expect(first(at(dashboard, "status", "missing")), "groupId nodeId address error since")
        let topology = dashboard["topology"]
        try expect(topology, "configCluster shardGroups shardMap totalShards updatedAt")
        try expect(at(topology, "configCluster"), "configNum nodes leaderId totalStorage")
        let group = first(at(topology, "shardGroups"))
        try expect(group, "groupId nodes shards totalStorage leaderId keys bytes leaving hasQuorum")
        let node = first(at(group, "nodes"))
        try expect(node, nodeNames)
        try expect(at(node, "fsync"), "perSecond p50Ms p99Ms")
        try expect(first(at(node, "peers")), "id address roundTripMs heardAgoMs")
        try expect(
            dashboard["metrics"],
            """
            totalNodes healthyNodes totalStorage totalKeys totalShards averageLoad updatedAt storageCapacity storageFree
            groups operationsPerSecond operations fsync replicationLag leaderless withoutQuorum underReplicated
            """)
        try expect(
            first(at(dashboard, "metrics", "operations")), "operation perSecond errorsPerSecond p50Ms p99Ms")
        try expect(at(dashboard, "metrics", "fsync"), "perSecond p50Ms p99Ms")
        try expect(at(dashboard, "metrics", "replicationLag"), "entries groupId nodeId")
        try expect(
            first(dashboard["shards"]),
            "shardId groupId state keys bytes epoch readsPerSecond writesPerSecond move")
        let shards = try #require(dashboard["shards"] as? [Any])
        try expect(at(shards[3], "move"), "from to phase")
        try expect(dashboard["moves"], "live history hold waiting")
        let move = "shardId epoch from to phase startedAt endedAt copiedBytes totalBytes"
        try expect(first(at(dashboard, "moves", "live")), move)
        try expect(first(at(dashboard, "moves", "history")), move)
        try expect(at(dashboard, "moves", "hold"), "holder until")
        try expect(first(at(dashboard, "moves", "waiting")), "shardId to")
        try expect(first(dashboard["events"]), "id at kind severity groupId nodeId shardId text")

        let history = try object(cluster.model.history(windowSeconds: 300))
        try expect(history, "intervalMs times series")
        let kinds = ["get", "scan", "put", "append", "delete", "compareAndSet"]
        try expect(
            history["series"],
            (kinds.flatMap { ["operations.\($0)", "p50Ms.\($0)", "p99Ms.\($0)"] }
                + ["fsync.p50Ms", "fsync.p99Ms", "lagEntries", "keys", "storage", "healthyNodes"])
                .joined(separator: " "))
    }

    @Test func whatIsUnknownIsNullAndNotAbsent() throws {
        var cluster = ClusterFixture()
        cluster.configFailure = "no controller answers"
        cluster.fail(0, 1)
        cluster.observe()
        let dashboard = try object(cluster.model.dashboard())
        #expect(at(dashboard, "topology", "configCluster", "configNum") as? Int == 0)
        #expect((at(dashboard, "topology", "shardGroups") as? [Any])?.isEmpty == true)
        #expect(at(dashboard, "status", "clusterId") is NSNull)
        #expect(at(dashboard, "moves", "hold") is NSNull)
        let nodes = try #require(at(dashboard, "topology", "configCluster", "nodes") as? [Any])
        try expect(nodes[1], nodeNames)
        for name in ["lastSeen", "startedAt", "fsync"] { #expect(at(nodes[1], name) is NSNull) }
        #expect(at(nodes[1], "role") as? String == "Unknown")
        #expect(at(nodes[0], "error") is NSNull)
    }

    @Test func beforeTheFirstObservationThereIsAnEmptyDashboard() throws {
        let dashboard = try object(ClusterFixture().model.dashboard())
        #expect(at(dashboard, "status", "sequence") as? Int == 0)
        #expect(at(dashboard, "status", "collectedAt") is NSNull)
        #expect(at(dashboard, "status", "controller", "reachable") as? Bool == false)
        #expect(at(dashboard, "metrics", "leaderless") as? [Int] == [])
    }

    @Test func plansContentsAndActionsHaveTheNamesOfTheContract() throws {
        let plan = try object(try ClusterFixture().config.map.plan(joining: [102: ["new:1"]], leaving: []))
        try expect(plan, "moves before after")
        try expect(first(plan["moves"]), "shardId from to")
        #expect(plan["before"] as? [String: Int] == ["100": 4, "101": 4, "102": 0])

        let content = Answer.Content(
            shardId: 3, groupId: 100, replicas: [ReplicaContent(nodeID: 0, address: "h:1", error: "no answer")],
            memberCount: 3)
        try expect(try object(content), "shardId groupId verdict replicas")
        try expect(first(try object(content)["replicas"]), "nodeId address hash keys appliedIndex error")
        var config = ConfigFixture(
            number: 13, shardCount: 2, groups: [.init(gid: 100, addresses: ["a:1"])], shards: [100, 100],
            epochs: [1, 1],
            moves: [.init(shard: 0, from: 100, to: 101, epoch: 2, phase: .moving)])
        try expect(try object(Answer.MoveAccepted(shard: 0, to: 101, in: config.map)), "config outcome")
        #expect(Answer.MoveAccepted(shard: 0, to: 101, in: config.map).outcome == .begun)
        #expect(Answer.MoveAccepted(shard: 1, to: 100, in: config.map).outcome == .there)
        config.hold = .init(holder: "backup", until: 1, waiting: [.init(shard: 1, to: 101)])
        #expect(Answer.MoveAccepted(shard: 1, to: 101, in: config.map).outcome == .waiting)
        try expect(try object(Answer.Events(events: [])), "events")

        let error = try object(ErrorReport(.notFound, "there is no shard 99; shards are 0 to 63"))
        try expect(error, "error")
        try expect(error["error"], "code message")
        #expect(at(error, "error", "code") as? String == "not-found")
    }

    @Test func errorsHaveTheStatusOfTheContract() {
        let statuses = ErrorReport.Code.allCases.map { "\($0.rawValue) \($0.status)" }
        #expect(
            statuses == [
                "bad-request 400", "forbidden 403", "not-found 404", "method-not-allowed 405", "conflict 409",
                "misdirected 421", "unavailable 503", "too-large 413", "outcome-unknown 504", "internal 500",
            ])
    }

    /// The same state gives the same bytes, in the order of gid, id and shard.
    @Test func theOrderOfTheAnswersDoesNotMatter() throws {
        var one = ClusterFixture()
        var other = ClusterFixture()
        one.observe()
        var observation = other.observation
        observation.at = one.now
        observation.nodes.reverse()
        // The controller's list is the observation's; groups come from the config.
        other.config.groups.reverse()
        observation.config = .answered(other.config.map)
        other.model.observe(observation)
        let topology = one.model.topology()
        #expect(topology.shardGroups.map(\.groupId) == [100, 101])
        #expect(topology.shardGroups[0].nodes.map(\.id) == [0, 1, 2])
        #expect(try encoded(one.model.dashboard()) == encoded(other.model.dashboard()))
    }
}
