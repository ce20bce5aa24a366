import Foundation
import Synchronization

/// How a child process ended, and what it had said by then.
public struct ChildOutcome: Sendable {
    public enum End: Sendable, Equatable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)
        case timedOut

        public var description: String {
            switch self {
            case .exited(let code): "exit \(code)"
            case .signalled(let number): "signal \(number)"
            case .timedOut: "no end in time"
            }
        }
    }

    public var end: End
    public var output: String
    public var lines: [Substring] { output.split(separator: "\n") }
}

/// Programs that lie beside the one that runs: what must not take the tests with it when it crashes.
public enum ChildProgram {
    public static func path(_ name: String) throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(fileURLWithPath: program).deletingLastPathComponent().appendingPathComponent(name).path
        guard FileManager.default.fileExists(atPath: path) else {
            throw BrokenRule("\(path) is missing; build it first")
        }
        return path
    }

    /// Runs `engine-crash-writer`; kills it after `seconds`, or once it has said `killAfterLines` lines.
    public static func run(
        _ arguments: [String], environment: [String: String] = [:], seconds: Double = 60, killAfterLines: Int? = nil
    ) throws -> ChildOutcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try path("engine-crash-writer"))
        process.arguments = arguments
        // The runtime's own report of a crash takes seconds.
        process.environment = ProcessInfo.processInfo.environment
            .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let isLate = Mutex(false)
        let identifier = process.processIdentifier
        let timer = DispatchSource.makeTimerSource()
        timer.schedule(deadline: .now() + seconds)
        timer.setEventHandler {
            isLate.withLock { $0 = true }
            kill(identifier, SIGKILL)
        }
        timer.resume()
        defer { timer.cancel() }
        var output = Data()
        var isKilled = false
        // Ends when the child is gone: everything that it has said counts.
        while true {
            let more = pipe.fileHandleForReading.availableData
            if more.isEmpty { break }
            output.append(more)
            if let killAfterLines, !isKilled, output.count(where: { $0 == UInt8(ascii: "\n") }) >= killAfterLines {
                kill(identifier, SIGKILL)
                isKilled = true
            }
        }
        process.waitUntilExit()
        timer.cancel()
        let end: ChildOutcome.End =
            isLate.withLock { $0 }
            ? .timedOut
            : process.terminationReason == .uncaughtSignal
                ? .signalled(process.terminationStatus) : .exited(process.terminationStatus)
        // What stands behind the last line break was not said completely.
        let said = output.lastIndex(of: UInt8(ascii: "\n")).map { output[...$0] } ?? Data()
        return ChildOutcome(end: end, output: String(decoding: said, as: UTF8.self))
    }
}

/// A directory that is gone when `body` returns.
public func withScratchDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-faults-\(UUID().uuidString)")
        .path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

func emptyDirectory(_ path: String) throws {
    try? FileManager.default.removeItem(atPath: path)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
}
