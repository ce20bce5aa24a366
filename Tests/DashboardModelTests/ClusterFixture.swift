import DashboardModel
import Foundation
import Keyspace
import Telemetry
import Testing

/// A cluster that answers as it is told to: a controller of three nodes, and groups 100 and 101 of three.
struct ClusterFixture {
    var model = ClusterModel(
        settings: DashboardSettings(version: "0.1.0", allowActions: false, updateIntervalMs: 5000))
    /// Unix milliseconds.
    var now: UInt64 = 1_764_351_600_000
    var config: ConfigFixture
    var configFailure: String?
    /// By gid and place.
    var reports: [GroupID: [NodeStatus]] = [:]
    /// By address: why there is no answer.
    var failures: [String: String] = [:]

    init(shards: Int = 8, groups: [GroupID] = [100, 101], nodes: Int = 3) {
        config = ConfigFixture(
            number: 12, shardCount: shards,
            groups: groups.map { gid in
                .init(gid: gid, addresses: (0..<nodes).map { Self.address(gid, UInt64($0)) })
            },
            shards: (0..<shards).map { groups.isEmpty ? 0 : groups[$0 % groups.count] },
            epochs: Array(repeating: 1, count: shards), clusterID: [0xc1])
        for gid in [0] + groups { addGroup(gid, nodes: nodes) }
        // Node reports of all groups list their shards.
        for gid in groups {
            for place in 0..<nodes {
                reports[gid]?[place].shards = config.shards.indices.filter { config.shards[$0] == gid }.map {
                    ShardStatus(shard: ShardID(clamping: $0), state: .serving, epoch: 1, keys: 3, bytes: 50)
                }
            }
        }
    }

    static func address(_ gid: GroupID, _ id: UInt64) -> String { "host\(gid):\(id)" }

    static func report(_ gid: GroupID, _ id: UInt64, of nodes: Int = 3) -> NodeStatus {
        NodeStatus(
            gid: gid, id: id, address: address(gid, id), role: id == 0 ? .leader : .follower, term: 3,
            commitIndex: 40, lastApplied: 40, firstIndex: 1, lastIndex: 40, leaderID: 0, storageBytes: 4096,
            storageCapacity: 1_000_000, storageFree: 900_000, filesystem: "fs-\(gid)-\(id)", engine: "rocksdb",
            version: "0.1.0", startedAt: 1_764_000_000_000,
            members: (0..<UInt64(nodes)).map { .init(id: $0, address: address(gid, $0), isVoter: true) })
    }

    mutating func addGroup(_ gid: GroupID, nodes: Int = 3) {
        reports[gid] = (0..<UInt64(nodes)).map { Self.report(gid, $0, of: nodes) }
    }

    /// Changes one node's report.
    mutating func change(_ gid: GroupID, _ place: Int, _ body: (inout NodeStatus) -> Void) {
        guard reports[gid]?.indices.contains(place) == true else { return }
        if var report = reports[gid]?[place] {
            body(&report)
            reports[gid]?[place] = report
        }
    }

    mutating func fail(_ gid: GroupID, _ id: UInt64, _ why: String? = "no node answers") {
        failures[Self.address(gid, id)] = why
    }

    var observation: Observation {
        var nodes: [NodeObservation] = []
        for gid in reports.keys.sorted() {
            for (place, report) in (reports[gid] ?? []).enumerated() {
                let address = Self.address(gid, UInt64(place))
                nodes.append(
                    NodeObservation(
                        gid: gid, id: UInt64(place), address: address,
                        result: failures[address].map { .failed($0) } ?? .answered(report)))
            }
        }
        return Observation(
            at: now, config: configFailure.map { .failed($0) } ?? .answered(config.map), nodes: nodes)
    }

    mutating func observe(after milliseconds: UInt64 = 5000) {
        now += milliseconds
        model.observe(observation)
    }

    /// What has happened since the last look, oldest first, as `kind: text`.
    func events(_ kind: Answer.Event.Kind? = nil) -> [Answer.Event] {
        model.events(limit: 1000).reversed().filter { kind == nil || $0.kind == kind }
    }

    func node(_ gid: GroupID, _ id: UInt64) throws -> Answer.Node {
        let topology = model.topology()
        let nodes =
            gid == 0
            ? topology.configCluster.nodes : try #require(topology.shardGroups.first { $0.groupId == gid }).nodes
        return try #require(nodes.first { $0.id == id })
    }

    func group(_ gid: GroupID) throws -> Answer.ShardGroup {
        try #require(model.topology().shardGroups.first { $0.groupId == gid })
    }
}

/// A histogram of so many requests of so many microseconds each.
func latency(_ count: Int, microseconds: UInt64 = 400) -> DurationHistogram {
    var histogram = DurationHistogram()
    for _ in 0..<count { histogram.record(microseconds * 1000) }
    return histogram
}

func encoded(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(value)
}

/// As a reader of the API sees it.
func object(_ value: some Encodable) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: try encoded(value)) as? [String: Any])
}
