import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// How a node comes to take part, and how it ends.
@Suite struct NodeCoreTests {
    private static let cluster = [UInt8](repeating: 7, count: 16)

    private static func life(_ number: UInt64) -> Incarnation { Incarnation(high: 9, low: number) }

    private static func core(
        _ id: UInt64, gid: GroupID = 5, founders: Int = 3, life: Incarnation? = nil, address: String? = nil
    ) -> NodeCore {
        let addresses = (0..<founders).map { "127.0.0.1:\(100 + $0)" }
        return NodeCore(
            NodeCore.Configuration(
                id: ReplicaID(id), incarnation: life ?? Self.life(id), gid: gid,
                address: address ?? "127.0.0.1:\(100 + id)", founders: addresses,
                controllers: gid == .controller ? [] : ["127.0.0.1:1"], directory: "d"))
    }

    private static func record(_ founders: Int = 3, gid: UInt64 = 5) -> BootstrapRecord {
        let members = (0..<UInt64(founders)).map { id in
            Member(id: ReplicaID(id), address: "127.0.0.1:\(100 + id)", incarnation: life(id), standing: .voter)
        }
        return BootstrapRecord(clusterID: cluster, gid: gid, membership: Membership(members: members))
    }

    private static func founder(_ id: UInt64, record: BootstrapRecord? = nil, list: [String]? = nil)
        -> NodeCore.Identified
    {
        NodeCore.Identified(
            id: ReplicaID(id), cluster: list ?? (0..<3).map { "127.0.0.1:\(100 + $0)" },
            answer: BootstrapCore.Answer(incarnation: life(id), record: record))
    }

    private static func conditions(_ steps: [NodeCore.Step]) -> [NodeCondition] {
        steps.compactMap { if case .say(.condition(let condition)) = $0 { condition } else { nil } }
    }

    private static func asked(_ steps: [NodeCore.Step]) -> [ReplicaID] {
        steps.compactMap { if case .ask(let id, _) = $0 { id } else { nil } }
    }

    @Test func aMemberRunsWithoutAskingAnybody() {
        var core = Self.core(0)
        let record = Self.record()
        let steps = core.begin(
            NodeCore.Holdings(record: record, membership: record.membership, cluster: Self.cluster), now: 0)
        #expect(steps == [.recordCluster(Self.cluster), .recordJoined, .run])
        #expect(core.condition == nil && core.isRunning && core.record == record)
    }

    @Test func theControllerIsAskedUntilItAnswers() {
        var core = Self.core(0)
        #expect(core.begin(NodeCore.Holdings(), now: 0) == [.askController])
        #expect(core.wakeAt == nil, "an answer is awaited")
        #expect(Self.conditions(core.heardOfCluster(nil, now: 10)) == [.awaitsController(["127.0.0.1:1"])])
        let again = core.wakeAt ?? 0
        #expect(again > 10)
        #expect(core.woken(now: again - 1) == [])
        #expect(core.woken(now: again) == [.askController])
        #expect(core.heardOfCluster(nil, now: again) == [], "it has been said")
        #expect(Self.asked(core.heardOfCluster(Self.cluster, now: again + 1)) == [1, 2])
    }

