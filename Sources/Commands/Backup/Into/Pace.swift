/// At most so many keys a second, spread evenly. Times are since the run began.
package struct Pacer {
    private let interval: Duration?
    private var next: Duration = .zero
    /// What a pause may be made up for: longer than it takes to hear that time has passed.
    static let burst: Duration = .milliseconds(100)

    /// - Parameter perSecond: `nil` for no limit.
    package init(perSecond: Double?) { interval = perSecond.map { .seconds(1) / $0 } }

    package func isOpen(at now: Duration) -> Bool { interval == nil || next <= now }

    package mutating func take(at now: Duration) {
        guard let interval else { return }
        next = max(next, now - Self.burst) + interval
    }
}

/// How long a run goes on trying while nothing is answered. Times are since the run began.
package struct Patience {
    package enum Advice: Equatable {
        case tryAgain
        /// The same, and for the first time since the last answer.
        case tryAgainAndSay
        case giveUp
    }

    let limit: Duration
    private var answeredAt: Duration
    private var isWaiting = false

    package init(limit: Duration, at now: Duration) {
        self.limit = limit
        answeredAt = now
    }

    package mutating func failed(at now: Duration) -> Advice {
        guard now - answeredAt < limit else { return .giveUp }
        defer { isWaiting = true }
        return isWaiting ? .tryAgain : .tryAgainAndSay
    }

    /// Returns whether it had been waited for.
    package mutating func answered(at now: Duration) -> Bool {
        defer { isWaiting = false }
        answeredAt = now
        return isWaiting
    }
}
