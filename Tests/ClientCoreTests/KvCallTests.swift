import ClientCore
import Keyspace
import Testing

/// What one operation does with each answer, and what it says at the end. `KvCallModelTests` shows the same against
/// servers that lose, delay and refuse at random.
@Suite struct KvCallTests {
    /// An operation with a map of one shard, in group 100 on three nodes, and a deadline of ten seconds.
    private struct Run {
        var state = ClientState(attemptPatience: .milliseconds(1_500), sessionLifetime: .seconds(60), seed: 7)
        var call: KvCall
        var now: Duration = .zero

        init(isWrite: Bool = false, hasMap: Bool = true) {
            call = KvCall(.key([1]), isWrite: isWrite, end: .seconds(10))
            if hasMap { state.routes.adopt(Run.map(1)) }
        }

        static func map(_ number: UInt64, on addresses: [String] = ["a:1", "b:1", "c:1"]) -> ShardMap {
            ShardMap(
                number: number, clusterID: [], groups: [100: ShardMap.Group(addresses: addresses)],
                shards: [ShardMap.Row(gid: 100, epoch: 1)])
        }

        /// Begins, and opens a session if one is needed: the first `ask`.
        mutating func begin() throws -> KvCall.Ask {
            var step = call.begin(&state, now: now, wall: 1_000_000)
            if step == .openSession {
                step = call.opened([UInt8](repeating: 1, count: 16), &state, now: now)
            }
            return try ask(step)
        }

        mutating func heard(_ outcome: AskOutcome) -> KvCall.Step { call.heard(outcome, &state, now: now) }

        mutating func refused(_ error: KvError) -> KvCall.Step { heard(.answered(KvResponse(id: 0, error))) }

        mutating func refused(_ code: KvError.Code, logTime: UInt64 = 0) -> KvCall.Step {
            refused(KvError(code, "why", logTime: logTime))
        }

        /// Waits, if that is what is to be done, and returns whom to ask then.
        mutating func goOn(_ step: KvCall.Step) throws -> KvCall.Ask {
            guard case .wait(let until) = step else { return try ask(step) }
            #expect(until > now)
            now = until
            return try ask(call.woken(&state, now: now))
        }

        private func ask(_ step: KvCall.Step) throws -> KvCall.Ask {
            guard case .ask(let ask) = step else { throw Unexpected(step: step) }
            return ask
        }
    }

    private struct Unexpected: Error { var step: KvCall.Step }

    private func code(_ step: KvCall.Step) -> CallFailure.Code? {
        guard case .failed(let failure) = step else { return nil }
        return failure.code
    }

    private let written = AskOutcome.answered(KvResponse(id: 0, .written(.put)))

    // MARK: - Whom to ask

    @Test func whoAnsweredIsAskedByTheNextOperation() throws {
        var first = Run()
        let asked = try first.begin()
        _ = first.refused(.noLeader)
        let second = try first.goOn(first.call.woken(&first.state, now: .seconds(1)))
        #expect(second.address != asked.address)
        #expect(first.heard(.answered(KvResponse(id: 0, .value(nil)))) == .done(.value(nil)))
        var next = Run()
        next.state = first.state
        #expect(try next.begin().address == second.address)
    }

    @Test func aHintIsFollowedAtOnce() throws {
        var run = Run()
        let asked = try run.begin()
        let hint = asked.address == "c:1" ? "b:1" : "c:1"
        let step = run.refused(KvError(.notLeader, "", leader: hint))
        guard case .ask(let next) = step else { throw Unexpected(step: step) }
        #expect(next.address == hint)
    }

    @Test func hintsThatLeadNowhereAreFollowedSlowly() throws {
        var run = Run()
        _ = try run.begin()
        var steps: [KvCall.Step] = []
        for number in 0..<5 {
            let step = run.refused(KvError(.notLeader, "", leader: "h\(number):1"))
            steps.append(step)
            _ = try run.goOn(step)
        }
        #expect(steps.prefix(3).allSatisfy { if case .ask = $0 { true } else { false } })
        #expect(steps.dropFirst(3).allSatisfy { if case .wait = $0 { true } else { false } })
    }

