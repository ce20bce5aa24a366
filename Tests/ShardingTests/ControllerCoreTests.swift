import Keyspace
import RaftLog
import Sharding
import Testing

/// What a controller's node does by itself while it leads.
@Suite struct ControllerCoreTests {
    private static let cluster: [UInt8] = [1, 2]
    private static let first = ControllerCommand.initialize(shardCount: 8, clusterID: cluster)

    private func sight(
        _ number: UInt64?, holdsUntil: Milliseconds? = nil, logTime: Milliseconds = 1_000
    ) -> ControllerCore.Sight {
        let hold = holdsUntil.map { MoveHold(id: [1], holder: "h", until: $0) }
        return ControllerCore.Sight(number: number, hold: hold, logTime: logTime)
    }

    /// Leads, and has seen a map.
    private func leading(_ number: UInt64 = 3, holdsUntil: Milliseconds? = nil) -> ControllerCore {
        var core = ControllerCore(shardCount: 8)
        #expect(core.observe(leads: true) == [.look])
        #expect(
            core.looked(sight(number, holdsUntil: holdsUntil), clusterID: Self.cluster, now: 0) == [])
        return core
    }

    @Test func theFirstLeaderWritesTheFirstMapOnce() {
        var core = ControllerCore(shardCount: 8)
        #expect(core.observe(leads: false) == [] && core.wakeAt == nil)
        #expect(core.observe(leads: true) == [.look])
        #expect(core.looked(sight(nil), clusterID: Self.cluster, now: 0) == [.propose(Self.first)])
        #expect(core.changed() == [.look])
        #expect(core.looked(sight(nil), clusterID: Self.cluster, now: 1) == [], "it is under way")
        #expect(core.proposed(now: 2) == [.look])
        #expect(core.looked(sight(0), clusterID: Self.cluster, now: 3) == [])
        #expect(core.wakeAt == nil)
        #expect(core.woken(now: 1_000_000) == [])
    }

    @Test func aFirstMapThatWasNotWrittenIsTriedAgainAfterARest() {
        var core = ControllerCore(shardCount: 8)
        _ = core.observe(leads: true)
        _ = core.looked(sight(nil), clusterID: Self.cluster, now: 0)
        #expect(core.proposed(now: 10) == [.look])
        #expect(core.looked(sight(nil), clusterID: Self.cluster, now: 11) == [])
        let again = core.wakeAt ?? 0
        #expect(again > 11)
        #expect(core.woken(now: again - 1) == [])
        #expect(core.woken(now: again) == [.look])
        #expect(core.looked(sight(nil), clusterID: Self.cluster, now: again) == [.propose(Self.first)])
    }

    @Test func timePassesWhenAHoldIsDueToEnd() {
        var core = leading(holdsUntil: 1_500)
        let due = core.wakeAt ?? 0
        #expect(due == 500)
        #expect(core.woken(now: due - 1) == [])
        #expect(core.woken(now: due) == [.look])
        #expect(
            core.looked(sight(3, holdsUntil: 1_500), clusterID: Self.cluster, now: due) == [.propose(.passTime)])
        #expect(core.proposed(now: due + 1) == [.look])
        #expect(core.looked(sight(3), clusterID: Self.cluster, now: due + 2) == [])
        #expect(core.wakeAt == nil)
    }

    /// The group's clock is a quorum's, and may be slower: time is let pass again, and not without rest.
    @Test func aHoldThatGoesOnIsEndedAgainAfterARest() {
        var core = leading(holdsUntil: 1_500)
        _ = core.woken(now: 500)
        let held = sight(3, holdsUntil: 1_500, logTime: 1_499)
        #expect(core.looked(held, clusterID: Self.cluster, now: 500) == [.propose(.passTime)])
        _ = core.proposed(now: 501)
        #expect(core.looked(held, clusterID: Self.cluster, now: 502) == [])
        let again = core.wakeAt ?? 0
        #expect((503...3_000).contains(again))
        #expect(core.woken(now: again) == [.look])
        #expect(core.looked(held, clusterID: Self.cluster, now: again) == [.propose(.passTime)])
    }

    @Test func whoWaitsIsWokenByANewerMapAndBySilence() {
        var core = leading(3)
        #expect(core.wait(1, newerThan: 2, until: 100, now: 0) == [.release(1)], "there is one")
        #expect(core.wait(2, newerThan: 3, until: 100, now: 0) == [])
        #expect(core.wait(3, newerThan: 4, until: 50, now: 0) == [])
        #expect(core.wakeAt == 50)
        #expect(core.woken(now: 50) == [.release(3)])
        #expect(core.changed() == [.look])
        #expect(core.looked(sight(4), clusterID: Self.cluster, now: 51) == [.release(2)])
        #expect(core.wait(4, newerThan: 4, until: 51, now: 51) == [.release(4)], "its time is up")
        #expect(core.wakeAt == nil)
    }

    /// What changes while the disk is being looked at is looked at again.
    @Test func aChangeDuringALookIsNotOverlooked() {
        var core = leading(3)
        _ = core.wait(1, newerThan: 3, until: 100, now: 0)
        #expect(core.changed() == [.look])
        #expect(core.changed() == [])
        #expect(core.looked(sight(3), clusterID: Self.cluster, now: 1) == [.look])
        #expect(core.looked(sight(4), clusterID: Self.cluster, now: 2) == [.release(1)])
    }

    /// The group has no quorum for a while: nobody's command would bring the next look.
    @Test func aLookThatCameToNothingIsRepeated() {
        var core = ControllerCore(shardCount: 8)
        #expect(core.observe(leads: true) == [.look])
        #expect(core.sawNothing(now: 10) == [])
        let again = core.wakeAt ?? 0
        #expect(again > 10 && core.woken(now: again - 1) == [])
        #expect(core.woken(now: again) == [.look])
        #expect(core.looked(sight(3), clusterID: Self.cluster, now: again) == [] && core.wakeAt == nil)
    }

    /// Commands may end faster than one look takes.
    @Test func newsIsNotHeldBackByMoreNews() {
        var core = leading(3)
        _ = core.wait(1, newerThan: 3, until: 100, now: 0)
        #expect(core.changed() == [.look])
        _ = core.changed()
        #expect(core.looked(sight(4), clusterID: Self.cluster, now: 1) == [.release(1), .look])
    }

    @Test func whoeverWaitsIsSentOnWhenTheNodeLeadsNoMore() {
        var core = leading(3)
        _ = core.wait(1, newerThan: 3, until: 100, now: 0)
        _ = core.wait(2, newerThan: 9, until: 100, now: 0)
        core.gone(2)
        #expect(core.observe(leads: false) == [.release(1)])
        #expect(core.wait(3, newerThan: 3, until: 100, now: 0) == [.release(3)])
        #expect(core.changed() == [] && core.wakeAt == nil)
        // A look of before says nothing about the next time in office.
        #expect(core.observe(leads: true) == [.look])
        #expect(core.wait(4, newerThan: 2, until: 100, now: 0) == [])
        #expect(core.looked(sight(3), clusterID: Self.cluster, now: 1) == [.release(4)])
    }

    @Test func nobodyWaitsForLongAndNotTooManyAtOnce() {
        var core = leading(3)
        _ = core.wait(1, newerThan: 3, until: .max, now: 7)
        #expect(core.wakeAt == 7 + ControllerCore.waitMax)
        for number in UInt64(2)...UInt64(ControllerCore.waitersMax) {
            #expect(core.wait(number, newerThan: 3, until: 100, now: 7) == [])
        }
        #expect(core.wait(9_999, newerThan: 3, until: 100, now: 7) == [.release(9_999)])
    }

    /// Before the first map any is news.
    @Test func whoWaitsForTheFirstMapIsWokenByIt() {
        var core = ControllerCore(shardCount: 8)
        _ = core.observe(leads: true)
        _ = core.looked(sight(nil), clusterID: Self.cluster, now: 0)
        #expect(core.wait(1, newerThan: nil, until: 100, now: 0) == [])
        _ = core.proposed(now: 1)
        #expect(core.looked(sight(0), clusterID: Self.cluster, now: 2) == [.release(1)])
    }
}
