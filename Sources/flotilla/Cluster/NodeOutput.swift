import Client
import CommandSupport
import Foundation
internal import Keyspace

/// A node that was asked, and what it said; nothing if it didn't answer.
struct AskedNode {
    var gid: GroupID
    var number: Int
    var address: String
    var status: NodeStatus?
    var askedAt = Date()
}

func nodeStatuses(_ addresses: [String], gid: GroupID = .controller, exact: Bool = false) async -> [AskedNode] {
    let client = StatusClient()
    return await withTaskGroup(of: AskedNode.self) { group in
        for (number, address) in addresses.enumerated() {
            group.addTask {
                let status = try? await client.node(address, exact: exact)
                return AskedNode(gid: status?.gid ?? gid, number: number, address: address, status: status)
            }
        }
        var nodes: [AskedNode] = []
        for await node in group { nodes.append(node) }
        return nodes.sorted { ($0.gid, $0.number) < ($1.gid, $1.number) }
    }
}

/// eRaft's names; a node that doesn't take part yet follows.
func roleName(_ role: NodeStatus.Role) -> String {
    role == .unknown ? NodeStatus.Role.follower.rawValue : role.rawValue
}

struct ShardOutput: Encodable {
    var shardId: ShardID
    var groupId: GroupID
    var state: String
    var keys: UInt64
    var bytes: UInt64
    var epoch: UInt64
    var contentHash: String?

    init(_ shard: ShardStatus, of gid: GroupID) {
        shardId = shard.shard
        groupId = gid
        state = shard.state.rawValue
        keys = shard.keys
        bytes = shard.bytes
        epoch = shard.epoch
        contentHash = shard.exact?.userHash
    }
}

struct NodeOutput: Encodable {
    var id: UInt64
    var groupId: GroupID
    var address: String
    var role: String
    var term: UInt64
    var commitIndex: UInt64
    var lastApplied: UInt64
    var storageBytes: UInt64
    var healthy: Bool
    var lastSeen: String?
    var engine: String?
    var version: String?
    var config: UInt64?
    var firstIndex: UInt64?
    var lastIndex: UInt64?
    var snapshotsInstalled: UInt64?
    var snapshotsSent: UInt64?
    var condition: String?
    /// The time by which sessions and holds end, in Unix milliseconds.
    var logTimeMs: UInt64?
    var shards: [ShardOutput]?

    init(_ node: AskedNode) {
        address = node.address
        groupId = node.gid
        guard let status = node.status else {
            id = UInt64(node.number)
            role = "Offline"
            (term, commitIndex, lastApplied, storageBytes) = (0, 0, 0, 0)
            healthy = false
            return
        }
        id = status.id
        role = roleName(status.role)
        term = status.term
        commitIndex = status.commitIndex
        lastApplied = status.lastApplied
        storageBytes = status.storageBytes
        healthy = status.condition.isEmpty && status.leaderID != nil
        lastSeen = node.askedAt.formatted(.iso8601)
        engine = status.engine
        version = status.version
        config = status.config
        firstIndex = status.firstIndex
        lastIndex = status.lastIndex
        snapshotsInstalled = status.snapshotsInstalled
        snapshotsSent = status.snapshotsSent
        condition = status.condition.isEmpty ? Self.clock(status) : status.condition
        logTimeMs = status.logTimeMs == 0 ? nil : status.logTimeMs
        shards = status.shards.map { ShardOutput($0, of: status.gid) }
    }
}

extension NodeOutput {
    /// It takes part, and the machine wants somebody to look at it.
    private static func clock(_ status: NodeStatus) -> String? {
        let seconds = status.clockAhead / 1000
        guard seconds != 0 else { return nil }
        return "its clock has jumped \(seconds > 0 ? "ahead" : "back") by \(seconds.magnitude) s; set it right"
    }
}

func nodesText(_ nodes: [AskedNode]) -> String {
    let rows = nodes.map { node -> [String] in
        let output = NodeOutput(node)
        guard node.status != nil else {
            return ["\(output.id)", output.address, "Offline", "-", "-", "-", "-", "-", "-", ""]
        }
        return [
            "\(output.id)", output.address, output.role, "\(output.term)", "\(output.commitIndex)",
            "\(output.lastApplied)", humanBytes(output.storageBytes), output.engine ?? "",
            "\(output.snapshotsInstalled ?? 0)", output.condition ?? "",
        ]
    }
    return tableText(
        ["ID", "ADDRESS", "ROLE", "TERM", "COMMIT", "APPLIED", "STORAGE", "ENGINE", "SNAPSHOTS", "CONDITION"], rows)
}