    @Test func eachNodeIsAskedOnceInARound() throws {
        var run = Run()
        var asked = [try run.begin().address]
        for _ in 0..<5 { asked.append(try run.goOn(run.heard(.notSent)).address) }
        #expect(Set(asked.prefix(3)).count == 3 && Set(asked.suffix(3)).count == 3)
    }

    @Test(arguments: [KvError.Code.busy, .wrongGroup, .outcomeUnknown])
    func whoLeadsAndCantNowIsAskedAgain(_ code: KvError.Code) throws {
        var run = Run(isWrite: true)
        let asked = try run.begin()
        var step = run.refused(code)
        if case .askMap = step {
            step = run.call.mapMissing(CallFailure(.unavailable, ""), &run.state, now: run.now)
        }
        // Another operation has found that it leads.
        run.state.routes.leads(asked.address, in: 100)
        #expect(try run.goOn(step).address == asked.address)
    }

    @Test func anAttemptLastsForThePatienceAndNeverBeyondTheEnd() throws {
        var run = Run()
        #expect(try run.begin().patience == Patience(silence: .milliseconds(1_500), end: .seconds(10)))
        run.now = .milliseconds(9_500)
        #expect(try run.goOn(run.heard(.lost)).patience.end == .seconds(10))
    }

    // MARK: - The map

    @Test func withoutAMapTheControllerIsAskedFirst() throws {
        var run = Run(hasMap: false)
        #expect(run.call.begin(&run.state, now: .zero, wall: 0) == .askMap(until: .seconds(10)))
        let step = run.call.mapArrived(Run.map(1), &run.state, now: .zero)
        #expect(try run.goOn(step).config == 1)
    }

    @Test func withoutAMapTheControllersFailureIsTheOperations() {
        var run = Run(hasMap: false)
        _ = run.call.begin(&run.state, now: .zero, wall: 0)
        let failure = CallFailure(.unavailable, "no controller answers")
        #expect(run.call.mapMissing(failure, &run.state, now: .seconds(1)) == .failed(failure))
    }

    @Test func aMapWithoutShardsIsAskedForAgainLater() {
        var run = Run(hasMap: false)
        _ = run.call.begin(&run.state, now: .zero, wall: 0)
        let empty = ShardMap(number: 0, clusterID: [], groups: [:], shards: [])
        let step = run.call.mapArrived(empty, &run.state, now: .zero)
        guard case .wait(let until) = step else {
            Issue.record("\(step)")
            return
        }
        #expect(until >= Duration.milliseconds(50))
        #expect(run.call.woken(&run.state, now: until) == .askMap(until: .seconds(10)))
    }

    @Test func aGroupThatDoesNotServeTheShardMakesForANewerMap() throws {
        var run = Run()
        _ = try run.begin()
        guard case .askMap(let until) = run.refused(.wrongGroup) else {
            Issue.record("no map is asked for")
            return
        }
        // Not the whole time of the operation: the map that is here may still do.
        #expect(until == ClientState.mapPatience)
        let step = run.call.mapArrived(Run.map(2, on: ["d:1"]), &run.state, now: .milliseconds(10))
        let next = try run.goOn(step)
        #expect(next.config == 2 && next.address == "d:1")
    }

    @Test func aMapThatSomebodyElseHasFetchedIsNotFetchedAgain() throws {
        var run = Run()
        _ = try run.begin()
        run.state.routes.adopt(Run.map(2))
        #expect(try run.goOn(run.refused(.wrongGroup)).config == 2)
    }

    @Test func operationsThatFailTogetherAskForOneMap() throws {
        var (first, second) = (Run(), Run())
        _ = try first.begin()
        _ = try second.begin()
        guard case .askMap = first.refused(.wrongGroup) else {
            Issue.record("no map is asked for")
            return
        }
        second.state = first.state
        second.now = .milliseconds(10)
        guard case .wait = second.refused(.wrongGroup) else {
            Issue.record("two maps are asked for")
            return
        }
    }

    @Test func aBusyNodeThatKnowsANewerMapMakesForIt() throws {
        var run = Run()
        _ = try run.begin()
        guard case .askMap = run.refused(KvError(.busy, "", config: 2)) else {
            Issue.record("no map is asked for")
            return
        }
        var other = Run()
        _ = try other.begin()
        guard case .wait = other.refused(KvError(.busy, "", config: 1)) else {
            Issue.record("a map is asked for")
            return
        }
    }