    @Test func aGroupIsFoundedInTwoRoundsAndInTheOrderOfItsDurability() {
        var core = Self.core(0)
        _ = core.begin(NodeCore.Holdings(), now: 0)
        _ = core.heardOfCluster(Self.cluster, now: 0)
        #expect(Self.asked(core.heard(Self.founder(1), from: 1, now: 1)) == [], "the first round isn't over")
        #expect(Self.asked(core.heard(Self.founder(2), from: 2, now: 2)) == [1, 2], "the second begins at once")
        #expect(Self.asked(core.heard(Self.founder(2), from: 2, now: 3)) == [])
        let steps = core.heard(Self.founder(1), from: 1, now: 4)
        #expect(
            steps == [
                .write(Self.record(), founds: true), .say(.founded(by: "0, 1, 2")), .recordCluster(Self.cluster),
                .recordJoined, .run,
            ])
        #expect(core.isRunning && core.condition == nil)
    }

    @Test func aFounderThatDoesNotAnswerIsAskedAgainLaterOrWhenItAsks() {
        var core = Self.core(0)
        _ = core.begin(NodeCore.Holdings(cluster: Self.cluster), now: 0)
        #expect(Self.asked(core.heard(nil, from: 1, now: 50)) == [])
        let again = core.wakeAt ?? 0
        #expect(again > 50)
        #expect(core.woken(now: again - 1) == [])
        #expect(Self.asked(core.wasAsked(by: 1, now: 60)) == [1], "it is there now")
        #expect(core.wasAsked(by: 1, now: 61) == [], "it is being asked")
        #expect(core.wasAsked(by: 9, now: 61) == [], "a stranger")
        #expect(Self.asked(core.heard(nil, from: 1, now: 70)) == [])
        #expect(Self.asked(core.woken(now: core.wakeAt ?? 0)) == [1])
    }

    /// Two founders with different lists would ask each other without end.
    @Test func aFounderWhoseAnswerDoesNotFitGetsItsRestAndIsSaidOnce() {
        var core = Self.core(0)
        _ = core.begin(NodeCore.Holdings(cluster: Self.cluster), now: 0)
        let other = ["127.0.0.1:100"]
        var said = 0
        for round in UInt64(1)...5 {
            let now = round * 200
            for founder in UInt64(1)...2 {
                said +=
                    Self.conditions(
                        core.heard(Self.founder(founder, list: other), from: ReplicaID(founder), now: now)
                    ).count
                #expect(core.wasAsked(by: ReplicaID(founder), now: now + 1) == [])
            }
            _ = core.woken(now: now + 150)
        }
        #expect(said == 2)
    }

    @Test func aNodeThatWasStoppedBeforeItBeganDoesNothing() {
        var core = Self.core(0)
        #expect(core.stop(leads: false, listens: true, now: 0) == [.dismissWaiters, .endListening, .close])
        #expect(core.begin(NodeCore.Holdings(), now: 1) == [] && core.isEnded)
        #expect(core.wakeAt == nil && core.woken(now: 1_000) == [])
    }

    @Test func whoWasWipedWaitsForAMembershipWithoutAVote() {
        let record = Self.record()
        var core = Self.core(0, life: Self.life(77))
        _ = core.begin(NodeCore.Holdings(cluster: Self.cluster), now: 0)
        let steps = core.heard(Self.founder(1, record: record), from: 1, now: 1)
        #expect(steps.first == .write(record, founds: false) && steps.last == .run)
        #expect(!steps.contains(.recordJoined))
        guard case .awaitsMembership(let command)? = core.condition else {
            Issue.record("\(String(describing: core.condition))")
            return
        }
        #expect(command.contains("member replace 0"))
        // So it is after a restart, without asking anybody.
        var again = Self.core(0, life: Self.life(77))
        let restarted = again.begin(NodeCore.Holdings(record: record, cluster: Self.cluster), now: 0)
        #expect(restarted.last == .run && again.condition == core.condition)
        // Until the log names this life.
        var members = record.membership.members
        members[0].incarnation = Self.life(77)
        #expect(again.observe(Membership(members: members)) == [])
        #expect(again.condition == nil)
    }

    @Test func aNodeThatIsNoFounderIsToBeAdded() {
        var core = Self.core(7, founders: 3)
        _ = core.begin(NodeCore.Holdings(cluster: Self.cluster), now: 0)
        _ = core.heard(Self.founder(0, record: Self.record()), from: 0, now: 1)
        #expect(core.condition?.sentence.contains("member add 7") == true)
    }

    @Test func anEngineThatForgotItsMembershipIsRefused() {
        var core = Self.core(0)
        let steps = core.begin(NodeCore.Holdings(cluster: Self.cluster, hasJoined: true), now: 0)
        guard case .fail(.corruption(let place))? = steps.last else {
            Issue.record("\(steps)")
            return
        }
        #expect(place.contains("member replace") && !core.isRunning)
        #expect(core.woken(now: 1_000_000) == [] && core.wakeAt == nil)
    }

    @Test func anotherNodeOrAnotherListIsSaidOnce() {
        var core = Self.core(0)
        _ = core.begin(NodeCore.Holdings(cluster: Self.cluster), now: 0)
        #expect(
            Self.conditions(core.heard(Self.founder(2), from: 1, now: 1))
                == [.founderIsAnother(id: 2, address: "127.0.0.1:101", expected: 1)])
        _ = core.woken(now: core.wakeAt ?? 0)
        #expect(Self.conditions(core.heard(Self.founder(2), from: 1, now: 500)) == [])
        let other = Self.founder(2, list: ["127.0.0.1:100"])
        #expect(
            Self.conditions(core.heard(other, from: 2, now: 600)) == [
                .founderHasAnotherList(
                    2, theirs: ["127.0.0.1:100"], own: (0..<3).map { "127.0.0.1:\(100 + $0)" })
            ])
    }

    @Test func aNodeAtAnotherAddressSaysWhereItIs() {
        var core = Self.core(0, address: "127.0.0.1:555")
        let record = Self.record()
        _ = core.begin(
            NodeCore.Holdings(record: record, membership: record.membership, cluster: Self.cluster), now: 0)
        #expect(core.condition?.sentence.contains("group member update 0 127.0.0.1:555") == true)
        var members = record.membership.members
        members[0].address = "localhost:555"
        _ = core.observe(Membership(members: members))
        #expect(core.condition == nil, "localhost is 127.0.0.1")
    }

    @Test func aGroupThatWasFoundedAnewSaysSoUntilItIsKnown() {
        var core = Self.core(0)
        let record = Self.record()
        _ = core.begin(
            NodeCore.Holdings(record: record, membership: record.membership, cluster: Self.cluster), now: 0)
        #expect(Self.conditions(core.isKnown(false)) == [.foundedAnew(5)])
        #expect(core.isKnown(false) == [])
        #expect(core.isKnown(true) == [] && core.condition == nil)
    }

    @Test func oneSnapshotIsReceivedAndALaterTermTakesTheTurn() throws {
        var core = Self.core(0)
        #expect(core.beginReceiving(3) == nil, "it has not begun")
        let record = Self.record()
        _ = core.begin(
            NodeCore.Holdings(record: record, membership: record.membership, cluster: Self.cluster), now: 0)
        guard let first = core.beginReceiving(3), let second = core.beginReceiving(4) else {
            Issue.record("no turn")
            return
        }
        #expect(core.beginReceiving(4) == nil && core.beginReceiving(3) == nil)
        #expect(!core.isReceiving(first) && core.isReceiving(second))
        core.endReceiving(first)
        #expect(core.isReceiving(second), "who has lost the turn doesn't end another's")
        core.endReceiving(second)
        #expect(core.beginReceiving(1) != nil)
    }

    @Test func aLeaderGoesAfterItHasHandedOver() {
        func running() -> NodeCore {
            var core = Self.core(0)
            let record = Self.record()
            _ = core.begin(
                NodeCore.Holdings(record: record, membership: record.membership, cluster: Self.cluster), now: 0)
            return core
        }
        var listening = running()
        #expect(
            listening.stop(leads: true, listens: true, now: 0) == [.handOver, .dismissWaiters, .endListening, .close])
        #expect(listening.stop(leads: true, listens: true, now: 0) == [], "once")
        var follower = running()
        #expect(follower.stop(leads: false, listens: false, now: 0) == [.dismissWaiters, .close])
        var leader = running()
        #expect(leader.stop(leads: true, listens: false, now: 100) == [.handOver, .dismissWaiters])
        #expect(leader.observe(leads: true) == [])
        #expect(leader.observe(leads: false) == [.close])
        var alone = running()
        _ = alone.stop(leads: true, listens: false, now: 100)
        #expect(alone.woken(now: (alone.wakeAt ?? 0) - 1) == [])
        #expect(alone.woken(now: alone.wakeAt ?? 0) == [.close], "nobody takes over")
        #expect(alone.woken(now: 1_000_000) == [])
    }

    /// Nodes that come, crash and lose their disks in any order, over a network that loses questions and answers: all
    /// founders have one record, whoever lost its disk after that has no vote, and in the end everybody runs.
    @Test(arguments: UInt64(1)...200) func aGroupIsFoundedOnceWhateverFails(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let count = Int.random(in: 1...5, using: &random)
        struct Disk {
            var life: Incarnation
            var record: BootstrapRecord?
            var founded: BootstrapRecord?
        }
        var lives: UInt64 = 0
        func newLife() -> Incarnation {
            lives += 1
            return Incarnation(high: seed, low: lives)
        }
        var disks = (0..<count).map { _ in Disk(life: newLife()) }
        var cores: [NodeCore?] = .init(repeating: nil, count: count)
        var questions: [(from: Int, life: Incarnation, to: Int)] = []
        var answers: [(to: Int, life: Incarnation, founder: Int, found: NodeCore.Identified?)] = []
        var now: Milliseconds = 0
        let addresses = (0..<count).map { "127.0.0.1:\(100 + $0)" }

        func carryOut(_ steps: [NodeCore.Step], _ node: Int) {
            for step in steps {
                switch step {
                case .ask(let founder, _): questions.append((node, disks[node].life, Int(founder.rawValue)))
                case .write(let record, let founds):
                    disks[node].record = record
                    if founds { disks[node].founded = record }
                case .fail(let error): Issue.record("seed \(seed): \(error)")
                default: break
                }
                // The process may end between two steps.
                if Int.random(in: 0..<100, using: &random) < 3 {
                    cores[node] = nil
                    return
                }
            }
        }
        func start(_ node: Int) {
            var core = NodeCore(
                NodeCore.Configuration(
                    id: ReplicaID(UInt64(node)), incarnation: disks[node].life, gid: .controller,
                    address: addresses[node], founders: addresses, controllers: [], directory: "d"))
            let steps = core.begin(
                NodeCore.Holdings(
                    record: disks[node].record, membership: disks[node].founded?.membership ?? .none), now: now)
            cores[node] = core
            carryOut(steps, node)
        }
        func input(_ node: Int, _ body: (inout NodeCore) -> [NodeCore.Step]) {
            guard cores[node] != nil,
                let steps = cores[node].map({ core in
                    var core = core
                    let steps = body(&core)
                    cores[node] = core
                    return steps
                })
            else { return }
            carryOut(steps, node)
        }

        for round in 0..<3_000 {
            now += Milliseconds.random(in: 0...30, using: &random)
            let isFaulty = round < 400
            let node = Int.random(in: 0..<count, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<2 where isFaulty: cores[node] = nil
            case 2..<3 where isFaulty:
                cores[node] = nil
                disks[node] = Disk(life: newLife())
            case 3..<20: if cores[node] == nil { start(node) }
            case 20..<40:
                if let at = cores[node]?.wakeAt, at <= now { input(node) { $0.woken(now: now) } }
            case 40..<70 where !questions.isEmpty:
                let question = questions.remove(at: Int.random(in: questions.indices, using: &random))
                let isLost = isFaulty && Int.random(in: 0..<4, using: &random) == 0
                var found: NodeCore.Identified?
                if !isLost, let core = cores[question.to] {
                    input(question.to) { $0.wasAsked(by: ReplicaID(UInt64(question.from)), now: now) }
                    found = NodeCore.Identified(
                        id: ReplicaID(UInt64(question.to)), cluster: core.spelledFounders,
                        answer: BootstrapCore.Answer(incarnation: disks[question.to].life, record: core.record))
                }
                answers.append((question.from, question.life, question.to, found))
            case 70... where !answers.isEmpty:
                let answer = answers.remove(at: Int.random(in: answers.indices, using: &random))
                guard disks[answer.to].life == answer.life else { break }
                input(answer.to) {
                    $0.heard(answer.found, from: ReplicaID(UInt64(answer.founder)), now: now)
                }
            default: break
            }
            let founded = disks.compactMap(\.founded)
            #expect(Set(founded.map(\.hash)).count <= 1, "seed \(seed): two foundings")
        }
        for node in 0..<count where cores[node] == nil { start(node) }
        let lost = (0..<count).filter { disks[$0].founded == nil && disks[$0].record != nil }
        for node in 0..<count {
            #expect(cores[node]?.isRunning != false || !questions.isEmpty, "seed \(seed): node \(node) doesn't run")
        }
        for node in lost {
            #expect(disks[node].record?.membership[ReplicaID(UInt64(node))]?.incarnation != disks[node].life)
        }
    }
}

extension ReplicaID: ExpressibleByIntegerLiteral {
    init(integerLiteral value: UInt64) { self.init(value) }
}
