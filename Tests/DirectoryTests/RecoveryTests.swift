import Engines
import Foundation
import Inspect
import Keyspace
import RaftHost
import RaftLog
import Sharding
import Testing

/// `group recover` on real directories: what it says, what it does, and what it refuses.
@Suite(.serialized) struct RecoveryTests {
    private static let newLife = Incarnation(high: 0x77, low: 0x7)
    private static let clusterID = [UInt8](repeating: 0xc1, count: 16)

    /// Node 1 of three of group 100, which serves shards 0 to 3 of 4.
    private func makeNode(
        _ root: String, _ kind: EngineKind, members: Membership = DirectoryTests.members(3, gid: 100)
    ) throws -> StoppedNode<GroupMachine> {
        let node = try StoppedNode(
            "\(root)/node", kind, role: "group", gid: 100, id: 1,
            record: BootstrapRecord(clusterID: Self.clusterID, gid: 100, membership: members),
            clusterID: Self.clusterID,
            machine: GroupMachine())
        node.now = Milliseconds(Date().timeIntervalSince1970 * 1000)
        try node.run([(.opening, [])])
        for shard in (0..<4).map({ ShardID(clamping: $0) }) {
            try node.run(GroupCommand.adopt(ShardEpoch(shard: shard, epoch: 1), shardCount: 4).encoded)
        }
        return node
    }

    private func put(_ key: String) -> [UInt8] {
        GroupCommand.write(key: bytes(key), .put(value: bytes("value of \(key)")), nil).encoded
    }

    private func start(
        _ path: String, _ transport: InProcessTransport<GroupMachine>
    ) throws -> RunningReplica<GroupMachine> {
        try RunningReplica(
            path, unwrapped(try NodeDirectory.identity(at: path)), machine: GroupMachine(), transport: transport)
    }

    private func values(
        _ replica: RunningReplica<GroupMachine>, _ keys: [String], shards: Int = 4
    ) async throws -> [String?] {
        try await replica.read { layout, view in
            try keys.map { key in
                try GroupReader(layout, in: view).get(bytes(key), shardCount: shards).get()
                    .map { String(decoding: $0, as: UTF8.self) }
            }
        }
    }

    @Test(arguments: EngineKind.durable)
    func theSurvivorServesEverythingItHasAndTakesANewMember(kind: EngineKind) async throws {
        try await withTemporaryDirectory { root in
            let node = try makeNode(root, kind)
            let keys = (0..<40).map { "key\($0)" }
            for key in keys[..<30] { try node.run(put(key)) }
            try node.vote(HardState(term: 5, vote: ReplicaID(2)))
            node.term = 4
            let added = Member(
                id: ReplicaID(3), address: "127.0.0.1:9", incarnation: Incarnation(high: 3, low: 3), standing: .voter)
            try node.append(
                keys[30...].map { (.command, put($0)) } + [
                    (
                        .membership,
                        MembershipChange.add(added.id, address: added.address, incarnation: added.incarnation).encoded
                    ),
                    (.membership, MembershipChange.promote(added.id, incarnation: added.incarnation).encoded),
                ])
            try node.close()
            let before = try unwrapped(try NodeDirectory.identity(at: "\(root)/node"))
            do {
                let recovery = try ForcedRecovery("\(root)/node")
                #expect(recovery.refusal == nil && recovery.group.unapplied.count == 12)
                #expect(recovery.group.lost.map(\.id) == [ReplicaID(0), ReplicaID(2), ReplicaID(3)])
                #expect(recovery.shards == ["serving 0, 1, 2, 3"] && recovery.missing.isEmpty)
                #expect(try NodeDirectory.identity(at: "\(root)/node") == before, "looking changes nothing")
                _ = try recovery.force(life: Self.newLife, time: 1)
            }
            let after = try unwrapped(try NodeDirectory.identity(at: "\(root)/node"))
            #expect(after.incarnation == Self.newLife.description && after.clusterId == before.clusterId)

            let transport = InProcessTransport<GroupMachine>(staging: "\(root)/staging")
            let survivor = try start("\(root)/node", transport)
            defer { survivor.stop() }
            #expect(try await transport.leader() == ReplicaID(1))
            #expect(try await values(survivor, keys) == keys.map { "value of \($0)" })
            let index = survivor.host.status.membership.index
            #expect(survivor.host.status.membership.voters == [ReplicaID(1)] && index > 46)

            // A new node in the place of a lost one, as `group member add` brings it.
            let identity = try makeNewcomer("\(root)/new", unwrapped(survivor.record))
            try await join(identity, "\(root)/new", transport, survivor, keys)
        }
    }

