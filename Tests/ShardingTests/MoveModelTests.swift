import Keyspace
import RaftLog
import Sharding
import Testing

/// Moves in a world where questions and answers are lost, leaders change at any step and both ends are restarted.
@Suite struct MoveModelTests {
    private func settled(_ world: MoveWorld) throws -> Bool {
        guard world.controller.map.moves.isEmpty else { return false }
        return try world.inOrder.allSatisfy { group in
            try group.replicas.allSatisfy { replica in
                let serving = try replica.reader.records().filter { $0.value.state == .serving }.keys.sorted()
                return serving == world.controller.map.shardIDs.filter { world.controller.map[$0].gid == group.gid }
                    && replica.waitsFor == nil
            }
        }
    }

    private func filled(_ seed: UInt64) throws -> MoveWorld {
        let world = try MoveWorld(seed: seed)
        #expect(try world.run(for: 10_000) { try settled(world) }, "seed \(seed): the shards were not adopted")
        try world.fill(60)
        #expect(try world.run(for: 10_000) { try settled(world) }, "seed \(seed)")
        return world
    }

    private func moveAtRandom(_ world: MoveWorld) throws {
        let shard = ShardID(clamping: world.random.next() % UInt64(MoveWorld.shardCount))
        let gid = GroupID(1 + world.random.next() % UInt64(world.groups.count))
        try world.change(.move(shard: shard, to: gid))
    }

    /// Every shard is where the map says, whole, on every replica, and nowhere else.
    private func expectWhole(_ world: MoveWorld, _ seed: UInt64) throws {
        for shard in world.controller.map.shardIDs {
            guard let group = world.groups[world.controller.map[shard].gid] else { continue }
            let hashes = MoveWorld.hashes(world.contents[shard] ?? [])
            for replica in group.replicas {
                #expect(try replica.reader.hashes(shard) == hashes, "seed \(seed): shard \(shard) of \(group.gid)")
            }
        }
    }

    @Test func whenEverythingAnswersNoMoveStaysInTheMap() throws {
        let world = try filled(1)
        for _ in 0..<6 { try moveAtRandom(world) }
        #expect(try world.run(for: 60_000) { try settled(world) }, "\(world.notes.suffix(20))")
        try expectWhole(world, 1)
        #expect(world.activations > 0)
        #expect(!world.notes.contains { $0.contains("waits") }, "\(world.notes)")
    }

    @Test(arguments: [UInt64](1...40))
    func everyShardEndsWithExactlyOneOwnerWhateverFails(_ seed: UInt64) throws {
        let world = try filled(seed)
        world.isFaulty = true
        for _ in 0..<40 {
            if world.chance(1, in: 3) { try moveAtRandom(world) }
            let group = world.inOrder[Int(world.random.next() % UInt64(world.groups.count))]
            switch world.random.next() % 4 {
            case 0: if group.leader != nil { world.depose(group) }
            case 1:
                let replica = group.replicas[Int(world.random.next() % UInt64(group.replicas.count))]
                try world.restart(replica, group)
            default: break
            }
            _ = try world.run(for: world.delay(3_000)) { false }
        }
        world.isFaulty = false
        // Answers that were lost for good are waited for as long as their questions are given.
        #expect(try world.run(for: 3_600_000) { try settled(world) }, "seed \(seed): \(world.notes.suffix(20))")
        try expectWhole(world, seed)
        // What was staged and never mapped is forgotten.
        let isSwept = try world.run(for: 20_000) {
            try world.inOrder.allSatisfy { try $0.replicas.allSatisfy { try $0.reader.stagedShards().isEmpty } }
        }
        #expect(isSwept, "seed \(seed): something is staged that nobody will map")
    }
}
