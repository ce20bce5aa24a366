import RaftLog
import Server
import Testing

@Suite struct ChangeConsentTests {
    /// Voters 1, 2, 3 as of entry 40, and a member without a vote.
    private let membership = Membership(
        members: (1...4).map {
            Member(
                id: ReplicaID($0), address: "n\($0)", incarnation: Incarnation(high: $0, low: 1),
                standing: $0 == 4 ? .joining : .voter)
        }, index: 40)

    private func missing(_ blockedAt: [UInt64: LogIndex]) -> [UInt64] {
        let pairs = blockedAt.map { (ReplicaID($0.key), $0.value) }
        return ChangeConsent.missing(in: membership, blockedAt: Dictionary(uniqueKeysWithValues: pairs))
            .map(\.rawValue)
    }

    @Test func aChangeThatNeedsAVoterWhichLacksSomethingIsRefused() {
        // 3 is down.
        #expect(missing([1: 0, 2: 33]) == [2])
        #expect(missing([1: 0, 2: 33, 3: 40]) == [2, 3])
    }

    @Test func aVoterThatLacksSomethingAndIsNotNeededHoldsNothingUp() {
        #expect(missing([1: 0, 2: 33, 3: 0]).isEmpty)
    }

    /// It has applied all changes so far.
    @Test func aVoterThatLacksOnlyWhatCameAfterTheLastChangeAgrees() {
        #expect(missing([1: 0, 2: 41]).isEmpty)
    }

    /// What is to be said of those is said elsewhere.
    @Test func votersThatAreDownAreNotSaidToLackAnything() {
        #expect(missing([1: 0]).isEmpty)
    }

    @Test func aMemberWithoutAVoteIsNotAsked() {
        #expect(missing([1: 0, 2: 0, 4: 33]).isEmpty)
    }
}