    /// A new directory that has found the group and waits to be made a member.
    private func makeNewcomer(_ path: String, _ record: BootstrapRecord) throws -> DirectoryIdentity {
        let directory = try NodeDirectory.open(
            path, engine: .rocksdb, role: "group", groupId: 100, nodeId: 2,
            incarnation: Incarnation(high: 22, low: 22).description)
        let engine = try directory.openEngine()
        var batch = WriteBatch()
        record.writeAlone(to: try FamilyTable(engine: engine).layout(of: 100), in: &batch)
        try engine.write(batch, durability: .synced)
        try engine.close()
        return directory.identity
    }

    private func join(
        _ identity: DirectoryIdentity, _ path: String, _ transport: InProcessTransport<GroupMachine>,
        _ survivor: RunningReplica<GroupMachine>, _ keys: [String]
    ) async throws {
        let replica = try start(path, transport)
        defer { replica.stop() }
        let change = MembershipChange.add(
            ReplicaID(2), address: "127.0.0.1:11002", incarnation: Incarnation(high: 22, low: 22))
        _ = try await survivor.host.change(change).get()
        let host = survivor.host
        _ = try await transport.wait { host.status.membership.voters == [ReplicaID(1), ReplicaID(2)] ? true : nil }
        // Both must agree now: the write is on both.
        #expect(try await survivor.propose(put("after")) == .key(.put))
        // The reply may come before the leader's status shows the entry, so the row itself is waited for.
        let other = replica.host
        _ = try await transport.wait { () -> Bool? in
            guard let view = try? replica.engine.snapshot() else { return nil }
            defer { view.close() }
            let found = try? GroupReader(other.layout, in: view).get(bytes("after"), shardCount: 4).get()
            return found != nil ? true : nil
        }
        let view = try replica.engine.snapshot()
        defer { view.close() }
        for key in keys + ["after"] {
            let value = try GroupReader(other.layout, in: view).get(bytes(key), shardCount: 4).get()
            #expect(value == bytes("value of \(key)"))
        }
    }

    // MARK: - Moves

    private let moving = ShardEpoch(shard: 5, epoch: 3)

    /// A node of a target group whose log activates shard 5, staged by everybody who was a member.
    private func makeTarget(_ root: String, _ kind: EngineKind, isStaged: Bool) throws {
        let node = try StoppedNode(
            "\(root)/node", kind, role: "group", gid: 100, id: 1,
            record: BootstrapRecord(clusterID: Self.clusterID, gid: 100, membership: members(3, gid: 100)),
            clusterID: Self.clusterID, machine: GroupMachine())
        try node.run([(.opening, [])])
        try node.run(GroupCommand.adopt(ShardEpoch(shard: 0, epoch: 1), shardCount: 8).encoded)
        let key = try unwrapped((0..<1000).map { "k\($0)" }.first { Slot.shard(of: bytes($0), shardCount: 8) == 5 })
        let row = (key: ShardRows.userKey(bytes(key)), value: ShardRows.record(bytes("moved")))
        var hashes = ShardHashes()
        row.key.withUnsafeBytes { key in row.value.withUnsafeBytes { hashes.user.add(key: key, value: $0) } }
        if isStaged {
            try node.stage(
                StagedShard.name(moving), rows: [row], note: StagedShard(hashes: hashes, sessions: 0).encoded)
        }
        let activation = Activation(
            hashes: hashes, logTime: 1, shardCount: 8, stagedBy: members(3, gid: 100).members.map(\.incarnation))
        let change = MembershipChange.add(
            ReplicaID(4), address: "127.0.0.1:4", incarnation: Incarnation(high: 4, low: 4))
        try node.append([
            (.command, GroupCommand.activate(moving, activation).encoded), (.membership, change.encoded),
            (.command, GroupCommand.freeze(ShardEpoch(shard: 0, epoch: 2), to: 101).encoded),
        ])
        try node.close()
    }

    @Test(arguments: EngineKind.durable) func aShardThatTheLogActivatesAndThatIsStagedIsServed(kind: EngineKind) throws
    {
        try withTemporaryDirectory { root in
            try makeTarget(root, kind, isStaged: true)
            do {
                let recovery = try ForcedRecovery("\(root)/node")
                #expect(recovery.missing.isEmpty && recovery.shards == ["serving 0", "5 staged under epoch 3"])
                #expect(try recovery.force(life: Self.newLife, time: 1).missing.isEmpty)
            }
            let after = try ForcedRecovery("\(root)/node")
            #expect(after.shards == ["serving 5", "0 frozen for group 101 under epoch 2"])
            #expect(after.group.rows.membership.members.map(\.id) == [ReplicaID(1)])
            #expect(after.refusal?.contains("the only voter of its group already") == true)
            #expect(after.notes.count == 1)
        }
    }

