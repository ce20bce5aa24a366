internal import Bytes
package import Keyspace
package import RaftLog

/// When the controller's leader has to let log time pass, so that a hold whose holder is gone ends.
///
/// By the time that passes here, and not by the leader's wall clock: one that is an hour behind would hold moves for an
/// hour longer, though the group's time, which is a quorum's, has reached the end.
package struct HoldWatch: Sendable {
    private var seen: (id: [UInt8], until: Milliseconds)?
    private var dueAt: Milliseconds = 0

    package init() {}

    /// - Parameters:
    ///   - hold: as it is now; `nil`: there is none, or this node doesn't lead.
    ///   - logTime: of the last entry that is applied.
    ///   - now: of a clock that only passes.
    /// - Returns: When log time has to pass; `nil`: it needn't.
    package mutating func dueAt(_ hold: MoveHold?, logTime: Milliseconds, now: Milliseconds) -> Milliseconds? {
        guard let hold else {
            seen = nil
            return nil
        }
        if seen?.id != hold.id || seen?.until != hold.until {
            seen = (hold.id, hold.until)
            dueAt = .max
        }
        // Log time goes on in leaps: a later look may show that it is sooner.
        dueAt = min(dueAt, now.addingClamped(hold.until - min(hold.until, logTime)))
        return dueAt
    }
}
