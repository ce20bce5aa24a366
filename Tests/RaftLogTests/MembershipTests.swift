import RaftLog
import Testing

@Suite struct MembershipTests {
    private func member(_ id: UInt64, _ standing: Member.Standing = .voter, life: UInt64 = 1) -> Member {
        Member(id: ReplicaID(id), address: "n\(id)", incarnation: Incarnation(high: id, low: life), standing: standing)
    }

    private func membership(_ voters: ClosedRange<UInt64>) -> Membership {
        Membership(members: voters.map { member($0) })
    }

    @Test(arguments: [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
    func aQuorumIsMoreThanHalfOfTheVoters(voters: UInt64, quorum: Int) {
        #expect(membership(1...voters).quorum == quorum)
    }

    @Test func onlyVotersCountForTheQuorum() {
        let group = Membership(members: [member(1), member(2, .joining), member(3, .learner), member(4), member(5)])
        #expect(group.voters == [1, 4, 5].map { ReplicaID($0) })
        #expect(group.quorum == 2)
        #expect(!group.isVoter(ReplicaID(2)) && !group.isVoter(ReplicaID(3)) && !group.isVoter(ReplicaID(9)))
    }

    /// Section 4.1 of the dissertation: why single changes are safe.
    @Test func anyMajoritiesBeforeAndAfterOneChangeOverlap() throws {
        for size: UInt64 in 1...6 {
            let before = membership(1...size)
            let added = try before.applying(
                .add(ReplicaID(9), address: "n9", incarnation: Incarnation(high: 9, low: 1)), at: 2)
            let after = try added.applying(.promote(ReplicaID(9), incarnation: Incarnation(high: 9, low: 1)), at: 3)
            #expect(before.quorum == added.quorum)
            #expect(before.quorum + after.quorum > Int(size) + 1)
            if size > 1 {
                let removed = try before.applying(.remove(ReplicaID(1)), at: 2)
                #expect(before.quorum + removed.quorum > Int(size))
            }
        }
    }

    @Test func aNewMemberJoinsWithoutAVote() throws {
        let next = try membership(1...3).applying(
            .add(ReplicaID(4), address: "n4", incarnation: Incarnation(high: 4, low: 1)), at: 17)
        #expect(next[ReplicaID(4)]?.standing == .joining)
        #expect(next.voters.count == 3)
        #expect(next.index == 17)
    }

    @Test func aReplacedMemberLosesItsVote() throws {
        let next = try membership(1...3).applying(
            .replace(ReplicaID(3), address: "n3", incarnation: Incarnation(high: 3, low: 2)), at: 5)
        #expect(next[ReplicaID(3)] == member(3, .joining, life: 2))
        #expect(next.quorum == 2)
    }

    @Test func aMemberMayMoveToAnotherAddressAndKeepItsVote() throws {
        let next = try membership(1...3).applying(
            .replace(ReplicaID(3), address: "elsewhere", incarnation: Incarnation(high: 3, low: 1)), at: 5)
        #expect(next[ReplicaID(3)]?.standing == .voter)
        #expect(next[ReplicaID(3)]?.address == "elsewhere")
    }

    @Test func aPromotionIsForOneIncarnationOnly() throws {
        let group = Membership(members: [member(1), member(2, .joining, life: 2)])
        #expect(throws: Membership.ChangeError.notMember(ReplicaID(2))) {
            _ = try group.applying(.promote(ReplicaID(2), incarnation: Incarnation(high: 2, low: 1)), at: 9)
        }
        let next = try group.applying(.promote(ReplicaID(2), incarnation: Incarnation(high: 2, low: 2)), at: 9)
        #expect(next.isVoter(ReplicaID(2)))
    }

    @Test func nonsenseIsRefused() {
        let group = membership(1...3)
        let incarnation = Incarnation(high: 9, low: 9)
        #expect(throws: Membership.ChangeError.alreadyMember(ReplicaID(2))) {
            _ = try group.applying(.add(ReplicaID(2), address: "new", incarnation: incarnation), at: 1)
        }
        #expect(throws: Membership.ChangeError.addressInUse("n2", by: ReplicaID(2))) {
            _ = try group.applying(.add(ReplicaID(4), address: "n2", incarnation: incarnation), at: 1)
        }
        #expect(throws: Membership.ChangeError.addressInUse("n1", by: ReplicaID(1))) {
            _ = try group.applying(.replace(ReplicaID(2), address: "n1", incarnation: incarnation), at: 1)
        }
        #expect(throws: Membership.ChangeError.notMember(ReplicaID(4))) {
            _ = try group.applying(.remove(ReplicaID(4)), at: 1)
        }
    }

    @Test func theLastVoterStays() {
        let group = Membership(members: [member(1), member(2, .joining)])
        let error = Membership.ChangeError.lastVoter(ReplicaID(1))
        #expect(throws: error) { _ = try group.applying(.remove(ReplicaID(1)), at: 1) }
        #expect(throws: error) {
            _ = try group.applying(
                .replace(ReplicaID(1), address: "n1", incarnation: Incarnation(high: 1, low: 2)), at: 1)
        }
        #expect(throws: Never.self) { _ = try group.applying(.remove(ReplicaID(2)), at: 1) }
    }
}
