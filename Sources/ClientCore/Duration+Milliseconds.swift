extension Duration {
    /// Rounded down; what is negative is none.
    var wholeMilliseconds: UInt64 {
        let (seconds, attoseconds) = max(.zero, self).components
        // Nobody waits longer than 2^50 seconds.
        let milliseconds = UInt64(min(seconds, 1 << 50)) * 1_000
        return milliseconds + UInt64(attoseconds / 1_000_000_000_000_000)
    }
}
