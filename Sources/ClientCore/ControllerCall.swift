package import Keyspace

/// What the calls of one client of the controller share.
package struct ControllerState: Sendable {
    /// Who answered last, or was hinted at.
    fileprivate var leader: String?
    fileprivate var turn = 0
    fileprivate var jitter: Jitter

    /// - Parameter seed: of the pauses between attempts.
    package init(seed: UInt64) { jitter = Jitter(seed: seed) }
}

/// One call to the controller: every attempt carries the same request, whose id lets the controller execute it once.
///
/// Every input answers with the next `Step`, as in `KvCall`.
package struct ControllerCall: Sendable {
    package enum Step: Sendable, Equatable {
        /// Ask the node, and wait for so long at most.
        case ask(address: String, patience: Duration)
        case wait(until: Duration)
        case failed(CallFailure)
    }

    private let endpoints: [String]
    private let changes: Bool
    private let end: Duration
    private let patience: Duration
    private var chase = LeaderChase()
    private var asked = ""
    /// An attempt had no answer, and may have changed something.
    private var mayHaveRun = false
    private var last = "no controller address is known; give --endpoints HOST:PORT,… or set FLOTILLA_ENDPOINTS"
    /// What the leader said while it couldn't do it: it explains more than the silence of the others.
    private var busy: String?
    private var isCutShort = false

    private static let patienceMax: Duration = .seconds(3)
    private static let patienceMin: Duration = .milliseconds(500)
    /// Between the nodes of the first round. Nothing has been heard of them yet.
    private static let firstPause: Duration = .milliseconds(5)
    private static let pause: Duration = .milliseconds(100)
    /// An attempt that can't last so long would only cover what was heard before with its own silence.
    private static let attemptMinUsual: Duration = .milliseconds(250)
    private let attemptMin: Duration

    /// - Parameters:
    ///   - endpoints: HOST:PORT of the controller's nodes.
    ///   - changes: an attempt that has no answer may have changed something that the caller must hear of.
    ///   - within: how long the call may take.
    package init(endpoints: [String], changes: Bool, now: Duration, within: Duration) {
        self.endpoints = endpoints
        self.changes = changes
        end = now + within
        attemptMin = min(Self.attemptMinUsual, within / 4)
        // Time for each, also when the first ones never answer.
        patience = min(Self.patienceMax, max(Self.patienceMin, within / max(1, endpoints.count)))
    }

    package mutating func begin(_ state: inout ControllerState, now: Duration) -> Step { proceed(&state, now) }

    package mutating func woken(_ state: inout ControllerState, now: Duration) -> Step { proceed(&state, now) }

    /// The caller wants no result any more.
    package mutating func cancelled() -> Step {
        last = "the call was cancelled; \(last)"
        return giveUp()
    }

    /// The node has done it. The call is over.
    package func answered(_ state: inout ControllerState) { state.leader = asked }

    package mutating func refused(_ error: KvError, _ state: inout ControllerState, now: Duration) -> Step {
        last = error.message
        switch error.code {
        case .invalidArgument: return refusedForGood(.invalidArgument)
        case .notFound: return refusedForGood(.notFound)
        case .failedPrecondition: return refusedForGood(.failedPrecondition)
        case .busy:
            // The leader's word: whoever else is asked only points at it.
            busy = error.message
            state.leader = asked
            return pause(Self.pause, &state, now)
        case .notLeader:
            busy = nil
            // A hint that can't be called is none.
            let hint = error.leader != asked && Address(toCall: error.leader) != nil ? error.leader : nil
            return denied(hint: hint, &state, now)
        case .outcomeUnknown, .unknown, .internal: mayHaveRun = true
        case .noLeader, .unavailable, .noSpace, .wrongGroup, .sessionExpired: break
        }
        busy = nil
        return denied(hint: nil, &state, now)
    }

    /// No answer that anybody who knows Flotilla has given.
    ///
    /// - Parameter hasLeft: the request may have reached the node.
    package mutating func silent(hasLeft: Bool, _ state: inout ControllerState, now: Duration) -> Step {
        if hasLeft { mayHaveRun = true }
        // The call's end cut it short: it says less than what a leader has said before.
        if !(isCutShort && busy != nil) {
            last = "no controller answers at \(endpoints.joined(separator: ", "))"
            busy = nil
        }
        return denied(hint: nil, &state, now)
    }

    // MARK: - Steps

    private mutating func proceed(_ state: inout ControllerState, _ now: Duration) -> Step {
        guard now < end, !endpoints.isEmpty else { return giveUp() }
        var found = chase.next(of: endpoints, leader: state.leader, turn: &state.turn)
        if found == nil {
            chase.startRound()
            found = chase.next(of: endpoints, leader: state.leader, turn: &state.turn)
        }
        guard let address = found else { return giveUp() }
        guard Address(toCall: address) != nil else {
            last = "\"\(address)\" is not an address; give HOST:PORT"
            return refusedForGood(.invalidArgument)
        }
        asked = address
        isCutShort = end - now < patience
        return .ask(address: address, patience: min(patience, end - now))
    }

    private mutating func denied(hint: String?, _ state: inout ControllerState, _ now: Duration) -> Step {
        chase.denies(asked)
        if let hint {
            state.leader = hint
            // Two nodes that point at each other are asked once a round.
            if chase.mayAsk(hint) { return proceed(&state, now) }
        } else if state.leader == asked {
            state.leader = nil
        }
        let isFirstRound = chase.rounds == 0 && endpoints.contains { chase.mayAsk($0) }
        return pause(isFirstRound ? Self.firstPause : Self.pause, &state, now)
    }

    private mutating func pause(_ pause: Duration, _ state: inout ControllerState, _ now: Duration) -> Step {
        let until = now + state.jitter.spread(pause)
        return until + attemptMin < end ? .wait(until: until) : giveUp()
    }

    /// Nobody else would say otherwise. After an attempt without an answer it proves nothing: that one may still be on
    /// its way.
    private func refusedForGood(_ code: CallFailure.Code) -> Step {
        changes && mayHaveRun ? giveUp() : .failed(CallFailure(code, last))
    }

    private func giveUp() -> Step {
        guard changes, mayHaveRun else { return .failed(CallFailure(.unavailable, busy ?? last)) }
        let sentence = "\(last); whether the request was carried out isn't known, see `query`"
        return .failed(CallFailure(.outcomeUnknown, sentence))
    }
}
