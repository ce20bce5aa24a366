internal import Foundation

/// Adds to a round what the process used between start and stop.
struct Meter {
    private var before: ResourceUse

    private init(_ before: ResourceUse) { self.before = before }

    static func start() -> Meter { Meter(.now) }

    func stop(_ round: inout RoundResult) {
        let after = ResourceUse.now
        round.cpuNanoseconds += after.cpuNanoseconds - before.cpuNanoseconds
        round.writtenBytes += after.writtenBytes - min(after.writtenBytes, before.writtenBytes)
        if let allocations = after.allocations, let earlier = before.allocations {
            round.allocations = (round.allocations ?? 0) + allocations - earlier
        }
    }
}

/// Waits until the engine's background threads have nothing to do, so that their work is charged to the round that
/// caused it and not to the next one.
func settle(secondsMax: Double) {
    let end = nanosecondsNow() + UInt64(secondsMax * 1_000_000_000)
    var quiet = 0
    while quiet < 3, nanosecondsNow() < end {
        let before = cpuNanosecondsNow()
        usleep(10_000)
        quiet = cpuNanosecondsNow() - before < 1_000_000 ? quiet + 1 : 0
    }
}

extension RoundResult {
    /// Times one call.
    mutating func time<Result>(keys: Int, _ call: () throws -> Result) rethrows -> Result {
        let start = nanosecondsNow()
        let result = try call()
        let nanoseconds = nanosecondsNow() - start
        latencies.record(nanoseconds)
        busyNanoseconds += nanoseconds
        self.keys += keys
        return result
    }

    /// Times call after call for so many seconds. `draw` makes the inputs of the next `perDraw` calls, off the clock.
    mutating func repeatCalls(
        seconds: Double, perDraw: Int, keysPerCall: Int, draw: () -> Void, _ call: (Int) throws -> Void
    ) rethrows {
        let end = nanosecondsNow() + UInt64(seconds * 1_000_000_000)
        repeat {
            draw()
            for index in 0..<perDraw {
                let start = nanosecondsNow()
                try call(index)
                let now = nanosecondsNow()
                latencies.record(now - start)
                busyNanoseconds += now - start
                if now >= end {
                    keys += keysPerCall * (index + 1)
                    return
                }
            }
            keys += keysPerCall * perDraw
        } while true
    }
}
