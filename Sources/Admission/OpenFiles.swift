internal import Glibc

/// The limit of this process's open files.
public enum OpenFiles {
    /// Far above what a server uses. Some systems allow a thousand million, and there are libraries that walk up to the
    /// limit.
    private static let enough = 1 << 16

    /// Raises the limit as far as the system lets it, and answers what it is now. Called at the start of every server,
    /// before it opens anything.
    @discardableResult
    public static func raise() -> Int {
        var limit = rlimit()
        let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(kind, &limit) == 0 else { return 1_024 }
        let wanted = min(limit.rlim_max, rlim_t(enough))
        if limit.rlim_cur < wanted {
            var raised = limit
            raised.rlim_cur = wanted
            if setrlimit(kind, &raised) == 0 { limit = raised }
        }
        return Int(min(limit.rlim_cur, rlim_t(enough)))
    }
}
