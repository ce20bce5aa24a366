package import Keyspace

/// What the operations of one client share: where keys live, the sessions of its writes, and when a map was asked for.
///
/// Times are since any moment that stays the same, except for `wall`, which is Unix milliseconds: sessions end by it.
package struct ClientState: Sendable {
    package var routes = RoutingTable()
    package var sessions: SessionTable
    /// One attempt is given up, and another node tried, after this long.
    let attemptPatience: Duration
    var jitter: Jitter
    /// `nil`: never.
    private var mapAskedAt: Duration?

    /// Concurrent operations that learn of the same change ask once.
    private static let mapInterval: Duration = .milliseconds(20)
    /// How long somebody who has a map waits for a newer one: it can do without the controller, and must not spend an
    /// operation's time on waiting for it.
    package static let mapPatience: Duration = .milliseconds(300)

    /// - Parameters:
    ///   - sessionLifetime: at most 25 hours, or the servers refuse.
    ///   - seed: of the pauses between attempts.
    package init(attemptPatience: Duration, sessionLifetime: Duration, seed: UInt64) {
        self.attemptPatience = attemptPatience
        sessions = SessionTable(lifetime: sessionLifetime.wholeMilliseconds)
        jitter = Jitter(seed: seed)
    }

    /// Whether to ask the controller for a map now; not if one above `number` is here already, or somebody has asked just
    /// now. Who is told to ask counts as having asked.
    package mutating func mustAskForMap(beyond number: UInt64?, now: Duration) -> Bool {
        if let number, routes.number > number { return false }
        if !routes.isEmpty, let mapAskedAt, now - mapAskedAt < Self.mapInterval { return false }
        mapAskedAt = now
        return true
    }
}

/// What became of a request that was to be sent to a node.
package enum AskOutcome: Sendable, Equatable {
    case answered(KvResponse)
    /// It never left this process.
    case notSent
    /// It left, or may have left; no answer came. It may be executed, now or later.
    case lost
}

/// How long an answer is waited for.
package struct Patience: Sendable, Equatable {
    /// A node that says nothing for so long, to anybody who waits for it, is given up.
    package var silence: Duration
    /// The answer is of no use any more.
    package var end: Duration

    package init(silence: Duration, end: Duration) {
        self.silence = silence
        self.end = end
    }
}
