/// How many connections a server takes of a process's file descriptors. What else opens files comes first: a client that
/// isn't let in tries again. Pure.
public enum DescriptorBudget {
    /// Logs, timers and event loops, and what the system's libraries open for a moment; libdispatch traps if it gets none.
    static let reserve = 128
    /// More connections than this cost more memory than they are worth.
    public static let httpMax = 1_024
    /// Below this a server can't be watched any more.
    package static let least = 16

    /// Connections to the HTTP port of a process that has no engine and serves nothing else.
    /// - Parameter limit: descriptors that the process may have; a limit that is too low is shared as well as it can be.
    public static func httpAlone(limit: Int) -> Int { min(max(limit - reserve, limit / 4, least), httpMax) }
}