    @Test(arguments: EngineKind.durable) func aShardThatIsNotHereIsSaidAndNotServed(kind: EngineKind) throws {
        try withTemporaryDirectory { root in
            try makeTarget(root, kind, isStaged: false)
            do {
                let recovery = try ForcedRecovery("\(root)/node")
                #expect(recovery.missing == ["shard/5/3"])
                #expect(try recovery.force(life: Self.newLife, time: 1).missing == ["shard/5/3"])
            }
            let after = try ForcedRecovery("\(root)/node")
            // The source may send it again: nothing was decided.
            #expect(after.shards == ["serving none", "0 frozen for group 101 under epoch 2"])
            #expect(after.group.unapplied.isEmpty && after.group.rows.membership.members.map(\.id) == [ReplicaID(1)])
        }
    }

    // MARK: - Controllers, crashes, refusals

    @Test func aControllerNodeGoesOnAlone() async throws {
        try await withTemporaryDirectory { root in
            let cluster = try SmallCluster(root, .sqlite)
            let old = cluster.controller.storage.machine.map
            try cluster.close()
            do { _ = try ForcedRecovery("\(root)/controller").force(life: Self.newLife, time: 1) }
            let path = "\(root)/controller"
            let transport = InProcessTransport<ControllerMachine>(staging: "\(root)/staging")
            let replica = try RunningReplica(
                path, unwrapped(try NodeDirectory.identity(at: path)), machine: ControllerMachine(),
                transport: transport)
            defer { replica.stop() }
            #expect(try await transport.leader() == ReplicaID(0))
            let map = try await replica.read { try ControllerMachine.map(number: nil, layout: $0, in: $1) }
            #expect(map == old)
            // The cluster is the same one: groups and clients go on.
            #expect(replica.record?.hash == cluster.clusterID)
        }
    }

    @Test(arguments: EngineKind.durable) func anInterruptedRecoveryIsFinishedByRepeatingIt(kind: EngineKind) throws {
        try withTemporaryDirectory { root in
            try makeNode(root, kind).close()
            let identity = try Data(contentsOf: URL(fileURLWithPath: "\(root)/node/FLOTILLA"))
            let note: RecoveryNote
            do { note = try ForcedRecovery("\(root)/node").force(life: Self.newLife, time: 1) }
            // The crash came before the identity was written.
            try identity.write(to: URL(fileURLWithPath: "\(root)/node/FLOTILLA"))
            do {
                let again = try ForcedRecovery("\(root)/node")
                #expect(again.unfinished == note && again.refusal == nil)
                #expect(try again.force(life: Incarnation(high: 1, low: 1), time: 2) == note)
            }
            let done = try ForcedRecovery("\(root)/node")
            #expect(done.identity.incarnation == Self.newLife.description && done.unfinished == nil)
            #expect(done.notes == [note])
        }
    }

    @Test func whatIsNotTheNodeItselfIsRefused() throws {
        try withTemporaryDirectory { root in
            let node = try makeNode(root, .lmdb)
            func refusal(_ path: String) -> EngineError? {
                #expect(throws: EngineError.self) {
                    let recovery = try ForcedRecovery(path)
                    _ = try recovery.force(life: Self.newLife, time: 1)
                }
            }
            if case .locked? = refusal("\(root)/node") {} else { Issue.record("a running node is recovered") }
            try node.close()
        }
        try withTemporaryDirectory { root in
            try makeNode(root, .lmdb).close()
            _ = try OfflineCopy.checkpoint(from: "\(root)/node", to: "\(root)/copy")
            _ = try OfflineCopy.convert(from: "\(root)/node", to: "\(root)/moved", engine: .sqlite)
            for (path, word) in [
                ("copy", "is a copy"), ("node", "lives in \(root)/moved"), ("none", "not a node directory"),
            ] {
                let error = #expect(throws: EngineError.self) { _ = try ForcedRecovery("\(root)/\(path)") }
                #expect(error?.description.contains(word) == true, "\(String(describing: error))")
            }
            #expect(try ForcedRecovery("\(root)/moved").refusal == nil)
        }
        try withTemporaryDirectory { root in
            var learner = members(3, gid: 100).members
            learner[1].standing = .learner
            let node = try StoppedNode(
                "\(root)/node", .sqlite, role: "group", gid: 100, id: 1,
                record: BootstrapRecord(
                    clusterID: Self.clusterID, gid: 100, membership: Membership(members: learner)),
                clusterID: Self.clusterID, machine: GroupMachine())
            try node.close()
            let recovery = try ForcedRecovery("\(root)/node")
            #expect(recovery.refusal?.contains("has no vote") == true)
            #expect(throws: EngineError.self) { _ = try recovery.force(life: Self.newLife, time: 1) }
        }
    }
}
