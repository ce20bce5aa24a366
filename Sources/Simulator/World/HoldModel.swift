internal import RaftLog
internal import Sharding

/// When moves are held, by the word of the controller's log.
struct HoldModel {
    private var hold: (id: [UInt8], until: Milliseconds)?
    private var logTime: Milliseconds = 0
    /// Requests that were carried out: again, they change nothing.
    private var done: Set<[UInt8]> = []

    /// Whether moves are held while the entry is applied, and after it.
    mutating func apply(_ entry: Entry, _ reply: ControllerMachine.Reply) -> Bool {
        logTime = max(logTime, entry.stamp)
        if let until = hold?.until, logTime >= until { hold = nil }
        let wasHeld = hold != nil
        guard case .map = reply, let (id, command) = try? ControllerCommand.decode(entry.payload),
            id.isEmpty || done.insert(id).inserted
        else { return wasHeld }
        switch command {
        case .hold(let id, _, let lasts): hold = (id, logTime + lasts)
        case .prolong(_, let lasts):
            if let held = hold { hold = (held.id, max(held.until, logTime + lasts)) }
        case .release: hold = nil
        default: break
        }
        return wasHeld && hold != nil
    }
}
