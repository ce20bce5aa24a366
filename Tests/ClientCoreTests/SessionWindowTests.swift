import ClientCore
import Keyspace
import Testing

extension SessionWindow {
    /// Of a node that never says anything.
    fileprivate mutating func send(_ waiter: Waiter, until deadline: Duration) -> Ticket? {
        send(waiter, Patience(silence: deadline, end: deadline), now: .zero)
    }

    fileprivate mutating func received(_ responses: [KvResponse]) -> [Told] { received(responses, now: .zero) }
}

@Suite struct SessionWindowTests {
    private func get(_ id: UInt64) -> KvRequest { KvRequest(id: id, .get(key: [1])) }
    private func answer(_ id: UInt64) -> KvResponse { KvResponse(id: id, .value(nil)) }

    private func id(_ ticket: SessionWindow<String>.Ticket?) throws -> UInt64 { try #require(ticket).id }

    private func said(_ told: [SessionWindow<String>.Told]) -> [String: AskOutcome] {
        Dictionary(told.map { ($0.waiter, $0.outcome) }) { first, _ in first }
    }

    @Test func anAnswerReachesWhoeverAskedAndOnlyOnce() throws {
        var window = SessionWindow<String>()
        let first = try id(window.send("first", until: .seconds(1)))
        let second = try id(window.send("second", until: .seconds(1)))
        #expect(said(window.received([answer(second)])) == ["second": .answered(answer(second))])
        #expect(window.received([answer(second), answer(99)]).isEmpty)
        #expect(said(window.received([answer(first)])) == ["first": .answered(answer(first))])
    }

    @Test func whatIsLateInTheQueueNeverLeft() throws {
        var window = SessionWindow<String>()
        let id = try id(window.send("late", until: .seconds(1)))
        #expect(said(window.time(.seconds(1)).told) == ["late": .notSent])
        // And it doesn't leave afterwards.
        #expect(window.taken([get(id)]).isEmpty)
    }

    @Test func whatWasTakenAndIsLateMayHaveArrived() throws {
        var window = SessionWindow<String>()
        let id = try id(window.send("late", until: .seconds(1)))
        #expect(window.taken([get(id)]) == [get(id)])
        #expect(said(window.time(.seconds(1)).told) == ["late": .lost])
        #expect(window.received([answer(id)]).isEmpty)
    }

    /// Callers take ids and queue in any order: an id below one that was taken may have been taken with it.
    @Test func whatMayHaveBeenTakenCountsAsTaken() throws {
        var window = SessionWindow<String>()
        let first = try id(window.send("first", until: .seconds(1)))
        let second = try id(window.send("second", until: .seconds(1)))
        let third = try id(window.send("third", until: .seconds(1)))
        #expect(window.taken([get(second)]).count == 1)
        #expect(first < second && second < third)
        #expect(said(window.time(.seconds(2)).told) == ["first": .lost, "second": .lost, "third": .notSent])
    }

    @Test func onlyWhatIsLateIsGivenUp() {
        var window = SessionWindow<String>()
        _ = window.send("early", until: .seconds(1))
        _ = window.send("later", until: .seconds(2))
        let (told, alarm) = window.time(.milliseconds(1_500))
        #expect(said(told) == ["early": .notSent])
        #expect(alarm == .seconds(2))
    }

    @Test func aFullQueueIsToldToWhoeverWaits() throws {
        var window = SessionWindow<String>()
        let id = try id(window.send("waiter", until: .seconds(1)))
        #expect(window.refused(id) == "waiter")
        #expect(window.refused(id) == nil)
        #expect(window.time(.seconds(1)).told.isEmpty)
    }

    @Test func theEndOfTheStreamIsToldToAll() throws {
        var window = SessionWindow<String>()
        let sent = try id(window.send("sent", until: .seconds(1)))
        _ = window.send("queued", until: .seconds(1))
        _ = window.taken([get(sent)])
        #expect(said(window.failed()) == ["sent": .lost, "queued": .notSent])
        #expect(window.isBroken)
        #expect(window.send("more", until: .seconds(1)) == nil)
        #expect(window.failed().isEmpty && window.time(.seconds(9)).told.isEmpty)
    }

    @Test func theAlarmIsSetOncePerPatienceAndNeverTooLate() throws {
        var window = SessionWindow<String>()
        var alarms: [Duration] = []
        for step in 0..<100 {
            let sent = window.send("\(step)", until: .seconds(1) + .milliseconds(step))
            let ticket = try #require(sent)
            if let alarm = ticket.alarm { alarms.append(alarm) }
            _ = window.received([answer(ticket.id)])
        }
        #expect(alarms == [.seconds(1)])
        // Nothing waits when it goes off: the next request sets it.
        #expect(window.time(.seconds(1)).alarm == nil)
        #expect(window.send("next", until: .seconds(3))?.alarm == .seconds(3))
        #expect(window.send("longer", until: .seconds(4))?.alarm == nil)
        #expect(window.send("shorter", until: .seconds(2))?.alarm == .seconds(2))
    }

    @Test(arguments: 0..<200)
    func everybodyIsToldOnceAndNobodyLaterThanItsDeadline(_ seed: Int) {
        var random = SeededRandom(seed)
        var window = SessionWindow<Int>()
        var (now, alarm) = (Duration.zero, Duration?.none)
        var deadlines: [Int: Duration] = [:]
        var queue: [KvRequest] = []
        var (taken, sent): (Set<UInt64>, [Int: UInt64]) = ([], [:])
        func tell(_ told: [SessionWindow<Int>.Told]) {
            for (waiter, outcome) in told {
                #expect(deadlines.removeValue(forKey: waiter) != nil, "\(waiter) was told twice")
                if outcome == .notSent { #expect(!taken.contains(sent[waiter] ?? 0), "\(waiter) had left") }
            }
        }
        for step in 0..<400 {
            switch random.below(6) {
            case 0, 1:
                let deadline = now + .milliseconds(random.below(50))
                let patience = Patience(silence: deadline - now, end: deadline)
                guard let ticket = window.send(step, patience, now: now) else { break }
                (deadlines[step], sent[step]) = (deadline, ticket.id)
                if let next = ticket.alarm { alarm = next }
                queue.append(get(ticket.id))
            case 2:
                let requests = window.taken(queue)
                for request in requests { taken.insert(request.id) }
                queue = []
            case 3:
                let ids = taken.filter { _ in random.below(3) == 0 }.sorted()
                tell(window.received(ids.map { answer($0) }, now: now))
            case 4: if random.below(50) == 0 { tell(window.failed()) }
            default: now += .milliseconds(random.below(10))
            }
            while let due = alarm, due <= now {
                let (told, next) = window.time(now)
                tell(told)
                #expect(next.map { $0 > now } ?? true)
                alarm = next
            }
            #expect(deadlines.values.allSatisfy { $0 > now || window.isBroken })
        }
        tell(window.failed())
        #expect(deadlines.isEmpty)
    }

    /// To send it again would only add to what an overloaded node has to do.
    @Test func aRequestIsNotGivenUpWhileItsNodeAnswersOthers() throws {
        var window = SessionWindow<String>()
        let patience = Patience(silence: .seconds(1), end: .seconds(10))
        let slow = try id(window.send("slow", patience, now: .zero))
        let quick = try id(window.send("quick", patience, now: .zero))
        _ = window.taken([get(slow), get(quick)])
        #expect(window.received([answer(quick)], now: .milliseconds(900)).map(\.waiter) == ["quick"])
        let (told, alarm) = window.time(.seconds(1))
        #expect(told.isEmpty)
        #expect(alarm == .milliseconds(1_900))
        // It has said nothing for a second.
        #expect(window.time(.milliseconds(1_900)).told.map(\.outcome) == [.lost])
    }

    @Test func aRequestIsGivenUpAtItsEndWhoeverIsAnswered() throws {
        var window = SessionWindow<String>()
        let patience = Patience(silence: .seconds(1), end: .seconds(2))
        _ = window.taken([get(try id(window.send("slow", patience, now: .zero)))])
        for tenth in 1...20 { _ = window.received([], now: .milliseconds(100 * tenth)) }
        #expect(window.time(.milliseconds(1_999)).told.isEmpty)
        #expect(window.time(.seconds(2)).told.map(\.waiter) == ["slow"])
    }

}
