import Engines
import Foundation
import Keyspace
import Sharding
import Testing

@Suite struct SpaceTests {
    /// What makes room must get through when there is none.
    @Test func deletesAreNotRefusedForWantOfRoom() {
        #expect(!GroupCommand.write(key: [1], .delete, nil).addsData)
        #expect(!GroupCommand.write(key: [1], .compareAndSet(expected: [1], value: nil), nil).addsData)
        #expect(!GroupCommand.passTime.addsData)
        #expect(GroupCommand.write(key: [1], .put(value: []), nil).addsData)
        #expect(GroupCommand.write(key: [1], .append(value: [1]), nil).addsData)
        #expect(GroupCommand.write(key: [1], .compareAndSet(expected: nil, value: []), nil).addsData)
    }
}
