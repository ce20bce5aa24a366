import ClientCore
import Keyspace
import Testing

/// A change against controllers that lose, delay and refuse at random, and know what they have executed.
@Suite struct ControllerCallModelTests {
    private static let refusing: [KvError.Code] = [
        .notLeader, .noLeader, .busy, .unavailable, .invalidArgument, .notFound, .failedPrecondition,
    ]

    @Test(arguments: 0..<20)
    func whatIsSaidOfAChangeIsTrue(_ hundreds: Int) {
        for seed in (hundreds * 500)..<((hundreds + 1) * 500) {
            var random = SeededRandom(seed)
            let (losses, refusals) = ([0, 10, 40][random.below(3)], [0, 30, 80][random.below(3)])
            let within = [Duration.milliseconds(300), .seconds(1), .seconds(10)][random.below(3)]
            var state = ControllerState(seed: UInt64(seed))
            var now = Duration.seconds(5)
            let end = now + within
            var call = ControllerCall(endpoints: ["a:1", "b:1", "c:1"], changes: true, now: now, within: within)
            var step = call.begin(&state, now: now)
            // One request id, so the controller executes it once; what is under way may be executed later.
            var (isExecuted, isUnderWay, isDone) = (false, false, false)
            var failure: CallFailure?
            var steps = 0
            while failure == nil, !isDone {
                steps += 1
                guard steps < 20_000 else {
                    Issue.record("seed \(seed): no end")
                    break
                }
                switch step {
                case .ask(_, let patience):
                    #expect(patience > .zero && now + patience <= end, "seed \(seed)")
                    if random.below(100) < losses {
                        let hasLeft = random.below(3) > 0
                        if hasLeft { if random.below(2) == 0 { isExecuted = true } else { isUnderWay = true } }
                        now += random.below(2) == 0 ? patience : .zero
                        step = call.silent(hasLeft: hasLeft, &state, now: now)
                    } else if random.below(100) < refusals {
                        let code = Self.refusing[random.below(Self.refusing.count)]
                        let hint = ["", "nowhere", "a:1", "b:1", "d:1"][random.below(5)]
                        step = call.refused(KvError(code, "refused", leader: hint), &state, now: now)
                    } else if random.below(100) < losses / 2 {
                        isUnderWay = true
                        step = call.refused(KvError(.outcomeUnknown, "unknown"), &state, now: now)
                    } else {
                        isExecuted = true
                        call.answered(&state)
                        isDone = true
                    }
                case .wait(let until):
                    #expect(until > now && until < end, "seed \(seed)")
                    now = until
                    step = call.woken(&state, now: now)
                case .failed(let last): failure = last
                }
            }
            #expect(now <= end, "seed \(seed): over at \(now), and the end is \(end)")
            if let failure, failure.code != .outcomeUnknown {
                #expect(!isExecuted && !isUnderWay, "seed \(seed): may be done, and said to have failed: \(failure)")
            }
        }
    }
}
