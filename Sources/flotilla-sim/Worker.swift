internal import Foundation
internal import Simulator

/// One job: a child process that runs seed after seed, as it is told.
///
/// A trap (an invariant of production's code, an overflow) ends the process that it happens in. Here it ends a child: the parent knows which seed it was at, and since a seed is the whole history, runs it once more in another
/// child that tells every event. A handler in the process itself would have to write down every event of every run in
/// advance, with nothing but what a signal handler may call, in a process that is damaged.
final class Worker<Run: SimulatedRun> {
    private struct Order: Codable {
        var options: Run.Options
        /// Tell the events, one line each.
        var tells: Bool
    }

    /// How a run ended.
    enum Outcome {
        case report(Run.Report)
        case trap(String)
    }

    /// A worker couldn't be started or spoken to.
    struct Failure: Error, CustomStringConvertible { var description: String }

    private let isWorld: Bool
    private var process: Process?
    private var orders: FileHandle?
    private var answers: FileHandle?
    private var complaints: FileHandle?
    private var pending: [UInt8] = []

    init(isWorld: Bool) { self.isWorld = isWorld }

    deinit { stop() }

    /// Runs it, in the child.
    ///
    /// - Parameter trace: gets every event.
    func run(_ options: Run.Options, trace: ((String) -> Void)? = nil) throws -> Outcome {
        if process == nil { try start() }
        guard let orders, let process else { throw Failure(description: "the process of a job didn't start") }
        let line = try JSONEncoder().encode(Order(options: options, tells: trace != nil)) + [10]
        try orders.write(contentsOf: line)
        while let answer = readLine() {
            if answer.first == UInt8(ascii: "R") {
                return .report(try JSONDecoder().decode(Run.Report.self, from: Data(answer.dropFirst())))
            }
            trace?(String(decoding: answer.dropFirst(), as: UTF8.self))
        }
        process.waitUntilExit()
        let end = process.terminationStatus
        let isSignal = process.terminationReason == .uncaughtSignal
        let said = lastWords()
        stop()
        return .trap(
            (isSignal ? "the run was ended by \(Self.name(ofSignal: end))" : "the run exited with \(end)") + said)
    }

    /// What an invariant said as it ended the child, with where it stands.
    private func lastWords() -> String {
        let text = (try? complaints?.readToEnd()).flatMap { $0 }.map { String(decoding: $0, as: UTF8.self) } ?? ""
        return text.split(separator: "\n").first { $0.contains("Fatal error: ") }.map { ": \($0)" } ?? ""
    }

    private func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = ["--worker"] + (isWorld ? ["--world"] : [])
        // The runtime's own report of a crash takes seconds, and knows nothing of the seed.
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_BACKTRACE"] = "enable=no"
        process.environment = environment
        let (input, output, errors) = (Pipe(), Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        // Only what ends the child is said there: less than a pipe holds.
        process.standardError = errors
        try process.run()
        self.process = process
        orders = input.fileHandleForWriting
        answers = output.fileHandleForReading
        complaints = errors.fileHandleForReading
        pending = []
    }

    private func stop() {
        try? orders?.close()
        process?.waitUntilExit()
        (process, orders, answers, complaints) = (nil, nil, nil, nil)
    }

    /// A line of the child's; `nil` once it is gone.
    private func readLine() -> [UInt8]? {
        while true {
            if let end = pending.firstIndex(of: 10) {
                defer { pending.removeSubrange(...end) }
                return Array(pending[..<end])
            }
            guard let more = answers?.availableData, !more.isEmpty else { return nil }
            pending += more
        }
    }

    private static func name(ofSignal number: Int32) -> String {
        switch number {
        case SIGILL: "SIGILL (a trap)"
        case SIGTRAP: "SIGTRAP (a trap)"
        case SIGABRT: "SIGABRT"
        case SIGSEGV: "SIGSEGV"
        default: "signal \(number)"
        }
    }

    /// The child: until there are no more orders.
    static func serve() {
        func tell(_ kind: String, _ text: String) { FileHandle.standardOutput.write(Data((kind + text + "\n").utf8)) }
        while let line = Swift.readLine(strippingNewline: true) {
            guard let order = try? JSONDecoder().decode(Order.self, from: Data(line.utf8)) else { return }
            let report = Run.run(order.options, trace: order.tells ? { tell("T", $0) } : nil)
            guard let encoded = try? JSONEncoder().encode(report) else { return }
            tell("R", String(decoding: encoded, as: UTF8.self))
        }
    }
}
