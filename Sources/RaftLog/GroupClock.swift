internal import Bytes

/// One machine's clock, as steady as its monotonic one: what the wall clock jumps ahead is followed by a tenth of the time
/// that passes, and shown meanwhile (`ahead`). What it jumps back is followed at once, since log time never goes back. A
/// pure value; times in milliseconds.
public struct SteadyClock: Sendable {
    /// What the clock showed at `at` (monotonic); `nil` before the first look.
    private var base: (time: Milliseconds, at: Milliseconds)?
    /// How far the wall clock is ahead of what is shown.
    public private(set) var ahead: Int64 = 0
    private static let interval: Milliseconds = 100

    public init() {}

    /// The wall clock shows `wall`.
    public mutating func observe(wall: Milliseconds, now: Milliseconds) {
        // Beyond what a clock can show in this millennium a sum could overflow.
        let wall = min(wall, Self.timeMax)
        guard let base else { return self.base = (wall, now) }
        guard now >= base.at + Self.interval else { return }
        let passed = now - base.at
        let expected = base.time.addingClamped(passed)
        let followed = min(wall, expected.addingClamped(passed / 10))
        ahead = Int64(wall - followed)
        self.base = (followed, now)
    }

    /// 0 before the first look.
    public func time(_ now: Milliseconds) -> Milliseconds {
        base.map { $0.time.addingClamped(now - min(now, $0.at)) } ?? 0
    }

    /// The year 5138.
    static let timeMax: Milliseconds = 100_000_000_000_000
}

/// The time of a group: what the clocks of a quorum of its voters have reached. One clock that is wrong, be it the
/// leader's, moves nothing (decision 0023).
struct GroupClock: Sendable {
    var own = SteadyClock()
    /// What the others' clocks showed when they last answered.
    private var others: [ReplicaID: (time: Milliseconds, at: Milliseconds)] = [:]
    /// The latest stamp of the log, and when this replica came to know it.
    private var latest: (stamp: Milliseconds, at: Milliseconds) = (0, 0)
    /// Of the proposals of one moment all but the first have it for nothing.
    private var given: (stamp: Milliseconds, at: Milliseconds)?

    /// A leader hears a quorum within two election timeouts. A reading that is much older is perhaps of a clock that has
    /// been set right since, and would make a second one that is wrong a quorum.
    private static let readingAgeMax: Milliseconds = 5_000

    mutating func heard(_ replica: ReplicaID, _ time: Milliseconds, now: Milliseconds) {
        others[replica] = (min(time, SteadyClock.timeMax), now)
    }

    /// The log holds this stamp.
    mutating func saw(_ stamp: Milliseconds, now: Milliseconds) {
        if stamp > latest.stamp { latest = (stamp, now) }
    }

    /// A stamp for the leader's next entry. Where log time is ahead of the clocks, because they were wrong once, it goes on
    /// at half their speed until they have caught up: what waits for an end takes longer, and comes to its end.
    mutating func stamp(
        _ voters: @autoclosure () -> [ReplicaID], own id: ReplicaID, now: Milliseconds
    ) -> Milliseconds {
        if let given, given.at == now, given.stamp >= latest.stamp { return given.stamp }
        let stamp = freshStamp(voters(), own: id, now: now)
        given = (stamp, now)
        return stamp
    }

    private mutating func freshStamp(_ voters: [ReplicaID], own id: ReplicaID, now: Milliseconds) -> Milliseconds {
        let clocks = voters.map { voter in
            if voter == id { return own.time(now) }
            return others[voter].map { reading in
                let age = now - min(now, reading.at)
                return age <= Self.readingAgeMax ? reading.time.addingClamped(age) : 0
            } ?? 0
        }
        let time = clocks.sorted(by: >).dropFirst(voters.count / 2).first ?? 0
        if time >= latest.stamp {
            latest = (time, now)
            return time
        }
        // Of a stamp that no clock could give only what is there already.
        guard time > 0 else { return 0 }
        let passed = (now - min(now, latest.at)) / 2
        guard passed > 0 else { return latest.stamp }
        latest = (latest.stamp.addingClamped(passed), now)
        return latest.stamp
    }
}