    @Test func aGroupThatCantBeReachedMakesForANewerMapNowAndThen() throws {
        var run = Run()
        _ = try run.begin()
        var maps = 0
        for _ in 0..<16 {
            var step = run.heard(.notSent)
            if case .askMap = step {
                maps += 1
                step = run.call.mapMissing(CallFailure(.unavailable, ""), &run.state, now: run.now)
            }
            _ = try run.goOn(step)
        }
        #expect(maps == 2)
    }

    @Test func aShardWithoutAGroupIsWaitedFor() throws {
        var run = Run(hasMap: false)
        run.state.routes.adopt(
            ShardMap(number: 1, clusterID: [], groups: [:], shards: [ShardMap.Row(gid: 0, epoch: 0)]))
        guard case .askMap = run.call.begin(&run.state, now: .zero, wall: 0) else {
            Issue.record("no map is asked for")
            return
        }
        #expect(try run.goOn(run.call.mapArrived(Run.map(2), &run.state, now: .zero)).config == 2)
    }

    // MARK: - Time

    @Test func pausesGrowAndStayShort() throws {
        var run = Run()
        _ = try run.begin()
        var pauses: [Duration] = []
        for _ in 0..<7 {
            let before = run.now
            let step = run.heard(.notSent)
            _ = try run.goOn(step)
            pauses.append(run.now - before)
        }
        for (failures, pause) in pauses.enumerated() {
            let least = Duration.milliseconds(2 << min(failures, 6))
            #expect(pause >= least && pause <= least + least / 2)
        }
    }

    @Test func aServersWishIsHeardUpToASecond() throws {
        for (wish, least, most) in [(UInt32(50), 50, 75), (.max, 1_000, 1_500)] {
            var run = Run()
            _ = try run.begin()
            _ = try run.goOn(run.refused(KvError(.busy, "", retryAfterMilliseconds: wish)))
            #expect(run.now >= Duration.milliseconds(least) && run.now <= Duration.milliseconds(most))
        }
    }

    @Test func aPauseThatWouldOutlastTheOperationEndsIt() throws {
        var run = Run()
        _ = try run.begin()
        run.now = .milliseconds(9_999)
        #expect(run.refused(.unavailable) == .failed(CallFailure(.unavailable, "why")))
    }

    @Test func nothingIsAskedAfterTheEnd() throws {
        var run = Run()
        _ = try run.begin()
        run.now = .seconds(10)
        #expect(code(run.refused(KvError(.notLeader, "", leader: "c:1"))) == .unavailable)
    }

