import Engines
import Testing

@Suite struct WriteBatchTests {
    @Test func anAppendedBatchKeepsItsOperationsInOrder() {
        var first = WriteBatch()
        first.put(FamilyID(1), key: [1], value: [10])
        var second = WriteBatch()
        second.delete(FamilyID(2), key: [2])
        second.deleteRange(FamilyID(2), from: [3], to: [4])
        second.deleteRange(FamilyID(3), from: [5], to: nil)
        first.append(second)
        var seen: [String] = []
        first.forEach { (operation) throws(Never) in
            switch operation {
            case .put(let family, let key, let value): seen.append("put \(family) \(Array(key)) \(Array(value))")
            case .delete(let family, let key): seen.append("delete \(family) \(Array(key))")
            case .deleteRange(let family, let lower, let upper):
                seen.append("range \(family) \(Array(lower)) \(upper.map { "\(Array($0))" } ?? "end")")
            }
        }
        #expect(
            seen == [
                "put family 1 [1] [10]", "delete family 2 [2]", "range family 2 [3] [4]", "range family 3 [5] end",
            ])
        #expect(first.families == [FamilyID(1), FamilyID(2), FamilyID(3)])
        first.removeAll()
        #expect(first.isEmpty && first.byteCount == 0)
    }

    /// LMDB's overlay keeps the bytes of thousands of batches, and counts them by what is in them.
    @Test func bytesThatAreKeptTakeNoMoreRoomThanTwiceWhatTheyHold() {
        var batch = WriteBatch()
        batch.put(FamilyID(1), key: [1], value: [UInt8](repeating: 1, count: 1 << 20))
        let large = batch.keepableBytes
        #expect(large.count == (1 << 20) + 1)
        batch.removeAll()
        batch.put(FamilyID(1), key: [2], value: [3, 4])
        let small = batch.keepableBytes
        #expect(small == [2, 3, 4])
        #expect(small.capacity <= 128, "the room of the larger filling is kept")
    }
}
