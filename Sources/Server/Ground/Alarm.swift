internal import RaftHost
internal import RaftLog

/// One ring at a moment of the monotonic clock, unless it is cancelled before.
enum Alarm {
    /// - Parameter time: `nil`: never.
    static func ring(at time: Milliseconds?, _ body: @escaping @Sendable () -> Void) -> Task<Void, Never>? {
        guard let time else { return nil }
        return Task {
            let now = HostClock.monotonic()
            do { try await Task.sleep(for: .milliseconds(Int64(clamping: time - min(time, now)))) } catch { return }
            body()
        }
    }
}
