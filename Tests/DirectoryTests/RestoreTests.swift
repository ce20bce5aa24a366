import Engines
import Foundation
import Inspect
import Keyspace
import RaftHost
import RaftLog
import Sharding
import Testing

/// A backup becomes a new cluster, on any engines, with any number of nodes.
@Suite(.serialized) struct RestoreTests {
    private static let target = RestoreTarget(
        controllers: ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"],
        groups: [100: ["127.0.0.1:1101", "127.0.0.1:1102", "127.0.0.1:1103"], 101: ["127.0.0.1:1201"]],
        engines: [.lmdb, .sqlite, .rocksdb])

    private func restore(
        _ archive: String, to out: String, _ target: RestoreTarget = target, seed: UInt64 = 1
    ) throws -> RestorePlan {
        let backup = try Backup(Archive(archive))
        var random = SplitMix64(seed: seed)
        let plan = try RestorePlan(backup, target, random: &random)
        _ = try Restore.run(backup, plan, to: out)
        return plan
    }

    @Test func aRestoredGroupElectsServesAndRemembersItsSessions() async throws {
        try await withTemporaryDirectory { root in
            let now = Milliseconds(Date().timeIntervalSince1970 * 1000)
            let cluster = try SmallCluster(root, now: now)
            try cluster.backup(to: "\(root)/backup")
            let before = try unwrapped(cluster.groups[100]).storage.applied
            try cluster.close()
            let plan = try restore("\(root)/backup", to: "\(root)/new")
            let nodes = plan.nodes.filter { $0.gid == 100 }
            #expect(nodes.map(\.engine) == [.lmdb, .sqlite, .rocksdb])
            let transport = InProcessTransport<GroupMachine>(staging: "\(root)/staging")
            var replicas: [ReplicaID: RunningReplica<GroupMachine>] = [:]
            defer { for replica in replicas.values { replica.stop() } }
            for node in nodes {
                let path = "\(root)/new/\(node.name)"
                let identity = try unwrapped(try NodeDirectory.identity(at: path))
                #expect(
                    identity.hasJoined == true && identity.clusterId == Incarnation(bytes: plan.clusterID)?.description)
                #expect(identity.incarnation == node.incarnation.description)
                replicas[ReplicaID(node.id)] = try RunningReplica(
                    path, identity, machine: GroupMachine(), transport: transport)
            }
            let leader = try unwrapped(replicas[try await transport.leader()])
            #expect(leader.record?.clusterID == plan.clusterID)
            #expect(leader.host.status.term > before.position.term)
            let keys = try SmallCluster.keys.filter { try cluster.owner($0).layout.gid == 100 }
            #expect(keys.count > 10)
            let found = try await leader.read { layout, view in
                let reader = GroupReader(layout, in: view)
                return try keys.map { key in
                    try reader.get(bytes(key), shardCount: SmallCluster.shardCount).get().map {
                        String(decoding: $0, as: UTF8.self)
                    }
                }
            }
            #expect(found == keys.map { "value of \($0)" })
            // The session's first write was answered before the backup: it doesn't execute again.
            let retry = GroupCommand.write(
                key: bytes(keys[0]), .append(value: bytes("!")), SmallCluster.stamp(keys[0], now: now))
            #expect(try await leader.propose(retry.encoded) == .key(.put))
            let time = try await leader.read { try GroupReader($0, in: $1).logTime() }
            #expect(time >= before.logTime)
        }
    }

    @Test func theRestoredControllerKnowsTheNewClusterAndTheOldHistory() async throws {
        try await withTemporaryDirectory { root in
            let cluster = try SmallCluster(root, .sqlite)
            try cluster.backup(to: "\(root)/backup")
            let old = try unwrapped(cluster.controller.storage.machine.map)
            let positions = cluster.groups.mapValues { $0.storage.applied.position.index }
            try cluster.close()
            let plan = try restore("\(root)/backup", to: "\(root)/new")
            let transport = InProcessTransport<ControllerMachine>(staging: "\(root)/staging")
            var replicas: [ReplicaID: RunningReplica<ControllerMachine>] = [:]
            defer { for replica in replicas.values { replica.stop() } }
            for node in plan.nodes where node.gid == 0 {
                let path = "\(root)/new/\(node.name)"
                replicas[ReplicaID(node.id)] = try RunningReplica(
                    path, unwrapped(try NodeDirectory.identity(at: path)), machine: ControllerMachine(),
                    transport: transport)
            }
            let leader = try unwrapped(replicas[try await transport.leader()])
            #expect(leader.record?.hash == plan.clusterID && plan.clusterID != cluster.clusterID)
            let maps = try await leader.read { layout, view in
                try [nil, 0, old.number, old.number + 1].map {
                    try ControllerMachine.map(number: $0, layout: layout, in: view)
                }
            }
            #expect(maps[1]?.number == 0 && maps[2] == old && maps[3] == maps[0])
            let map = try unwrapped(maps[0])
            #expect(map == plan.map && map.number == old.number + 1 && map.clusterID == plan.clusterID)
            #expect(map.shards == old.shards)
            #expect(map.groups[101]?.addresses == ["127.0.0.1:1201"])
            #expect(map.groups.mapValues(\.membershipIndex) == positions)
            // A group whose members have changed since is believed.
            let moved = ControllerCommand.relocate(
                101, ["127.0.0.1:1299"], membershipIndex: (positions[101] ?? 0) + 1)
            guard case .map(let next) = try await leader.propose(moved.encoded(requestID: [])) else {
                Issue.record("the controller refuses a new address")
                return
            }
            #expect(next.groups[101]?.addresses == ["127.0.0.1:1299"] && next.number == map.number + 1)
        }
    }

    @Test func whatDoesNotFitTheBackupIsRefused() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root, .lmdb)
            defer { try? cluster.close() }
            try cluster.backup(to: "\(root)/backup")
            func refusal(_ change: (inout RestoreTarget) -> Void) -> String {
                var target = Self.target
                change(&target)
                let error = #expect(throws: EngineError.self) {
                    _ = try restore("\(root)/backup", to: "\(root)/new", target)
                }
                #expect(!FileManager.default.fileExists(atPath: "\(root)/new"))
                return error?.description ?? ""
            }
            #expect(refusal { $0.groups[101] = nil }.contains("group 101 of the backup has no address"))
            #expect(refusal { $0.groups[102] = ["a:1"] }.contains("no group 102 in the backup"))
            #expect(
                refusal { $0.groups[101] = ["localhost:1001"] }.contains(
                    "named twice, for the controller and for group 101"))
            #expect(refusal { $0.groups[101] = ["nowhere"] }.contains("not an address"))
            #expect(refusal { $0.controllers = [] }.contains("--controllers"))
            #expect(refusal { $0.engines = [.memory] }.contains("--engine"))
        }
    }

    @Test func whatIsNoBackupIsRefused() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root, .sqlite)
            defer { try? cluster.close() }
            func refusal(_ name: String) -> String {
                let error = #expect(throws: EngineError.self) {
                    _ = try restore("\(root)/\(name)", to: "\(root)/new")
                }
                #expect(!FileManager.default.fileExists(atPath: "\(root)/new"))
                return error?.description ?? ""
            }
            try cluster.backup(to: "\(root)/one", kind: .snapshot, controller: false, groups: [100])
            #expect(refusal("one").contains("is a snapshot of group 100") && refusal("one").contains("backup create"))
            try cluster.backup(to: "\(root)/fewer", groups: [100])
            #expect(refusal("fewer").contains("lacks group 101"))
            try cluster.backup(to: "\(root)/headless", controller: false)
            #expect(refusal("headless").contains("holds 0 controllers"))
            try cluster.backup(to: "\(root)/unsealed")
            try FileManager.default.removeItem(atPath: "\(root)/unsealed/SEAL")
            #expect(refusal("unsealed").contains("never finished"))
            // A group that joined after the others were saved.
            let group = try unwrapped(cluster.groups[101])
            let other = try StoppedNode(
                "\(root)/group-102", .sqlite, role: "group", gid: 102, id: 0,
                record: BootstrapRecord(clusterID: cluster.clusterID, gid: 102, membership: members(1, gid: 102)),
                clusterID: cluster.clusterID, machine: GroupMachine())
            defer { try? other.close() }
            var more = cluster
            more.groups[102] = other
            try more.backup(to: "\(root)/more", groups: [100, 101, 102])
            #expect(refusal("more").contains("holds group 102, which its shard map doesn't list"))
            // A shard was on its way.
            let shard = try unwrapped(group.storage.machine.shards.keys.min())
            try group.run(GroupCommand.freeze(ShardEpoch(shard: shard, epoch: 2), to: 100).encoded)
            try cluster.backup(to: "\(root)/frozen")
            #expect(refusal("frozen").contains("shard \(shard) is frozen in group 101"))
            try cluster.controller.run(ControllerCommand.move(shard: shard, to: 100).encoded(requestID: [9]))
            try cluster.backup(to: "\(root)/moving")
            #expect(refusal("moving").contains("shard \(shard) was on the move"))
        }
    }

    @Test func groupsOfAnotherClusterAreRefused() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root, .sqlite)
            defer { try? cluster.close() }
            let writer = try ArchiveWriter(
                "\(root)/backup",
                ArchiveManifest(
                    kind: .backup, clusterId: String(repeating: "0", count: 32), createdAtMs: 1, madeBy: "test"))
            try cluster.controller.save(to: writer)
            for gid in SmallCluster.gids { try cluster.groups[gid]?.save(to: writer) }
            try writer.seal()
            let error = #expect(throws: EngineError.self) { try restore("\(root)/backup", to: "\(root)/new") }
            #expect(error?.description.contains("groups of different clusters don't make one") == true)
        }
    }

    @Test func damageAnywhereLeavesNothingBehind() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root)
            try cluster.backup(to: "\(root)/backup")
            try cluster.close()
            let files = try FileManager.default.subpathsOfDirectory(atPath: "\(root)/backup")
                .filter { $0.hasSuffix("chunk") || $0.hasSuffix("header") }
            #expect(files.count >= 5)
            for file in [files.first, files.last, files.first { $0.hasPrefix("group-101") }] {
                let path = "\(root)/backup/\(try unwrapped(file))"
                let whole = try Data(contentsOf: URL(fileURLWithPath: path))
                var damaged = whole
                damaged[damaged.count / 2] ^= 0x10
                try damaged.write(to: URL(fileURLWithPath: path))
                try FileManager.default.createDirectory(atPath: "\(root)/new", withIntermediateDirectories: true)
                let error = #expect(throws: EngineError.self) { _ = try restore("\(root)/backup", to: "\(root)/new") }
                if case .corruption? = error {} else { Issue.record("\(String(describing: error))") }
                #expect(try FileManager.default.contentsOfDirectory(atPath: "\(root)/new").isEmpty)
                try whole.write(to: URL(fileURLWithPath: path))
            }
            _ = try restore("\(root)/backup", to: "\(root)/new")
            let error = #expect(throws: EngineError.self) { _ = try restore("\(root)/backup", to: "\(root)/new") }
            #expect(error?.description.contains("is not empty (it holds controller-0)") == true)
        }
    }

    @Test func aRestoredClusterCanBeBackedUpAndRestoredAgain() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root)
            try cluster.backup(to: "\(root)/backup")
            try cluster.close()
            let first = try restore("\(root)/backup", to: "\(root)/first")
            try DirectoryTests.backup(
                of: ["controller-2", "group-100-1", "group-101-0"].map { "\(root)/first/\($0)" },
                clusterID: first.clusterID, to: "\(root)/again")
            let second = try restore("\(root)/again", to: "\(root)/second", seed: 2)
            #expect(first.clusterID != second.clusterID && second.map.number == first.map.number + 1)
            #expect(Set(first.nodes.map(\.incarnation)).isDisjoint(with: second.nodes.map(\.incarnation)))
        }
    }

    @Test func theCommandsNameEveryNode() throws {
        try withTemporaryDirectory { root in
            let cluster = try SmallCluster(root)
            try cluster.backup(to: "\(root)/backup")
            try cluster.close()
            var random = SplitMix64(seed: 1)
            let plan = try RestorePlan(Backup(Archive("\(root)/backup")), Self.target, random: &random)
            let commands = plan.nodes.map { plan.command($0, in: "new data") }
            #expect(
                commands.first
                    == "flotilla controller serve --id 0 --cluster 127.0.0.1:1001,127.0.0.1:1002,127.0.0.1:1003 "
                    + "--db 'new data/controller-0' --engine lmdb")
            #expect(
                commands.last == "flotilla group serve --gid 101 --id 0 --cluster 127.0.0.1:1201 "
                    + "--controllers 127.0.0.1:1001,127.0.0.1:1002,127.0.0.1:1003 --db 'new data/group-101-0' --engine lmdb"
            )
            #expect(commands.count == 7 && plan.notes.isEmpty)
        }
    }
}
