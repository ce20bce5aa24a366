internal import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect

/// A command that reads what may be damaged.
protocol ReadingCommand: ParsableCommand {
    var limits: ReadingLimits { get }
    /// Runs in the child. Throws an `EngineError` for what can't be read, or an exit code.
    func read(_ worker: Worker) throws
}

struct ReadingLimits: ParsableArguments {
    @Option(help: "Give up when reading hasn't got on for this many seconds, 0.1 to 86400.") var timeout = 60.0
    // RocksDB takes what its write-ahead log holds into memory, 128 MiB as a node writes it, and has 64 MiB of cache.
    // Room for several times that: a limit that whole data meets would call it damaged.
    @Option(help: "Give up when reading needs more than so many MiB of memory, 128 to 1048576.") var memory = 1024

    func validate() throws {
        try require("--memory", memory, in: 128...1_048_576, "MiB")
        try require("--timeout", timeout, in: ArgumentLimits.seconds, "seconds")
    }
}

extension ReadingCommand {
    func supervise() throws {
        if let worker = Worker.current(limits) {
            try Self.finish(worker) { try read(worker) }
            return
        }
        var supervisor = Supervisor(limits)
        try Self.explain(try Self.reporting { try supervisor.run { _ in } }, supervisor)
    }

    /// Runs the child's part; an error becomes one line and its exit code.
    static func finish(_ worker: Worker, _ body: () throws -> Void) throws {
        do {
            try body()
            try worker.output.flush()
        } catch let error as EngineError {
            // What was read before it counts.
            try? worker.output.flush()
            worker.note("flotilla: \(error.sentence)")
            throw error.exitCode
        } catch let error as Failure {
            worker.note("flotilla: \(error)")
            throw Exit.failed
        } catch let error as OutputFailure {
            worker.note("flotilla: \(error)")
            throw Exit.failed
        } catch is Output.ReaderGone {
            // It has what it wanted.
        }
        worker.clearBar()
    }

    static func reporting<Result>(_ body: () throws -> Result) throws -> Result {
        do { return try body() } catch let error as Failure {
            note("flotilla: \(error)")
            throw Exit.failed
        }
    }

    /// Ends as the child did.
    static func explain(_ end: Supervisor.End, _ supervisor: Supervisor) throws {
        switch end {
        case .exited(0): return
        case .exited(let code): throw ExitCode(code)
        case .interrupted(let signal): throw ExitCode(128 + signal)
        case .crashed, .stalled:
            note("flotilla: damaged data: \(supervisor.problem(end)) (\(supervisor.stage))")
            throw Exit.notFound
        }
    }
}

extension Supervisor {
    /// What ended a child that couldn't say so itself.
    func problem(_ end: End) -> String {
        switch end {
        case .crashed(let signal):
            "reading it ended with \(Self.name(ofSignal: signal)), within \(limits.memory) MiB of memory"
        case .stalled: "reading it has not got on for \(limits.timeout.formatted()) seconds"
        case .exited(let code): "reading it ended with exit code \(code)"
        case .interrupted: "reading it was interrupted"
        }
    }
}
