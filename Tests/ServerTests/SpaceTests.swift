import Engines
import Foundation
import Keyspace
import RaftLog
import Server
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

    private func member(_ id: UInt64, _ standing: Member.Standing = .voter) -> Member {
        Member(
            id: ReplicaID(id), address: "n\(id)", incarnation: Incarnation(high: id, low: id), standing: standing)
    }

    private func candidates(_ membership: Membership, live: [UInt64], matches: [UInt64: LogIndex]) -> [UInt64] {
        let pairs = matches.map { (ReplicaID($0.key), $0.value) }
        return RoomSuccessor.candidates(
            for: ReplicaID(1), in: membership, live: Set(live.map { ReplicaID($0) }),
            matches: Dictionary(uniqueKeysWithValues: pairs)
        ).map(\.id.rawValue)
    }

    @Test func aLeaderShortOfRoomGivesWayToWhoeverHasRoomAndMostOfTheLog() async {
        // Replica 1 leads; 5 is down, 6 a learner.
        let membership = Membership(members: (1...5).map { member($0) } + [member(6, .learner)])
        let found = candidates(membership, live: [1, 2, 3, 4, 6], matches: [1: 9, 2: 7, 3: 8, 4: 8, 5: 9, 6: 9])
        #expect(found == [3, 4, 2])
        var asked: [UInt64] = []
        let successor = await RoomSuccessor.first(among: found.map { member($0) }) { member in
            asked.append(member.id.rawValue)
            return member.id.rawValue != 3
        }
        #expect(successor?.id.rawValue == 4)
        #expect(asked == [3, 4])
    }

    @Test func aLeaderStaysWhenNobodyHasRoom() async {
        let others = [member(2), member(3)]
        #expect(await RoomSuccessor.first(among: others) { _ in false } == nil)
        #expect(candidates(Membership(members: [member(1)]), live: [1], matches: [1: 9]).isEmpty)
    }
}
