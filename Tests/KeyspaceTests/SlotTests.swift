import Keyspace
import Testing

@Suite struct SlotTests {
    @Test func crc16IsXmodem() {
        #expect(Slot.crc16(Array("123456789".utf8)) == 0x31C3)
    }

    /// The examples of the Redis Cluster specification.
    @Test func aHashTagDecidesTheSlot() {
        func slot(_ key: String) -> Int { Slot.of(Array(key.utf8)) }
        #expect(slot("{user1000}.following") == slot("{user1000}.followers"))
        #expect(slot("{user1000}.following") == slot("user1000"))
        #expect(Slot.hashedPart(Array("foo{}{bar}".utf8)) == Array("foo{}{bar}".utf8)[...])
        #expect(Array(Slot.hashedPart(Array("foo{{bar}}zap".utf8))) == Array("{bar".utf8))
        #expect(Array(Slot.hashedPart(Array("foo{bar}{zap}".utf8))) == Array("bar".utf8))
        #expect(slot("foo") == 12182)
    }

    @Test(arguments: [1, 2, 10, 64, 1000, 1024]) func shardsAreContiguousRunsThatCoverAllSlots(shardCount: Int) {
        var previous = 0
        var seen: Set<Int> = []
        for slot in 0..<Limits.slotCount {
            let shard = slot * shardCount / Limits.slotCount
            #expect(shard >= previous && shard < shardCount)
            previous = shard
            seen.insert(shard)
        }
        #expect(seen.count == shardCount)
    }

    @Test func limitsNameTheKeyAndTheRemedy() {
        #expect(throws: KeyspaceError.emptyKey) { try Limits.check(key: []) }
        #expect(throws: KeyspaceError.keyTooLarge(bytes: 481)) {
            try Limits.check(key: [UInt8](repeating: 1, count: 481))
        }
        #expect(throws: Never.self) { try Limits.check(key: [UInt8](repeating: 1, count: 480)) }
    }
}
