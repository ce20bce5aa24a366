internal import Bytes
package import Engines
public import Keyspace
public import RaftLog

/// What a controller's node does by itself while it leads: it writes the first map, lets time pass when a hold is due to
/// end, and wakes who waits for a newer map.
///
/// A value without time or I/O. Every input answers with the steps to carry out; the shell says when `wakeAt` has come.
/// While a node leads nothing changes but by its own commands, so that whoever waits is woken by their end and nothing is looked
/// at again and again.
public struct ControllerCore: Sendable {
    public enum Step: Sendable, Equatable {
        /// What has the group decided, with all that was committed before? Answer with `looked`, or `sawNothing` if that can't be said now.
        case look
        /// Answer with `proposed`, whatever came of it.
        case propose(ControllerCommand)
        /// Whoever waits under the number is to look for itself, by a read that the group confirms.
        case release(UInt64)
    }

    /// What a look shows.
    public struct Sight: Sendable, Equatable {
        /// The newest map's number; `nil` before the first.
        public var number: UInt64?
        /// The hold on moves.
        public var hold: MoveHold?
        /// Of the last entry that is applied.
        public var logTime: Milliseconds

        public init(number: UInt64? = nil, hold: MoveHold? = nil, logTime: Milliseconds = 0) {
            self.number = number
            self.hold = hold
            self.logTime = logTime
        }

        /// What a view of the controller's group says.
        package init(_ layout: GroupLayout, in view: any ReadView) throws(EngineError) {
            number = try ControllerMachine.map(number: nil, layout: layout, in: view)?.number
            hold = try ControllerMachine.hold(layout: layout, in: view)
            logTime = try GroupStorageRows.load(layout, in: view).applied.logTime
        }
    }

    private struct Waiter: Sendable {
        /// `nil`: any map is news.
        var newerThan: UInt64?
        var until: Milliseconds
    }

    /// A command that changed nothing is not repeated at once.
    private static let rest: Milliseconds = 100
    /// Nobody is kept waiting longer.
    public static let waitMax: Milliseconds = 60_000
    /// Who waits, beyond which the next is sent to look for itself at once.
    public static let waitersMax = 4_096
    /// While log time has passed and a hold goes on nevertheless: the group's clock is a quorum's.
    private static let holdRest: Milliseconds = 1_000

    private let shardCount: Int
    private var leads = false
    private var sight: Sight?
    private var isLooking = false
    /// The disk may show something else than what is being looked at.
    private var isStale = false
    /// When to look again after a look that came to nothing.
    private var lookAt: Milliseconds?
    private var isProposing = false
    /// No command of its own before this.
    private var restsUntil: Milliseconds = 0
    private var holds = HoldWatch()
    /// When log time has to pass for the hold that was seen last.
    private var holdIsDue: Milliseconds?
    private var waiters: [UInt64: Waiter] = [:]

    /// - Parameter shardCount: of the first map, for ever.
    public init(shardCount: Int) { self.shardCount = shardCount }

    /// When `woken` is to be called at the latest.
    public var wakeAt: Milliseconds? {
        var times = waiters.values.map(\.until)
        if leads, let lookAt { times.append(lookAt) }
        if leads, !isProposing {
            if let holdIsDue { times.append(max(holdIsDue, restsUntil)) }
            if let sight, sight.number == nil { times.append(restsUntil) }
        }
        return times.min()
    }

    // MARK: - Inputs

    /// - Parameter leads: the node leads, and an entry of its term is committed.
    public mutating func observe(leads: Bool) -> [Step] {
        guard leads != self.leads else { return [] }
        self.leads = leads
        sight = nil
        lookAt = nil
        holds = HoldWatch()
        holdIsDue = nil
        return leads ? look() : release { _ in true }
    }

    /// A command has been applied, or whether it was isn't known.
    public mutating func changed() -> [Step] { leads ? look() : [] }

    /// - Parameter clusterID: of the controller, for the first map.
    public mutating func looked(_ sight: Sight, clusterID: [UInt8], now: Milliseconds) -> [Step] {
        isLooking = false
        guard leads else { return [] }
        // It may be old already, and is true all the same.
        let again = isStale ? look() : []
        return take(sight, clusterID, now) + again
    }

    /// A look that came to nothing: the group may have no quorum now.
    public mutating func sawNothing(now: Milliseconds) -> [Step] {
        isLooking = false
        lookAt = leads ? now.addingClamped(Self.rest) : nil
        return []
    }

    private mutating func take(_ sight: Sight, _ clusterID: [UInt8], _ now: Milliseconds) -> [Step] {
        lookAt = nil
        self.sight = sight
        holdIsDue = holds.dueAt(sight.hold, logTime: sight.logTime, now: now)
        let steps = release { waiter in
            guard let number = sight.number else { return false }
            return waiter.newerThan.map { number > $0 } ?? true
        }
        guard !isProposing, restsUntil <= now else { return steps }
        if sight.number == nil {
            return steps + propose(.initialize(shardCount: shardCount, clusterID: clusterID))
        }
        if let holdIsDue, holdIsDue <= now {
            return steps + propose(.passTime)
        }
        return steps
    }

    /// The node's own command is over.
    public mutating func proposed(now: Milliseconds) -> [Step] {
        isProposing = false
        restsUntil = now.addingClamped(sight?.hold == nil ? Self.rest : Self.holdRest)
        return leads ? look() : []
    }

    /// Somebody waits, under a number of its own, for a map above `newerThan` (`nil`: for any): it is released when there is
    /// one, when the node leads no more, or when the time is up.
    public mutating func wait(
        _ number: UInt64, newerThan: UInt64?, until: Milliseconds, now: Milliseconds
    ) -> [Step] {
        let isNews = sight?.number.map { number in newerThan.map { number > $0 } ?? true } ?? false
        if !leads || isNews || until <= now || waiters.count >= Self.waitersMax {
            return [.release(number)]
        }
        waiters[number] = Waiter(newerThan: newerThan, until: min(until, now.addingClamped(Self.waitMax)))
        return []
    }

    /// Whoever waited has gone.
    public mutating func gone(_ number: UInt64) { waiters[number] = nil }

    /// Time has passed.
    public mutating func woken(now: Milliseconds) -> [Step] {
        let steps = release { $0.until <= now }
        if leads, let lookAt, lookAt <= now {
            self.lookAt = nil
            return steps + look()
        }
        guard leads, !isProposing, restsUntil <= now else { return steps }
        if let holdIsDue, holdIsDue <= now {
            self.holdIsDue = nil
            return steps + look()
        }
        return sight?.number == nil && sight != nil ? steps + look() : steps
    }

    // MARK: - Steps

    private mutating func look() -> [Step] {
        if isLooking {
            isStale = true
            return []
        }
        isLooking = true
        isStale = false
        return [.look]
    }

    private mutating func propose(_ command: ControllerCommand) -> [Step] {
        isProposing = true
        return [.propose(command)]
    }

    private mutating func release(_ isFree: (Waiter) -> Bool) -> [Step] {
        let free = waiters.filter { isFree($0.value) }.keys.sorted()
        for number in free { waiters[number] = nil }
        return free.map { .release($0) }
    }
}
