internal import Bytes
package import Keyspace

/// One operation on keys, from the moment it was asked for until it has a result or no more time, in as many attempts as
/// it takes: whom to ask, when to ask the controller for a newer map, how long to wait in between, and what can be said
/// at the end.
///
/// Every input answers with the next `Step`. The caller carries it out, and says what came of it:
///
///     begin ──> ask ──> heard         askMap ──> mapArrived, mapMissing
///               openSession ──> opened     wait ──> woken           done, failed: over
///
/// A write may be executed as soon as one of its attempts was lost: no refusal after that proves that it wasn't, since
/// the lost one may still be on its way. It then ends with an answer of its session, or as `outcomeUnknown`.
package struct KvCall: Sendable {
    package enum Subject: Sendable {
        case key([UInt8])
        case shard(ShardID)
    }

    /// What to send to whom.
    package struct Ask: Sendable, Equatable {
        package var address: String
        package var group: GroupID
        /// The number of the map by which the group was chosen.
        package var config: UInt64
        /// The map's cluster, as requests say it.
        package var cluster: UInt64 = 0
        /// Of a write.
        package var stamp: SessionStamp?
        package var patience: Patience
    }

    package enum Step: Sendable, Equatable {
        case ask(Ask)
        /// The controller's newest map.
        case askMap(until: Duration)
        /// 16 random bytes, for a session.
        case openSession
        case wait(until: Duration)
        case done(KvResponse.Result)
        case failed(CallFailure)
    }

    private enum Phase {
        case new, asking(Ask), opening, waiting, over
        /// The pause that follows; `nil`: it's the first map, without which nothing can be asked.
        case askingForMap(pause: Duration?)
    }

    private let subject: Subject
    private let isWrite: Bool
    /// An attempt without an answer may have done something.
    private let changes: Bool
    private let end: Duration
    private var phase = Phase.new
    /// This machine's time, in Unix milliseconds, when the operation began.
    private var wallAtStart: UInt64 = 0
    private var start: Duration = .zero
    private var chase = LeaderChase()
    private var write: SessionTable.Write?
    private var renewals = 0
    /// Attempts without a result, in this session.
    private var failures = 0
    /// An attempt was lost, or its fate is unknown to the server that had it.
    private var mayHaveRun = false
    private var reason = "no answer in time"

    private static let renewalsMax = 3
    /// So many hints are followed at once; later ones after a pause, since two nodes may point at each other.
    private static let promptHintsMax = 3
    /// After so many failures a map is asked for: a group may have moved as a whole while its nodes can't be reached.
    private static let failuresPerMap = 8
    /// Longer wishes of servers are cut: who waits must not depend on what anybody says.
    private static let retryAfterMax: Duration = .seconds(1)
    /// An attempt that can't last so long would only leave its outcome unknown.
    private static let attemptMinUsual: Duration = .milliseconds(250)
    private static let withoutGroup: Duration = .milliseconds(50)
    private static let noMap = "the controller has no shard map yet"

    /// - Parameters:
    ///   - isWrite: it has a stamp of its session, so that a retry executes once.
    ///   - changes: an attempt without an answer may have done something all the same; `nil`: as a write does.
    ///   - end: when the operation fails at the latest.
    package init(_ subject: Subject, isWrite: Bool, changes: Bool? = nil, end: Duration) {
        self.subject = subject
        self.isWrite = isWrite
        self.changes = changes ?? isWrite
        self.end = end
    }

    // MARK: - Inputs

    /// - Parameter wall: this machine's time, in Unix milliseconds.
    package mutating func begin(_ state: inout ClientState, now: Duration, wall: UInt64) -> Step {
        invariant(isNew, "an operation begins twice")
        (start, wallAtStart) = (now, wall)
        return proceed(&state, now)
    }

    /// What came of an `ask`.
    package mutating func heard(_ outcome: AskOutcome, _ state: inout ClientState, now: Duration) -> Step {
        guard case .asking(let ask) = phase else { invariantFailure("an answer, and nobody was asked: \(outcome)") }
        switch outcome {
        case .answered(let response):
            if case .failed(let error) = response.result { return refused(error, by: ask, &state, now) }
            state.routes.leads(ask.address, in: ask.group)
            return finish(.done(response.result), &state)
        case .lost:
            mayHaveRun = true
            reason = "\(ask.address) doesn't answer"
        case .notSent: reason = "\(ask.address) can't be reached"
        }
        denies(ask, hint: "", &state)
        return again(after: backoff, &state, now)
    }

    /// What came of `askMap`.
    package mutating func mapArrived(_ map: ShardMap, _ state: inout ClientState, now: Duration) -> Step {
        state.routes.adopt(map)
        if case .askingForMap(nil) = phase, state.routes.isEmpty {
            reason = Self.noMap
            return pause(Self.withoutGroup, &state, now)
        }
        return afterMap(&state, now)
    }

    /// The controller has not answered `askMap`.
    package mutating func mapMissing(_ failure: CallFailure, _ state: inout ClientState, now: Duration) -> Step {
        if case .askingForMap(nil) = phase, state.routes.isEmpty { return finish(.failed(failure), &state) }
        return afterMap(&state, now)
    }

    /// What came of `openSession`.
    package mutating func opened(_ token: [UInt8], _ state: inout ClientState, now: Duration) -> Step {
        guard case .opening = phase else { invariantFailure("a token, and nobody has asked for it") }
        guard let shard = shard(state.routes) else { return proceed(&state, now) }
        write = state.sessions.open(token, in: shard, wall: wall(now))
        return proceed(&state, now)
    }

    /// The time of a `wait` has come.
    package mutating func woken(_ state: inout ClientState, now: Duration) -> Step {
        guard case .waiting = phase else { invariantFailure("woken, and not asleep") }
        return proceed(&state, now)
    }

    /// The caller wants no result any more. To be said instead of `woken`: a request that has left is waited for.
    package mutating func cancelled(_ state: inout ClientState) -> Step {
        reason = "the operation was cancelled; \(reason)"
        return giveUp(&state)
    }

    // MARK: - Steps

    private mutating func proceed(_ state: inout ClientState, _ now: Duration) -> Step {
        guard now < end else { return giveUp(&state) }
        guard let shard = shard(state.routes) else {
            phase = .askingForMap(pause: nil)
            _ = state.mustAskForMap(beyond: nil, now: now)
            return .askMap(until: end)
        }
        if isWrite, write == nil {
            write = state.sessions.begin(in: shard, wall: wall(now))
            guard write != nil else {
                phase = .opening
                return .openSession
            }
        }
        guard let group = state.routes.group(of: shard), let address = node(of: group, &state) else {
            reason = "no group serves the key's shard yet; join one with `controller join`"
            return again(after: Self.withoutGroup, mapBeyond: .some(nil), &state, now)
        }
        let ask = Ask(
            address: address, group: group, config: state.routes.number, cluster: state.routes.cluster,
            stamp: write.map { state.sessions.stamp($0) },
            patience: Patience(silence: state.attemptPatience, end: end))
        phase = .asking(ask)
        return .ask(ask)
    }

    /// The next of the round, or the first of another one; `nil`: the map knows no node of the group.
    private mutating func node(of group: GroupID, _ state: inout ClientState) -> String? {
        if let address = state.routes.node(of: group, chase) { return address }
        chase.startRound()
        return state.routes.node(of: group, chase)
    }

    private mutating func refused(
        _ error: KvError, by ask: Ask, _ state: inout ClientState, _ now: Duration
    ) -> Step {
        reason = error.message
        let wish = min(Self.retryAfterMax, .milliseconds(Int64(error.retryAfterMilliseconds)))
        switch error.code {
        case .invalidArgument: return refusedForGood(.invalidArgument, error.message, &state)
        case .noSpace: return refusedForGood(.noSpace, error.message, &state)
        case .internal: return refusedForGood(.internal, error.message, &state)
        case .sessionExpired: return sessionExpired(error, &state, now)
        case .notLeader:
            denies(ask, hint: error.leader, &state)
            let isPrompt = !error.leader.isEmpty && failures < Self.promptHintsMax
            return again(after: isPrompt ? .zero : backoff, &state, now)
        case .wrongGroup: return again(after: max(backoff, wish), mapBeyond: .some(ask.config), &state, now)
        case .busy:
            let isOutdated = error.config > ask.config
            return again(after: max(backoff, wish), mapBeyond: isOutdated ? .some(ask.config) : nil, &state, now)
        case .outcomeUnknown:
            mayHaveRun = true
            return again(after: backoff, &state, now)
        case .unknown:
            // Whoever says what this program doesn't know may have executed it.
            mayHaveRun = true
            denies(ask, hint: "", &state)
            return again(after: backoff, &state, now)
        case .noLeader, .unavailable, .notFound, .failedPrecondition:
            denies(ask, hint: "", &state)
            return again(after: backoff, &state, now)
        }
    }

    /// Nobody else would say otherwise, so it isn't tried again.
    private mutating func refusedForGood(
        _ code: CallFailure.Code, _ message: String, _ state: inout ClientState
    ) -> Step {
        guard changes, mayHaveRun else { return finish(.failed(CallFailure(code, message)), &state) }
        let sentence = "it may or may not have been executed; now: \(message)"
        return finish(.failed(CallFailure(.outcomeUnknown, sentence)), &state)
    }

    /// The session doesn't fit the shard's time. If no attempt was lost, nothing was done in it, and another session is
    /// no second execution.
    private mutating func sessionExpired(_ error: KvError, _ state: inout ClientState, _ now: Duration) -> Step {
        if isWrite, mayHaveRun {
            let sentence = "the session ended before the write was answered"
            return finish(.failed(CallFailure(.outcomeUnknown, sentence)), &state)
        }
        guard let write, error.logTime > 0 else {
            let sentence =
                "the session is over by the group's clock, and nothing was done; if it is new, the clocks of this machine "
                + "and of the group's leader differ by more than a session lasts"
            return finish(.failed(CallFailure(.unavailable, sentence)), &state)
        }
        guard renewals < Self.renewalsMax else {
            return finish(.failed(CallFailure(.unavailable, error.message)), &state)
        }
        renewals += 1
        failures = 0
        state.sessions.follow(error.logTime, refusing: write, wall: wall(now))
        state.sessions.finish(write)
        self.write = nil
        return proceed(&state, now)
    }

    /// Counts a failure, asks for a map if one may help, and pauses.
    ///
    /// - Parameter number: a map above this one is wanted, or any newer one (`.some(nil)`).
    private mutating func again(
        after pause: Duration, mapBeyond number: UInt64?? = nil, _ state: inout ClientState, _ now: Duration
    ) -> Step {
        failures += 1
        var wanted = number
        if failures % Self.failuresPerMap == 0 { wanted = .some(nil) }
        if let wanted, now < end, state.mustAskForMap(beyond: wanted, now: now) {
            phase = .askingForMap(pause: pause)
            return .askMap(until: min(end, now + ClientState.mapPatience))
        }
        return self.pause(pause, &state, now)
    }

    private mutating func afterMap(_ state: inout ClientState, _ now: Duration) -> Step {
        guard case .askingForMap(let pause) = phase else { invariantFailure("a map, and nobody has asked for it") }
        guard let pause else { return proceed(&state, now) }
        return self.pause(pause, &state, now)
    }

    /// A pause that would outlast the operation ends it now.
    private mutating func pause(_ pause: Duration, _ state: inout ClientState, _ now: Duration) -> Step {
        guard pause > .zero else { return proceed(&state, now) }
        let until = now + state.jitter.spread(pause)
        guard until + min(Self.attemptMinUsual, (end - start) / 4) < end else { return giveUp(&state) }
        phase = .waiting
        return .wait(until: until)
    }

    /// 2 ms after the first failure, then twice as long each time up to 128 ms.
    private var backoff: Duration { .milliseconds(2 << min(failures, 6)) }

    private mutating func denies(_ ask: Ask, hint: String, _ state: inout ClientState) {
        chase.denies(ask.address)
        state.routes.doesNotLead(ask.address, in: ask.group, hint: hint)
    }

    private mutating func giveUp(_ state: inout ClientState) -> Step {
        guard changes, mayHaveRun else { return finish(.failed(CallFailure(.unavailable, reason)), &state) }
        let sentence = "it may or may not have been executed: \(reason)"
        return finish(.failed(CallFailure(.outcomeUnknown, sentence)), &state)
    }

    private mutating func finish(_ step: Step, _ state: inout ClientState) -> Step {
        phase = .over
        if let write { state.sessions.finish(write) }
        write = nil
        return step
    }

    // MARK: - Questions

    private var isNew: Bool {
        if case .new = phase { return true }
        return false
    }

    /// A write stays with the shard in whose session it was begun.
    private func shard(_ routes: RoutingTable) -> ShardID? {
        if let write { return write.shard }
        switch subject {
        case .key(let key): return routes.shard(of: key)
        case .shard(let shard): return routes.isEmpty ? nil : shard
        }
    }

    private func wall(_ now: Duration) -> UInt64 { wallAtStart &+ (now - start).wholeMilliseconds }
}
