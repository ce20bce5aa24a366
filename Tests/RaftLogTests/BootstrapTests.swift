import Engines
import RaftLog
import Testing

/// The identity rules: nodes may start in any order, and a wiped disk doesn't vote.
@Suite struct BootstrapTests {
    private let ids = [1, 2, 3].map { ReplicaID($0) }

    private func incarnation(_ id: ReplicaID, life: UInt64 = 1) -> Incarnation {
        Incarnation(high: id.rawValue, low: life)
    }

    private func core(_ own: ReplicaID, life: UInt64 = 1) -> BootstrapCore {
        BootstrapCore(
            own: own, incarnation: incarnation(own, life: life),
            addresses: Dictionary(uniqueKeysWithValues: ids.map { ($0, "n\($0)") }), clusterID: [9], gid: 7,
            parameters: [5])
    }

    private func fresh(_ id: ReplicaID, life: UInt64 = 1) -> BootstrapCore.Answer {
        BootstrapCore.Answer(incarnation: incarnation(id, life: life), record: nil)
    }

    private func record(lives: [UInt64] = [1, 1, 1]) -> BootstrapRecord {
        let members = zip(ids, lives).map {
            Member(id: $0, address: "n\($0)", incarnation: incarnation($0, life: $1), standing: .voter)
        }
        return BootstrapRecord(clusterID: [9], gid: 7, membership: Membership(members: members), parameters: [5])
    }

    @Test func aSingleNodeFoundsItsGroupAtOnce() {
        let single = BootstrapCore(
            own: ReplicaID(1), incarnation: incarnation(ReplicaID(1)), addresses: [ReplicaID(1): "n1"], clusterID: [],
            gid: 0, parameters: [])
        guard case .adopt(let record) = single.decision else { return #expect(Bool(false), "\(single.decision)") }
        #expect(record.membership.voters == [ReplicaID(1)])
    }

    @Test func theFirstStartNeedsEveryListedPeer() {
        var core = core(ReplicaID(1))
        #expect(core.decision == .await([ReplicaID(2), ReplicaID(3)]))
        #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3))) == .await([ReplicaID(2)]))
        // However often one answers, the other one is awaited.
        for _ in 0..<5 { #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3))) == .await([ReplicaID(2)])) }
    }

    @Test func everybodyIsAskedTwice() {
        var core = core(ReplicaID(1))
        _ = core.answered(ReplicaID(2), fresh(ReplicaID(2)))
        #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3))) == .await([ReplicaID(2), ReplicaID(3)]))
        #expect(core.answered(ReplicaID(2), fresh(ReplicaID(2))) == .await([ReplicaID(3)]))
        #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3))) == .adopt(record()))
    }

    @Test func everyOrderLeadsToTheSameRecord() {
        for own in ids {
            let peers = ids.filter { $0 != own }
            for order in [peers, peers.reversed()] {
                var core = core(own)
                var last = core.decision
                for peer in order + order { last = core.answered(peer, fresh(peer)) }
                #expect(last == .adopt(record()))
            }
        }
    }

    @Test func aDiskThatIsWipedBetweenTheRoundsStartsThemAnew() {
        var core = core(ReplicaID(1))
        _ = core.answered(ReplicaID(2), fresh(ReplicaID(2)))
        _ = core.answered(ReplicaID(3), fresh(ReplicaID(3)))
        _ = core.answered(ReplicaID(2), fresh(ReplicaID(2)))
        #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3), life: 2)) == .await([ReplicaID(2)]))
        #expect(core.answered(ReplicaID(2), fresh(ReplicaID(2))) == .await([ReplicaID(2), ReplicaID(3)]))
        _ = core.answered(ReplicaID(2), fresh(ReplicaID(2)))
        #expect(core.answered(ReplicaID(3), fresh(ReplicaID(3), life: 2)) == .adopt(record(lives: [1, 1, 2])))
    }

    @Test func aFounderAdoptsTheRecordOfAnother() {
        var core = core(ReplicaID(1))
        let answer = BootstrapCore.Answer(incarnation: incarnation(ReplicaID(2)), record: record())
        #expect(core.answered(ReplicaID(2), answer) == .adopt(record()))
    }

    @Test func aWipedDiskDoesNotVote() {
        // Its old incarnation is in the record; this one isn't.
        var core = core(ReplicaID(1), life: 2)
        _ = core.answered(ReplicaID(2), fresh(ReplicaID(2)))
        let answer = BootstrapCore.Answer(incarnation: incarnation(ReplicaID(3)), record: record())
        #expect(core.answered(ReplicaID(3), answer) == .waitForReplacement(record()))
    }

    @Test func aStrangerDoesNotVote() {
        var core = core(ReplicaID(1))
        let others = BootstrapRecord(
            clusterID: [9], gid: 7,
            membership: Membership(
                members: [
                    Member(id: ReplicaID(2), address: "n2", incarnation: incarnation(ReplicaID(2)), standing: .voter)
                ]))
        let answer = BootstrapCore.Answer(incarnation: incarnation(ReplicaID(2)), record: others)
        #expect(core.answered(ReplicaID(2), answer) == .waitForReplacement(others))
    }

    @Test func theClusterIdComesFromTheFoundersNotTheirAddresses() {
        let original = record()
        #expect(original.hash.count == 16)
        var moved = original
        moved.membership = Membership(
            members: original.membership.members.map {
                Member(id: $0.id, address: "other", incarnation: $0.incarnation, standing: .voter)
            })
        #expect(moved.hash == original.hash)
        #expect(record(lives: [1, 1, 2]).hash != original.hash)
    }

    @Test func aRecordIsWhereAGroupBegins() throws {
        let engine = MemoryEngine()
        let layout = try FamilyTable(engine: engine).layout(of: 7)
        var batch = WriteBatch()
        record().write(to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
        let view = try engine.snapshot()
        #expect(try layout.bootstrapRecord(in: view) == record())
        let state = try GroupStorage.open(layout, machine: TranscriptGroup.ListMachine(), in: view).state
        #expect(state.applied == BootstrapRecord.position)
        #expect(state.membership == record().membership)
        #expect(state.hardState.vote == nil)
    }
}