    @Test func whoIsCancelledHearsWhatIsKnown() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        _ = run.heard(.notSent)
        #expect(code(run.call.cancelled(&run.state)) == .unavailable)
        var other = Run(isWrite: true)
        _ = try other.begin()
        _ = other.heard(.lost)
        #expect(code(other.call.cancelled(&other.state)) == .outcomeUnknown)
    }

    // MARK: - What is final

    @Test(arguments: [
        (KvError.Code.invalidArgument, CallFailure.Code.invalidArgument), (.noSpace, .noSpace),
        (.internal, .internal),
    ])
    func whatNobodyElseWouldSayOtherwiseIsFinal(_ said: KvError.Code, _ expected: CallFailure.Code) throws {
        for isWrite in [false, true] {
            var run = Run(isWrite: isWrite)
            _ = try run.begin()
            #expect(run.refused(said) == .failed(CallFailure(expected, "why")))
        }
    }

    @Test(arguments: [
        KvError.Code.notLeader, .noLeader, .wrongGroup, .busy, .unavailable, .notFound, .failedPrecondition,
    ])
    func aRefusalOfOneNodeIsTriedAgainAndNothingWasDone(_ code: KvError.Code) throws {
        var run = Run(isWrite: true)
        let asked = try run.begin()
        var step = run.refused(code)
        if case .askMap = step {
            step = run.call.mapMissing(CallFailure(.unavailable, ""), &run.state, now: run.now)
        }
        // Under the same number: the server executes it once.
        #expect(try run.goOn(step).stamp == asked.stamp)
        run.now = .seconds(10)
        #expect(self.code(run.refused(.unavailable)) == .unavailable)
    }

    // MARK: - What is known of a write

    @Test func aWriteThatNeverLeftWasNotDone() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        run.now = .seconds(10)
        #expect(code(run.heard(.notSent)) == .unavailable)
    }

    @Test func aReadThatWasLostHasNoOutcomeToBeUnknown() throws {
        var run = Run()
        _ = try run.begin()
        _ = try run.goOn(run.heard(.lost))
        #expect(code(run.refused(.noSpace)) == .noSpace)
        var other = Run()
        _ = try other.begin()
        other.now = .seconds(10)
        #expect(code(other.heard(.lost)) == .unavailable)
    }

    @Test func aWriteThatWasLostIsAnsweredByItsSession() throws {
        var run = Run(isWrite: true)
        let asked = try run.begin()
        let again = try run.goOn(run.heard(.lost))
        #expect(again.stamp == asked.stamp)
        #expect(run.heard(written) == .done(.written(.put)))
    }

    /// A new sender's code, or a leader that lost its office: as good as an answer that was lost.
    @Test(arguments: [
        AskOutcome.lost, .answered(KvResponse(id: 0, KvError(.outcomeUnknown, ""))),
        .answered(KvResponse(id: 0, KvError(.unknown, ""))),
    ])
    func noRefusalProvesThatALostAttemptDidNothing(_ loss: AskOutcome) throws {
        for refusal in KvError.Code.allCases {
            var run = Run(isWrite: true)
            _ = try run.begin()
            _ = try run.goOn(run.heard(loss))
            run.now = .milliseconds(9_999)
            var step = run.refused(refusal, logTime: 5)
            if case .askMap = step {
                step = run.call.mapMissing(CallFailure(.unavailable, ""), &run.state, now: run.now)
            }
            // A hint is followed at once, and there is time for it.
            if case .ask = step { step = run.heard(.notSent) }
            #expect(code(step) == .outcomeUnknown, "\(refusal): \(step)")
        }
    }

    // MARK: - Sessions

    @Test func aSessionThatDoesNotFitTheShardsTimeIsReplaced() throws {
        var run = Run(isWrite: true)
        let asked = try run.begin()
        #expect(run.refused(.sessionExpired, logTime: 9_000_000) == .openSession)
        let token = [UInt8](repeating: 2, count: 16)
        let again = try run.goOn(run.call.opened(token, &run.state, now: run.now))
        #expect(again.stamp == SessionStamp(token: token, end: 9_060_000, sequence: 1, lowestUnanswered: 1))
        #expect(asked.stamp?.end == 1_060_000)
        #expect(run.heard(written) == .done(.written(.put)))
    }

    @Test func aSessionIsReplacedThreeTimes() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        for renewal in 0..<3 {
            #expect(run.refused(.sessionExpired, logTime: 9_000_000) == .openSession)
            let token = [UInt8](repeating: UInt8(renewal), count: 16)
            _ = try run.goOn(run.call.opened(token, &run.state, now: run.now))
        }
        #expect(code(run.refused(.sessionExpired, logTime: 9_000_000)) == .unavailable)
    }

    @Test func aSessionThatEndsWithoutATimeToFollowEndsTheWrite() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        #expect(code(run.refused(.sessionExpired)) == .unavailable)
    }

    /// In another session it would be another write.
    @Test func aLostWriteIsNotRepeatedInAnotherSession() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        _ = try run.goOn(run.heard(.lost))
        #expect(code(run.refused(.sessionExpired, logTime: 9_000_000)) == .outcomeUnknown)
    }

    @Test func aWriteThatIsOverNeedsItsAnswerNoLonger() throws {
        var run = Run(isWrite: true)
        _ = try run.begin()
        _ = run.heard(written)
        run.call = KvCall(.key([1]), isWrite: true, end: .seconds(10))
        #expect(try run.begin().stamp?.lowestUnanswered == 2)
        // However it ended.
        _ = run.refused(.noSpace)
        run.call = KvCall(.key([1]), isWrite: true, end: .seconds(10))
        #expect(try run.begin().stamp?.lowestUnanswered == 3)
    }
}
