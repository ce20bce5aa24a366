/// How fast files may come: a limit in bytes per second.
///
/// A value without a clock of its own: the caller says what time it is, and waits.
public struct TransferRate: Sendable, Equatable {
    /// Below this a transfer would look as if it stood still.
    public static let bytesPerSecondMin: UInt64 = 4096
    /// Asked for at once without a limit: a file of most exports, whole.
    package static let sliceMax: UInt64 = 4 << 20

    /// `nil`: as fast as it goes.
    public let bytesPerSecond: UInt64?
    /// When the bytes that were asked for so far are paid for.
    private var paidAt: Duration = .zero

    public init(bytesPerSecond: UInt64? = nil) {
        self.bytesPerSecond = bytesPerSecond.map { max($0, Self.bytesPerSecondMin) }
    }

    /// Reads "10MiB", "512KiB", "1GiB" or a plain number of bytes, each of them per second.
    public init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let factors: [String: UInt64] = ["": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30]
        guard let number = UInt64(digits), let factor = factors[text.dropFirst(digits.count).lowercased()] else {
            return nil
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        guard !overflow, bytes >= Self.bytesPerSecondMin else { return nil }
        self.init(bytesPerSecond: bytes)
    }

    /// How much to ask for at once. A quarter of a second's worth, so that the line is used evenly and nobody on it waits
    /// for a reader that is slow on purpose.
    public var slice: UInt64 {
        bytesPerSecond.map { min(max($0 / 4, Self.bytesPerSecondMin / 4), Self.sliceMax) } ?? Self.sliceMax
    }

    /// Takes the right to so many bytes; returns how long to wait before asking for them.
    ///
    /// - Parameter now: since any moment that stays the same.
    public mutating func take(_ bytes: UInt64, at now: Duration) -> Duration {
        guard let bytesPerSecond else { return .zero }
        // Time in which nothing was asked for isn't saved up.
        let start = max(paidAt, now)
        paidAt = start + .nanoseconds(Int64(Double(bytes) / Double(bytesPerSecond) * 1e9))
        return start - now
    }
}
