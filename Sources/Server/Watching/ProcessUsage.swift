internal import Foundation
internal import Glibc

/// What this process takes of the machine, under the names that Prometheus gives it.
package struct ProcessUsage: Sendable {
    var residentBytes: UInt64 = 0
    var openDescriptors: UInt64 = 0
    var descriptorsMax: UInt64 = 0
    var cpuSeconds: Double = 0

    package init() {}

    static var now: ProcessUsage {
        var usage = ProcessUsage()
        if let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) {
            let fields = text.split(separator: " ")
            if fields.count > 1, let pages = UInt64(fields[1]) { usage.residentBytes = pages * UInt64(getpagesize()) }
        }
        usage.openDescriptors = UInt64(
            (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0)
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            usage.descriptorsMax = UInt64(limit.rlim_cur)
        }
        var spent = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &spent) == 0 {
            usage.cpuSeconds = [spent.ru_utime, spent.ru_stime].reduce(0) {
                $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
            }
        }
        return usage
    }
}

/// What of the memory budget is in use.
package struct MemoryUsage: Sendable {
    var held: Int
    var budget: Int

    package init(held: Int, budget: Int) {
        self.held = held
        self.budget = budget
    }
}
