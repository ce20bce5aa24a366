import DashboardModel
import Testing

@Suite struct ContentTests {
    private func replica(_ id: UInt64, _ hash: String?, at index: UInt64? = 40) -> ReplicaContent {
        ReplicaContent(
            nodeID: id, address: "h:\(id)", hash: hash, keys: hash == nil ? nil : 3, appliedIndex: index,
            error: hash == nil ? "no answer" : nil)
    }

    private func learner(_ id: UInt64, _ hash: String) -> ReplicaContent {
        ReplicaContent(nodeID: id, address: "h:\(id)", isVoter: false, hash: hash, keys: 3, appliedIndex: 40)
    }

    private func verdict(_ replicas: ReplicaContent..., of members: Int = 3) -> Answer.Content.Verdict {
        Answer.Content.verdict(on: replicas, memberCount: members)
    }

    @Test func allHoldTheSame() {
        #expect(verdict(replica(0, "a"), replica(1, "a"), replica(2, "a")) == .agree)
        #expect(verdict(replica(0, "a"), replica(1, "a"), replica(2, nil)) == .agree, "a majority will do")
        #expect(verdict(replica(0, "a", at: 40), replica(1, "a", at: 41)) == .agree, "the entry changed other shards")
        #expect(verdict(replica(0, "a"), of: 1) == .agree)
    }

    @Test func differentThingsAtOneIndexAreDamage() {
        #expect(verdict(replica(0, "a"), replica(1, "b"), replica(2, "a")) == .differ)
        #expect(verdict(replica(0, "a"), replica(1, "b"), of: 5) == .differ, "even if most are silent")
        #expect(verdict(replica(0, "a", at: 40), replica(1, "a", at: 41), replica(2, "b", at: 41)) == .differ)
    }

    @Test func differentThingsAtDifferentIndexesAreWritesInBetween() {
        #expect(verdict(replica(0, "a", at: 40), replica(1, "b", at: 41)) == .changing)
        #expect(verdict(replica(0, "a", at: nil), replica(1, "b", at: 41)) == .changing)
    }

    @Test func aMinoritySaysNothing() {
        #expect(verdict(replica(0, "a"), replica(1, nil), replica(2, nil)) == .unreachable)
        #expect(verdict(replica(0, "a"), replica(1, "a"), of: 4) == .unreachable)
        #expect(verdict(of: 0) == .unreachable)
    }

    @Test func aLearnerIsComparedAndNotCounted() {
        #expect(verdict(replica(0, "a"), learner(3, "a")) == .unreachable)
        #expect(verdict(replica(0, "a"), replica(1, "a"), learner(3, "a")) == .agree)
        #expect(verdict(replica(0, "a"), replica(1, "a"), learner(3, "b")) == .differ)
    }
}
