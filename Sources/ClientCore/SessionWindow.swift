internal import Bytes
package import Keyspace

/// The requests of one stream to a node that are without an answer: who waits for which, until when, and which of them
/// may have left this process.
///
/// Requests get their ids here and are queued by the caller, who says what is taken from the queue to be sent. Whoever
/// comes back from an input is told what became of the request, and is told once: an answer reaches whoever asked, and
/// nobody else.
///
/// A node that goes on answering others is alive, and what it has not answered waits there: to send it again, to this
/// node or another one, would only add to what it has to do. So a request is given up when the node has said nothing for
/// its patience, or at its end.
///
/// - Parameter Waiter: whatever the caller resumes.
package struct SessionWindow<Waiter: Sendable>: Sendable {
    /// A request's id, and when time must be told at the latest; `nil`: as was said before.
    package struct Ticket {
        package var id: UInt64
        package var alarm: Duration?
    }

    package typealias Told = (waiter: Waiter, outcome: AskOutcome)

    private struct Waiting: Sendable {
        var waiter: Waiter
        var deadline: Duration
        var patience: Patience
    }

    private var nextID: UInt64 = 1
    private var waiting: [UInt64: Waiting] = [:]
    /// Requests up to this id may have been handed to the network: callers take ids and queue in any order, so what
    /// counts is the largest id that was taken from the queue.
    private var takenThrough: UInt64 = 0
    /// When time is told next: never after the earliest deadline, and often before it, since most requests have their
    /// answer long before. `nil`: not before the next request.
    private var alarm: Duration?
    /// When the last answer came.
    private var heardAt: Duration?
    /// The stream has ended: nothing is sent or answered any more.
    package private(set) var isBroken = false

    package init() {}

    /// Takes a request; `nil` once broken: it was not sent.
    package mutating func send(_ waiter: Waiter, _ patience: Patience, now: Duration) -> Ticket? {
        guard !isBroken else { return nil }
        let id = nextID
        nextID += 1
        invariant(waiting[id] == nil, "request \(id) of a session waits already")
        let deadline = min(now + patience.silence, patience.end)
        waiting[id] = Waiting(waiter: waiter, deadline: deadline, patience: patience)
        if let alarm, alarm <= deadline { return Ticket(id: id, alarm: nil) }
        alarm = deadline
        return Ticket(id: id, alarm: deadline)
    }

    /// The queue had no room for the request: whoever waits for it, if he does still.
    package mutating func refused(_ id: UInt64) -> Waiter? { waiting.removeValue(forKey: id)?.waiter }

    /// What was taken from the queue to be sent: what is still waited for. The rest was given up, and its callers were
    /// told that it never left.
    package mutating func taken(_ queued: [KvRequest]) -> [KvRequest] {
        let requests = queued.allSatisfy { waiting[$0.id] != nil } ? queued : queued.filter { waiting[$0.id] != nil }
        for request in requests { takenThrough = max(takenThrough, request.id) }
        return requests
    }

    /// Answers that came. Those that nobody waits for any more are dropped.
    package mutating func received(_ responses: [KvResponse], now: Duration) -> [Told] {
        heardAt = now
        var told: [Told] = []
        told.reserveCapacity(responses.count)
        for response in responses {
            guard let waiting = waiting.removeValue(forKey: response.id) else { continue }
            told.append((waiting.waiter, .answered(response)))
        }
        return told
    }

    /// Gives up what is late, and says when time must be told again; `nil`: not before the next request.
    package mutating func time(_ now: Duration) -> (told: [Told], alarm: Duration?) {
        var late: [UInt64] = []
        for (id, row) in waiting where row.deadline <= now {
            let silentUntil = heardAt.map { $0 + row.patience.silence } ?? now
            if now < row.patience.end, now < silentUntil {
                waiting[id]?.deadline = min(silentUntil, row.patience.end)
            } else {
                late.append(id)
            }
        }
        let told = late.sorted().compactMap { giveUp($0) }
        alarm = waiting.values.map(\.deadline).min()
        return (told, alarm)
    }

    /// The stream has ended.
    package mutating func failed() -> [Told] {
        isBroken = true
        alarm = nil
        return waiting.keys.sorted().compactMap { giveUp($0) }
    }

    private mutating func giveUp(_ id: UInt64) -> Told? {
        guard let waiting = waiting.removeValue(forKey: id) else { return nil }
        return (waiting.waiter, id <= takenThrough ? .lost : .notSent)
    }
}
