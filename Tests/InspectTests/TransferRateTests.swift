import Inspect
import Testing

/// The limiter, under a clock that the test moves.
@Suite struct TransferRateTests {
    @Test func withoutALimitNothingWaits() {
        var rate = TransferRate()
        #expect(rate.take(1 << 40, at: .zero) == .zero)
        #expect(rate.take(1 << 40, at: .zero) == .zero)
    }

    @Test func eachTurnWaitsForWhatWasTakenBefore() {
        var rate = TransferRate(bytesPerSecond: 1 << 20)
        #expect(rate.take(1 << 19, at: .zero) == .zero)
        #expect(rate.take(1 << 20, at: .zero) == .milliseconds(500))
        #expect(rate.take(1, at: .seconds(1)) == .milliseconds(500))
    }

    @Test func aTransferTakesAsLongAsTheLimitSays() {
        var rate = TransferRate(bytesPerSecond: 10 << 20)
        var now: Duration = .zero
        var left: UInt64 = 100 << 20
        while left > 0 {
            let slice = min(left, rate.slice)
            now += rate.take(slice, at: now)
            // The line itself is fast.
            now += .microseconds(10)
            left -= slice
        }
        #expect(now > .milliseconds(9_700) && now < .milliseconds(10_000), "\(now)")
    }

    /// What was not used is not saved up: a node that paused is not asked for everything at once.
    @Test func idleTimeIsNotSavedUp() {
        var rate = TransferRate(bytesPerSecond: 1 << 20)
        #expect(rate.take(1 << 20, at: .zero) == .zero)
        #expect(rate.take(1 << 20, at: .seconds(100)) == .zero)
        #expect(rate.take(1, at: .seconds(100)) == .seconds(1))
    }

    /// A slow reader asks for little at a time, so that nobody takes it for dead.
    @Test(arguments: [4096, 100_000, 1 << 20, 1 << 40] as [UInt64])
    func aSliceLastsAtMostAQuarterOfASecond(bytesPerSecond: UInt64) {
        let rate = TransferRate(bytesPerSecond: bytesPerSecond)
        #expect(rate.slice > 0 && rate.slice <= max(bytesPerSecond / 4, 1) && rate.slice <= TransferRate.sliceMax)
    }

    @Test func numbersAreReadWithTheirUnits() {
        #expect(TransferRate("10MiB")?.bytesPerSecond == 10 << 20)
        #expect(TransferRate("512kib")?.bytesPerSecond == 512 << 10)
        #expect(TransferRate("1GiB")?.bytesPerSecond == 1 << 30)
        #expect(TransferRate("4096")?.bytesPerSecond == 4096)
        for wrong in [
            "", "MiB", "10MB", "10 MiB", "-1MiB", "1.5MiB", "0", "4095", "99999999999999999999", "99999999999GiB",
        ] {
            #expect(TransferRate(wrong) == nil, "\(wrong)")
        }
    }
}
