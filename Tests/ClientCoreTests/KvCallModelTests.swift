import ClientCore
import Keyspace
import Testing

/// A write against servers that lose, delay, refuse and forget at random, and know what they have executed.
@Suite struct KvCallModelTests {
    /// What the group of a shard has executed of one write, in whatever session it came.
    private struct Group {
        private struct Sent: Hashable {
            var token: [UInt8]
            var sequence: UInt64
        }

        /// In milliseconds. Ahead of the client's clock or behind it, and sometimes it jumps.
        var logTime: UInt64
        private var executed: Set<Sent> = []
        var executions = 0

        init(logTime: UInt64) { self.logTime = logTime }

        /// As a leader that takes the request to its log.
        mutating func execute(_ stamp: SessionStamp) -> KvResponse.Result {
            guard stamp.end > logTime, stamp.end < logTime + 90_000_000 else {
                return .failed(KvError(.sessionExpired, "expired", logTime: logTime))
            }
            if executed.insert(Sent(token: stamp.token, sequence: stamp.sequence)).inserted { executions += 1 }
            return .written(.put)
        }
    }

    private struct World {
        var random: SeededRandom
        var state: ClientState
        var group: Group
        var now: Duration = .zero
        var map: UInt64 = 1
        /// Requests that were lost for the client, and are still on their way.
        var underWay: [SessionStamp] = []
        var asks = 0
        var tokens: UInt8 = 0
        /// In percent.
        let losses: Int
        let refusals: Int
        /// What is refused with.
        let codes: [KvError.Code]

        static let refusing: [KvError.Code] = [
            .notLeader, .noLeader, .wrongGroup, .busy, .unavailable, .invalidArgument, .noSpace, .notFound,
            .failedPrecondition, .sessionExpired, .internal,
        ]

        init(_ seed: Int) {
            random = SeededRandom(seed)
            let skew = [0, 0, -100_000_000, 100_000_000][random.below(4)]
            group = Group(logTime: UInt64(1_000_000_000 + skew))
            state = ClientState(
                attemptPatience: .milliseconds(1_500), sessionLifetime: .seconds(60), seed: UInt64(seed))
            losses = [0, 5, 30, 60][random.below(4)]
            refusals = [0, 20, 50, 90][random.below(4)]
            codes = random.below(5) == 0 ? [.sessionExpired] : World.refusing
        }

        mutating func flip(_ percent: Int) -> Bool { random.below(100) < percent }

        mutating func deliverSomething() {
            guard !underWay.isEmpty, flip(30) else { return }
            _ = group.execute(underWay.remove(at: random.below(underWay.count)))
        }

        mutating func ask(_ stamp: SessionStamp, until: Duration) -> AskOutcome {
            asks += 1
            deliverSomething()
            // Somebody's clock was set.
            if flip(2) { group.logTime += UInt64(random.below(200_000_000)) }
            if flip(losses / 2) { return .notSent }
            if flip(losses) {
                switch random.below(3) {
                case 0: _ = group.execute(stamp)
                case 1: underWay.append(stamp)
                default: break
                }
                now = until
                return .lost
            }
            now = min(until, now + .milliseconds(random.below(100)))
            if flip(losses / 4) {
                // The leader has lost its office, or says what this client doesn't know.
                if flip(50) { _ = group.execute(stamp) } else { underWay.append(stamp) }
                return .answered(KvResponse(id: 0, KvError(flip(50) ? .outcomeUnknown : .unknown, "unknown")))
            }
            if flip(refusals) {
                let code = codes[random.below(codes.count)]
                let hint = ["", "a:1", "b:1", "c:1", "d:1"][random.below(5)]
                return .answered(
                    KvResponse(
                        id: 0,
                        KvError(
                            code, "refused", leader: hint, config: UInt64(random.below(5)),
                            retryAfterMilliseconds: flip(5) ? .max : UInt32(random.below(100)),
                            logTime: flip(50) ? 0 : group.logTime)))
            }
            return .answered(KvResponse(id: 0, group.execute(stamp)))
        }

        mutating func newestMap() -> ShardMap {
            map += UInt64(random.below(2))
            return ShardMap(
                number: map, clusterID: [],
                groups: [
                    100: ShardMap.Group(addresses: ["a:1", "b:1", "c:1"]), 101: ShardMap.Group(addresses: ["d:1"]),
                ],
                shards: [ShardMap.Row(gid: [100, 100, 101, 0][random.below(4)], epoch: 1)])
        }
    }

    @Test(arguments: 0..<40)
    func whatIsSaidOfAWriteIsTrue(_ hundreds: Int) {
        for seed in (hundreds * 500)..<((hundreds + 1) * 500) {
            var world = World(seed)
            let end = world.now + [.milliseconds(50), .seconds(1), .seconds(10)][world.random.below(3)]
            var call = KvCall(.key([1]), isWrite: true, end: end)
            var step = call.begin(&world.state, now: world.now, wall: 1_000_000_000)
            var last: CallFailure?
            var isDone = false
            var steps = 0
            while last == nil, !isDone {
                steps += 1
                guard steps < 20_000 else {
                    Issue.record("seed \(seed): no end")
                    break
                }
                switch step {
                case .ask(let ask):
                    let until = min(world.now + ask.patience.silence, ask.patience.end)
                    guard let stamp = ask.stamp, until <= end, until > world.now else {
                        Issue.record("seed \(seed): \(ask) at \(world.now), and the end is \(end)")
                        return
                    }
                    let outcome = world.ask(stamp, until: until)
                    step = call.heard(outcome, &world.state, now: world.now)
                case .askMap(let until):
                    #expect(until <= end, "seed \(seed)")
                    if world.flip(20) {
                        world.now = until
                        let failure = CallFailure(.unavailable, "no controller answers")
                        step = call.mapMissing(failure, &world.state, now: world.now)
                    } else {
                        step = call.mapArrived(world.newestMap(), &world.state, now: world.now)
                    }
                case .openSession:
                    world.tokens += 1
                    step = call.opened([UInt8](repeating: world.tokens, count: 16), &world.state, now: world.now)
                case .wait(let until):
                    #expect(until > world.now && until < end, "seed \(seed)")
                    world.now = until
                    world.deliverSomething()
                    step = call.woken(&world.state, now: world.now)
                case .done: isDone = true
                case .failed(let failure): last = failure
                }
            }
            #expect(world.now <= end, "seed \(seed): over at \(world.now), and the end is \(end)")
            // Whatever is still on its way arrives, and may be executed now.
            for stamp in world.underWay { _ = world.group.execute(stamp) }
            #expect(world.group.executions <= 1, "seed \(seed): executed \(world.group.executions) times")
            #expect(world.tokens <= 4, "seed \(seed): \(world.tokens) sessions")
            if isDone { #expect(world.group.executions == 1, "seed \(seed): done, and not executed") }
            if let last, last.code != .outcomeUnknown {
                #expect(world.group.executions == 0, "seed \(seed): executed, and said to have failed: \(last)")
            }
            // The session is free for those that come after.
            #expect(world.state.sessions.retireAll().count <= 1)
        }
    }
}
