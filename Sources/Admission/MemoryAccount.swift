internal import DequeModule

/// Who holds how many bytes of a budget, and who waits for some. Pure.
///
/// What can wait is taken before it is there: a message whose length is announced, in the order in which it was asked
/// for. What is there already (an answer that a reader has made) is charged and may overdraw the account; nobody takes
/// from an account that is overdrawn.
public struct MemoryAccount: Sendable {
    /// A connection.
    public typealias Holder = UInt64
    public typealias Ticket = UInt64

    public enum Answer: Equatable, Sendable {
        case granted
        /// `give` names the ticket when the bytes are its holder's.
        case waiting(Ticket)
        /// It could never be granted, or too many wait.
        case refused
    }

    private struct Waiter {
        var ticket: Ticket
        var holder: Holder
        var bytes: Int
    }

    public let bytesMax: Int
    public let holderBytesMax: Int
    /// Who waits costs something too: what its client was promised to be taken, and keeps on sending.
    public let waitersMax: Int
    public private(set) var held = 0
    private var holders: [Holder: Int] = [:]
    private var waiters: Deque<Waiter> = []
    private var tickets: Ticket = 0

    public init(bytesMax: Int, holderBytesMax: Int, waitersMax: Int = 1_024) {
        self.bytesMax = max(0, bytesMax)
        self.holderBytesMax = min(max(0, holderBytesMax), self.bytesMax)
        self.waitersMax = waitersMax
    }

    public var waiting: Int { waiters.count }
    public func held(by holder: Holder) -> Int { holders[holder] ?? 0 }

    /// No more should be made for this holder now.
    public func isFull(for holder: Holder) -> Bool { held >= bytesMax || held(by: holder) >= holderBytesMax }

    public mutating func take(_ bytes: Int, for holder: Holder) -> Answer {
        guard bytes <= holderBytesMax, waiters.count < waitersMax else { return .refused }
        // Behind those who came first, unless they only wait for bytes of their own.
        let isBehind = waiters.contains { $0.holder == holder || held(by: $0.holder) + $0.bytes <= holderBytesMax }
        if !isBehind, fits(bytes, holder) {
            charge(bytes, for: holder)
            return .granted
        }
        tickets += 1
        waiters.append(Waiter(ticket: tickets, holder: holder, bytes: bytes))
        return .waiting(tickets)
    }

    /// Counts what is there already, whether there is room or not.
    public mutating func charge(_ bytes: Int, for holder: Holder) {
        held += bytes
        holders[holder, default: 0] += bytes
    }

    /// Takes bytes back, and grants what now fits. Returns the tickets of those.
    public mutating func give(_ bytes: Int, from holder: Holder) -> [Ticket] {
        let given = min(bytes, held(by: holder))
        held -= given
        let left = held(by: holder) - given
        holders[holder] = left > 0 ? left : nil
        return grant()
    }

    /// Ends a wait. False if it was granted before: the bytes are the holder's then.
    public mutating func cancel(_ ticket: Ticket) -> (wasWaiting: Bool, granted: [Ticket]) {
        guard let place = waiters.firstIndex(where: { $0.ticket == ticket }) else { return (false, []) }
        waiters.remove(at: place)
        // Somebody smaller may have waited behind it.
        return (true, grant())
    }

    private func fits(_ bytes: Int, _ holder: Holder) -> Bool {
        held + bytes <= bytesMax && held(by: holder) + bytes <= holderBytesMax
    }

    private mutating func grant() -> [Ticket] {
        guard !waiters.isEmpty else { return [] }
        var granted: [Ticket] = []
        var left: Deque<Waiter> = []
        /// Those who wait for bytes of their own; what they asked for later stays behind that.
        var blocked: Set<Holder> = []
        while let waiter = waiters.popFirst() {
            if blocked.contains(waiter.holder) {
                left.append(waiter)
            } else if held(by: waiter.holder) + waiter.bytes > holderBytesMax {
                blocked.insert(waiter.holder)
                left.append(waiter)
            } else if held + waiter.bytes > bytesMax {
                // Nobody overtakes: a large message would wait for ever behind small ones.
                left.append(waiter)
                left.append(contentsOf: waiters)
                break
            } else {
                charge(waiter.bytes, for: waiter.holder)
                granted.append(waiter.ticket)
            }
        }
        waiters = left
        return granted
    }
}
