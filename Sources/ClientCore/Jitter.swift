/// Spreads pauses, so that callers who were refused together don't come back together. Its whole state is its seed, so
/// that a run can be repeated.
package struct Jitter: Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    /// The pause, and up to a half more.
    package mutating func spread(_ pause: Duration) -> Duration {
        // A step of SplitMix64.
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return pause + pause / 2 * Int(mixed >> 54) / 1_023
    }
}
