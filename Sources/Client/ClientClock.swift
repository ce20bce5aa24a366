internal import Foundation

/// The two clocks of a client, as its cores are told them.
enum ClientClock {
    private static let origin = ContinuousClock.now

    /// Since this was first asked.
    static var now: Duration { ContinuousClock.now - origin }

    /// In Unix milliseconds: sessions end by it.
    static var wall: UInt64 { UInt64(max(0, Date().timeIntervalSince1970 * 1000)) }

    /// Returns false if the task was cancelled meanwhile.
    static func sleep(until time: Duration) async -> Bool {
        do {
            try await Task.sleep(until: origin + time, clock: .continuous)
            return true
        } catch {
            return false
        }
    }
}
