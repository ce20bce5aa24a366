internal import DequeModule

/// What a leader knows of one follower, and how fast it may send to it.
///
///     probe ──(answer)──> replicate ──(rejection, loss)──> probe
///       └──(log compacted)──> snapshot ──(installed)──> replicate
package struct Progress: Sendable {
    package enum State: Sendable, Equatable {
        /// One message at a time, until the follower's log is located.
        case probe
        /// Optimistic: the next message goes out before the previous is answered.
        case replicate
        /// Waits for a snapshot.
        case snapshot
    }

    package var state: State = .probe
    /// On the follower's disk, and equal to the leader's log.
    package var match: LogIndex = 0
    /// The next entry to send.
    var next: LogIndex
    /// A probe is on its way.
    var isPaused = false
    /// Older entries were asked for from the engine.
    var awaitsEntries = false
    /// Heard from since the last quorum check.
    var isActive = false
    /// When it last answered.
    var heardAt: Milliseconds = 0
    /// The newest read round that it has confirmed.
    package var confirmedRound: UInt64 = 0
    /// Last index and bytes of each append that is not answered yet.
    private(set) var inflight: Deque<(last: LogIndex, bytes: Int)> = []
    private(set) var inflightBytes = 0
    /// The newest commit index that it was told.
    package var announcedCommit: LogIndex = 0
    /// `match` at the last heartbeat: unchanged for a whole interval means that an append was lost.
    var matchAtHeartbeat: LogIndex = 0
    /// Heartbeats in a row without an answer to what was sent.
    var standingIntervals = 0

    /// Appends that are in flight although the follower has answered them, or something after them.
    package var answeredInFlight: Int { inflight.count { $0.last <= match } }

    /// Appends that are in flight.
    package var inFlight: Int { inflight.count }

    package init(next: LogIndex) { self.next = next }

    mutating func sent(through last: LogIndex, bytes: Int) {
        inflight.append((last, bytes))
        inflightBytes += bytes
    }

    mutating func acknowledged(_ index: LogIndex) {
        while let oldest = inflight.first, oldest.last <= index {
            inflightBytes -= oldest.bytes
            inflight.removeFirst()
        }
    }

    mutating func become(_ newState: State, next: LogIndex) {
        state = newState
        self.next = next
        isPaused = false
        inflight.removeAll()
        inflightBytes = 0
    }
}
