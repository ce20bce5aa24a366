import Keyspace
import RaftLog
import Sharding
import Testing

/// Moves in a world where questions and answers are lost, leaders change at any step and both ends are restarted.
@Suite struct MoveModelTests {
    private func settled(_ world: MoveWorld) throws -> Bool {
        guard world.controller.map.moves.isEmpty else { return false }
        return try world.inOrder.filter { !world.lost.contains($0.gid) }.allSatisfy { group in
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
        try expectOneOwner(seed, aborts: false)
    }

    @Test(arguments: [UInt64](1...40))
    func everyShardEndsWithExactlyOneOwnerWhicheverMovesAreAborted(_ seed: UInt64) throws {
        try expectOneOwner(seed, aborts: true)
    }

    /// Nothing of the target is needed as long as nothing is frozen for it.
    @Test(arguments: [UInt64](1...10)) func aMoveToALostGroupEndsWithoutAnOperatorButForTheWordToAbort(_ seed: UInt64)
        throws
    {
        let world = try filled(seed)
        let group = try #require(world.groups[3])
        // It must have nothing by then, or that would be lost with it.
        for shard in world.controller.map.shardIDs where world.controller.map[shard].gid == 3 {
            try world.change(.move(shard: shard, to: 1))
        }
        #expect(try world.run(for: 60_000) { try settled(world) })
        try world.lose(group)
        for shard in world.controller.map.shardIDs { try world.change(.move(shard: shard, to: 3)) }
        _ = try world.run(for: world.delay(2_000)) { false }
        try world.change(.leave([3]))
        #expect(try world.run(for: 60_000) { try settled(world) }, "\(world.notes.suffix(20))")
        #expect(world.controller.map.groups[3] == nil)
        try expectWhole(world, seed)
    }

    /// At whatever step the target is lost: as long as it hasn't taken the shard over, nothing is lost with it.
    @Test(arguments: [UInt64](1...20)) func aMoveToAGroupThatIsLostAfterTheFreezeEndsByForce(_ seed: UInt64) throws {
        let world = try filled(seed)
        let group = try #require(world.groups[3])
        for shard in world.controller.map.shardIDs where world.controller.map[shard].gid == 3 {
            try world.change(.move(shard: shard, to: 1))
        }
        #expect(try world.run(for: 60_000) { try settled(world) })
        for shard in world.controller.map.shardIDs { try world.change(.move(shard: shard, to: 3)) }
        let (delay, before) = (world.delay(150), world.activations)
        _ = try world.run(for: delay) { false }
        try world.lose(group)
        try world.change(.leave([3]))
        // Those that it had frozen wait, and those that it had taken over.
        _ = try world.run(for: 20_000) { false }
        for shard in world.controller.map.shardIDs where world.controller.map[shard].move != nil {
            try world.change(.abort(shard: shard, isForced: true))
        }
        _ = try world.run(for: 20_000) { try settled(world) }
        #expect(world.controller.map.moves.isEmpty)
        guard world.activations == before else { return }
        #expect(try settled(world) && world.controller.map.groups[3] == nil, "\(world.notes.suffix(20))")
        try expectWhole(world, seed)
    }

    private func expectOneOwner(_ seed: UInt64, aborts: Bool) throws {
        let world = try filled(seed)
        world.isFaulty = true
        for _ in 0..<40 {
            if aborts, world.chance(1, in: 3), let shard = world.controller.map.moves.first?.shard {
                try world.change(.abort(shard: shard, isForced: false))
            }
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
        // Of a run in which some are aborted late, all may have arrived.
        if aborts, seed == 1 { #expect(world.rejections > 0) }
        try expectWhole(world, seed)
        // What was staged and never mapped is forgotten, whoever leads. An answer that was lost is waited for a minute.
        let isSwept = try world.run(for: 120_000) {
            try world.inOrder.allSatisfy { try $0.replicas.allSatisfy { try $0.reader.undecided().isEmpty } }
        }
        #expect(isSwept, "seed \(seed): something is staged that nobody will map")
    }
}
