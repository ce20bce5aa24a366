import ClientCore
import Keyspace
import Testing

@Suite struct ControllerCallTests {
    private struct Run {
        var state = ControllerState(seed: 3)
        var call: ControllerCall
        var now: Duration = .zero
        var asked: [String] = []

        init(_ endpoints: [String] = ["a:1", "b:1", "c:1"], changes: Bool = true, within: Duration = .seconds(10)) {
            call = ControllerCall(endpoints: endpoints, changes: changes, now: .zero, within: within)
        }

        mutating func begin() -> ControllerCall.Step { note(call.begin(&state, now: now)) }
        mutating func refused(_ code: KvError.Code, leader: String = "") -> ControllerCall.Step {
            note(call.refused(KvError(code, "why", leader: leader), &state, now: now))
        }
        mutating func silent(hasLeft: Bool) -> ControllerCall.Step {
            note(call.silent(hasLeft: hasLeft, &state, now: now))
        }

        private mutating func note(_ first: ControllerCall.Step) -> ControllerCall.Step {
            var step = first
            if case .wait(let until) = step {
                now = until
                step = call.woken(&state, now: now)
            }
            if case .ask(let address, _) = step { asked.append(address) }
            return step
        }
    }

    private func code(_ step: ControllerCall.Step) -> CallFailure.Code? {
        guard case .failed(let failure) = step else { return nil }
        return failure.code
    }

    @Test func eachIsAskedOnceInARound() {
        var run = Run()
        _ = run.begin()
        for _ in 0..<5 { _ = run.silent(hasLeft: false) }
        #expect(run.asked == ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1"])
    }

    @Test func whoAnsweredIsAskedByTheNextCall() {
        var run = Run()
        _ = run.begin()
        _ = run.silent(hasLeft: false)
        run.call.answered(&run.state)
        run.call = ControllerCall(
            endpoints: ["a:1", "b:1", "c:1"], changes: false, now: .zero, within: .seconds(1))
        _ = run.begin()
        #expect(run.asked == ["a:1", "b:1", "b:1"])
    }

    /// The last attempt is cut short by the call's end, and its silence says nothing.
    @Test func whatALeaderHasSaidIsNotCoveredByTheSilenceOfAnAttemptThatWasCutShort() {
        var run = Run(changes: false, within: .seconds(10))
        _ = run.begin()
        _ = run.refused(.busy)
        run.now = .milliseconds(9_500)
        guard case .ask(_, let patience) = run.refused(.busy) else {
            Issue.record("no attempt is left")
            return
        }
        #expect(patience < .milliseconds(500))
        run.now = .seconds(10)
        #expect(run.silent(hasLeft: true) == .failed(CallFailure(.unavailable, "why")))
    }

    @Test func aHintIsFollowedAtOnce() {
        var run = Run()
        _ = run.begin()
        _ = run.refused(.notLeader, leader: "c:1")
        #expect(run.asked == ["a:1", "c:1"] && run.now == .zero)
    }

    @Test func twoThatPointAtEachOtherAreNotAskedWithoutAPause() {
        var run = Run(["a:1", "b:1"], within: .seconds(2))
        var step = run.begin()
        while case .ask(let address, _) = step {
            step = run.refused(.notLeader, leader: address == "a:1" ? "b:1" : "a:1")
        }
        #expect(code(step) == .unavailable)
        #expect(run.asked.count < 50)
    }

    @Test func aHintThatIsNoAddressIsNone() {
        var run = Run()
        _ = run.begin()
        _ = run.refused(.notLeader, leader: "nowhere")
        #expect(run.asked == ["a:1", "b:1"])
    }

    @Test func anEndpointThatIsNoAddressIsSaidSo() {
        var run = Run(["nowhere"])
        #expect(code(run.begin()) == .invalidArgument)
    }

    @Test func withoutAnEndpointNobodyIsAsked() {
        var run = Run([])
        #expect(code(run.begin()) == .unavailable)
    }

    @Test func allOfThemHaveTimeToAnswer() {
        var run = Run(within: .seconds(3))
        #expect(run.begin() == .ask(address: "a:1", patience: .seconds(1)))
        var long = Run(within: .seconds(60))
        #expect(long.begin() == .ask(address: "a:1", patience: .seconds(3)))
        var short = Run(within: .milliseconds(300))
        #expect(short.begin() == .ask(address: "a:1", patience: .milliseconds(300)))
    }

    @Test func aBusyLeaderIsAskedAgainAndItsReasonTold() {
        var run = Run(within: .seconds(1))
        var step = run.begin()
        while case .ask = step { step = run.refused(.busy) }
        #expect(step == .failed(CallFailure(.unavailable, "why")))
        #expect(Set(run.asked) == ["a:1"] && run.asked.count > 5)
    }

    @Test(arguments: [
        (KvError.Code.invalidArgument, CallFailure.Code.invalidArgument), (.notFound, .notFound),
        (.failedPrecondition, .failedPrecondition),
    ])
    func theLeadersRefusalIsFinal(_ said: KvError.Code, _ expected: CallFailure.Code) {
        var run = Run()
        _ = run.begin()
        #expect(run.refused(said) == .failed(CallFailure(expected, "why")))
        // After a lost attempt it proves nothing, where something was to be changed.
        var lost = Run()
        _ = lost.begin()
        _ = lost.silent(hasLeft: true)
        #expect(code(lost.refused(said)) == .outcomeUnknown)
        var question = Run(changes: false)
        _ = question.begin()
        _ = question.silent(hasLeft: true)
        #expect(code(question.refused(said)) == expected)
    }

    @Test func whatLeftAndHadNoAnswerMayHaveChangedSomething() {
        for (hasLeft, changes, expected) in [
            (true, true, CallFailure.Code.outcomeUnknown), (true, false, .unavailable), (false, true, .unavailable),
        ] {
            var run = Run(changes: changes, within: .seconds(1))
            var step = run.begin()
            while case .ask = step { step = run.silent(hasLeft: hasLeft && run.asked.count == 2) }
            #expect(code(step) == expected)
            #expect(run.now < .seconds(1))
        }
    }

    @Test(arguments: [KvError.Code.outcomeUnknown, .unknown, .internal])
    func aNodeThatDoesNotKnowMayHaveChangedSomething(_ said: KvError.Code) {
        var run = Run(within: .seconds(1))
        var step = run.begin()
        while case .ask = step { step = run.asked.count == 1 ? run.refused(said) : run.silent(hasLeft: false) }
        #expect(code(step) == .outcomeUnknown)
    }

    @Test func whoIsCancelledHearsWhatIsKnown() {
        var run = Run()
        _ = run.begin()
        #expect(code(run.call.cancelled()) == .unavailable)
        _ = run.silent(hasLeft: true)
        #expect(code(run.call.cancelled()) == .outcomeUnknown)
    }
}
