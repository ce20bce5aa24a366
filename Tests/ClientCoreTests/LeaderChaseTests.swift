import ClientCore
import Testing

@Suite struct LeaderChaseTests {
    private let addresses = ["a:1", "b:1", "c:1"]

    @Test func whoAnsweredLastIsAskedFirst() {
        var turn = 0
        #expect(LeaderChase().next(of: addresses, leader: "c:1", turn: &turn) == "c:1")
        #expect(turn == 0)
    }

    @Test func eachIsAskedOnceInARound() {
        var (chase, turn, asked) = (LeaderChase(), 1, [String]())
        while let address = chase.next(of: addresses, leader: "b:1", turn: &turn) {
            asked.append(address)
            chase.denies(address)
        }
        #expect(asked == ["b:1", "c:1", "a:1"])
        #expect(chase.rounds == 0)
        chase.startRound()
        #expect(chase.next(of: addresses, leader: nil, turn: &turn) != nil)
        #expect(chase.rounds == 1)
    }

    @Test func aHintNeedNotBeOnTheMap() {
        var (chase, turn) = (LeaderChase(), 0)
        chase.denies("a:1")
        #expect(chase.next(of: addresses, leader: "d:1", turn: &turn) == "d:1")
    }

    @Test func twoThatPointAtEachOtherDontHideTheThird() {
        var (chase, turn) = (LeaderChase(), 0)
        chase.denies("a:1")
        chase.denies("b:1")
        #expect(chase.next(of: addresses, leader: "a:1", turn: &turn) == "c:1")
    }

    @Test func oneThatNeverAnswersIsNotTheFirstEachTime() {
        var turn = 0
        let first = (0..<3).map { _ in LeaderChase().next(of: addresses, leader: nil, turn: &turn) }
        #expect(first == ["a:1", "b:1", "c:1"])
    }

    @Test func nobodyIsAskedWhereNobodyIs() {
        var turn = 0
        #expect(LeaderChase().next(of: [], leader: nil, turn: &turn) == nil)
    }
}
