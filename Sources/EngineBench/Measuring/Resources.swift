internal import Engines
internal import Foundation

/// What this process has used so far.
struct ResourceUse {
    /// User and system time of all threads.
    var cpuNanoseconds: UInt64
    /// `write_bytes` of /proc/self/io: the kernel counts a page when it is first made dirty, not when it reaches the
    /// disk, so a page that is written again before then counts once.
    var writtenBytes: UInt64
    /// Allocations, if the counter of scripts/bench-engines is loaded.
    var allocations: UInt64?

    static var now: ResourceUse {
        ResourceUse(
            cpuNanoseconds: cpuNanosecondsNow(), writtenBytes: procNumber("/proc/self/io", "write_bytes:") ?? 0,
            allocations: AllocationCounter.count)
    }
}

func cpuNanosecondsNow() -> UInt64 {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func nanoseconds(_ time: timeval) -> UInt64 { UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_usec) * 1_000 }
    return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime)
}

func nanosecondsNow() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Anonymous memory of this process: what can't be given back by dropping pages of files.
func anonymousBytesNow() -> UInt64 { (procNumber("/proc/self/status", "RssAnon:") ?? 0) * 1024 }

/// The number behind a label in a file of /proc.
private func procNumber(_ path: String, _ label: String) -> UInt64? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    return procNumber(in: text, label)
}

package func procNumber(in text: String, _ label: String) -> UInt64? {
    for line in text.split(separator: "\n") where line.hasPrefix(label) {
        return line.dropFirst(label.count).split(whereSeparator: \.isWhitespace).first.flatMap { UInt64($0) }
    }
    return nil
}

/// The counter that scripts/bench-engines may load in front of malloc.
enum AllocationCounter {
    private typealias Function = @convention(c) () -> UInt64
    private static let function: Function? = dlsym(nil, "flotilla_allocation_count").map {
        unsafeBitCast($0, to: Function.self)
    }

    static var count: UInt64? { function?() }
}

/// Bytes that the files of a directory occupy on disk.
func occupiedBytes(_ path: String) -> UInt64 {
    var total: UInt64 = 0
    for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] {
        var status = stat()
        guard lstat("\(path)/\(name)", &status) == 0 else { continue }
        total += status.st_mode & S_IFMT == S_IFDIR ? occupiedBytes("\(path)/\(name)") : UInt64(status.st_blocks) * 512
    }
    return total
}

func makeDirectory(_ path: String) throws {
    do {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
        throw BenchError("\(path) can't be made: \(error.localizedDescription)")
    }
}

func removeDirectory(_ path: String) { removeTree(path, itself: true) }

func systemErrorText() -> String { String(cString: strerror(errno)) }
