import ArgumentParser
import CommandSupport
import Dashboard
import Foundation
internal import Keyspace
import Logging
import Server

struct DashboardVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dashboard",
        abstract: "Serve a page that shows how the cluster is.",
        discussion: """
            Finds the groups through the controllers, and shows nodes, shards, moves and what takes how long. It only \
            shows, unless it is started with --allow-actions. Whoever can reach the page can read keys: it listens on \
            loopback unless --listen says otherwise. docs/dashboard.md describes its API.
            """)

    @Option(
        name: [.customLong("controllers"), .customLong("endpoints"), .customLong("config-addrs")],
        help: "The controllers' addresses, HOST:PORT,… (default: FLOTILLA_ENDPOINTS, else localhost:50051 to 50053).")
    var controllers: String?
    @Option(help: "The port, 0 to 65535; 0: the system chooses.") var port = 8080
    @Option(help: "The address to listen on.") var listen = "127.0.0.1"
    @Option(help: "Between two looks at the cluster, 100ms to 1m: 500ms, 5s.") var updateInterval = GoDuration(
        .seconds(5))
    @OptionGroup var actions: DashboardActions
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel = "info"

    func validate() throws {
        if Logger.Level(rawValue: logLevel) == nil { throw ValidationError("There is no log level \"\(logLevel)\".") }
        try require("--port", port, in: ArgumentLimits.port)
        if !Address(host: listen, port: port).isIPv4 {
            throw ValidationError("--listen takes an IP address, not \"\(listen)\".")
        }
        _ = try controllerAddresses(controllers, "--controllers")
        if !(Duration.milliseconds(100)...Duration.seconds(60)).contains(updateInterval.value) {
            throw ValidationError("--update-interval takes 100ms to 1m.")
        }
    }

    func run() async throws {
        let signals = StopSignals()
        let options = DashboardOptions(
            listen: Address(host: listen, port: port),
            controllers: try controllerAddresses(controllers, "--controllers"),
            interval: updateInterval.value,
            allowActions: actions.allowActions, hosts: actions.allowHost)
        let server = try await startDashboard(options, logLevel: Logger.Level(rawValue: logLevel) ?? .info)
        try StandardOutput.writeLine("dashboard: http://\(server.endpoint)")
        while !signals.isRaised { try? await Task.sleep(for: .milliseconds(100)) }
        server.stop()
        fflush(nil)
        _exit(0)
    }
}

struct DashboardActions: ParsableArguments {
    @Flag(help: "Let the dashboard's page move shards.") var allowActions = false
    @Option(help: "A name under which browsers may ask the dashboard, besides addresses and this machine's name.")
    var allowHost: [String] = []
}

func startDashboard(_ options: DashboardOptions, logLevel: Logger.Level) async throws -> DashboardServer {
    var logger = Logger(label: "flotilla") { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = logLevel
    do { return try await DashboardServer(options, version: ServerVersion.current, log: logger) } catch {
        note("flotilla: \(error)")
        throw Exit.unavailable
    }
}

/// A duration as Go writes it: numbers with units one after another, as in "5s", "1m30s", "250ms".
package struct GoDuration: ExpressibleByArgument, Equatable {
    package var value: Duration

    init(_ value: Duration) { self.value = value }

    init?(argument: String) {
        // Longer units first: "ms" is no "m".
        let units: [(String, Double)] = [
            ("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600), ("m", 60), ("s", 1),
        ]
        var rest = argument[...]
        var seconds = 0.0
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            guard let amount = Double(number), let (unit, factor) = units.first(where: { rest.hasPrefix($0.0) }) else {
                return nil
            }
            seconds += amount * factor
            rest = rest.dropFirst(unit.count)
        }
        guard !argument.isEmpty, seconds.isFinite, seconds < 1e9 else { return nil }
        value = .seconds(seconds)
    }

    var defaultValueDescription: String {
        let (seconds, attoseconds) = value.components
        return attoseconds == 0 ? "\(seconds)s" : "\(Int(value / .milliseconds(1)))ms"
    }
}
