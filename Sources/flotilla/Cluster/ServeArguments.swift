public import ArgumentParser
import CommandSupport
import Dispatch
public import Engines
import Foundation
import HTTPService
internal import Keyspace
import Logging
import Server
import Synchronization

extension EngineKind: ExpressibleByArgument {}

/// What both kinds of nodes are told, and how they run: until a signal, or until they can't.
struct ServeArguments: ParsableArguments {
    @Option(help: "The node's number: its place in --cluster, from 0.") var id: UInt64
    @Option(help: "Addresses of the group's nodes, HOST:PORT,…") var cluster: String
    @Option(help: "Directory of this node alone.", transform: ArgumentText.plain) var db: String
    @Option(help: "rocksdb, lmdb or sqlite.") var engine: EngineKind = .rocksdb
    @Option(help: "Where to listen, IP:PORT (default: the node's address in --cluster).") var listen: String?
    @Option(help: "Applied log entries kept for followers that are behind, 0 to 1000000000000.")
    var retain: UInt64 = 10_000
    @Option(
        help:
            "Serve /metrics, /healthz and /readyz on this port of the same address, 0 to 65535; 0: the system chooses.")
    var httpPort: Int?
    @Option(
        help:
            "MiB of requests and answers that may be held at once, 256 to 1048576 (default: an eighth of the memory, at most 4096)."
    )
    var memoryBudget: Int?
    @Option(
        help:
            "MiB a second that a transfer of a shard or a snapshot to this node takes at most, 1 to 1048576 (default: what it can)."
    )
    var moveRate: Int?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel = "info"
    @Flag(help: .hidden) var exitWithParent = false

    var addresses: [String] { commaList(cluster) }

    var logger: Logger {
        var logger = Logger(label: "flotilla") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        return logger
    }

    struct Running: Sendable {
        var failure: @Sendable () -> String?
        var stop: @Sendable () async -> Void
    }

    func validate() throws {
        if Logger.Level(rawValue: logLevel) == nil { throw ValidationError("There is no log level \"\(logLevel)\".") }
        if engine == .memory { throw ValidationError("A server wants rocksdb, lmdb or sqlite.") }
        let nodes = try addressList(cluster, "--cluster")
        guard id < UInt64(nodes.count) else {
            throw ValidationError("--id \(id) is not in --cluster, which names nodes 0 to \(nodes.count - 1).")
        }
        if let listen, Address(listen) == nil { throw ValidationError("--listen takes IP:PORT, not \"\(listen)\".") }
        try require("--retain", retain, in: ArgumentLimits.entries)
        if let httpPort { try require("--http-port", httpPort, in: ArgumentLimits.port) }
        if let memoryBudget { try require("--memory-budget", memoryBudget, in: ServeOptions.memoryBudgetRange) }
        if let moveRate { try require("--move-rate", moveRate, in: ServeOptions.moveRateRange) }
    }

    func run(_ start: () async throws -> Running) async throws {
        let running: Running
        do {
            running = try await start()
        } catch let error as ServeError {
            note("flotilla: \(error.description)")
            throw ExitCode(error.exitCode)
        } catch let error as ListenError {
            note("flotilla: \(error.description)")
            throw Exit.unavailable
        } catch let error as EngineError {
            note("flotilla: \(error.description)")
            throw Exit.failed
        }
        let signals = StopSignals(exitWithParent: exitWithParent)
        while !signals.isRaised {
            try? await Task.sleep(for: .milliseconds(100))
            if running.failure() != nil { break }
        }
        // Asked once more: a signal may come together with the end of the replica.
        if let failure = running.failure() {
            note("flotilla: \(failure)")
            // Nothing can be saved any more; leaving at once can't make it worse.
            Foundation.exit(1)
        }
        await running.stop()
        // Connections are still open and end with the process, without the handlers of a normal end: other threads run.
        fflush(nil)
        _exit(0)
    }
}

/// SIGINT, SIGTERM, and, for a child of `flotilla local`, the end of its standard input: the parent is gone.
final class StopSignals: @unchecked Sendable {
    private let raised = Atomic<Bool>(false)
    /// Kept alive; written only here.
    private let sources: [any DispatchSourceSignal]

    init(exitWithParent: Bool = false) {
        sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for source in sources {
            source.setEventHandler { [weak self] in self?.raised.store(true, ordering: .relaxed) }
            source.resume()
        }
        if exitWithParent {
            Thread.detachNewThread { [weak self] in
                var byte: UInt8 = 0
                while read(0, &byte, 1) > 0 {}
                self?.raised.store(true, ordering: .relaxed)
            }
        }
    }

    var isRaised: Bool { raised.load(ordering: .relaxed) }
}
