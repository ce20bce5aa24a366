import ArgumentParser
import Client
import CommandSupport
import Dashboard
import Engines
import Foundation
import HTTPService
internal import Keyspace
import Logging
import Server

struct LocalVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "local",
        abstract: "Run a whole cluster on this machine until Ctrl-C.",
        discussion: """
            Starts three controller nodes and the nodes of every group as processes of their own on loopback, joins \
            the groups, and prints how to use it. A second start with the same directory goes on with all data.
            """)

    enum EngineChoice: String, ExpressibleByArgument, CaseIterable { case rocksdb, lmdb, sqlite, mixed }

    @Option(help: "Shard groups, 1 to 32.") var groups = 2
    @Option(help: "Nodes of each group, 1 to 9.") var replicas = 3
    @Option(help: "Controller nodes, 1 to 9.") var controllers = 3
    @Option(help: "Shards of a new cluster, 1 to 1024.") var shards = 64
    @Option(help: "rocksdb, lmdb, sqlite, or mixed: the nodes of a group on different engines.") var engine:
        EngineChoice = .rocksdb
    @Option(help: "Where data and logs go.", transform: ArgumentText.plain) var dataDir = "data/local"
    @Option(help: "The controllers' first port, from 1; groups follow at +100, +200, … up to 65535.") var basePort =
        50_051
    @Option(help: "Applied log entries kept for followers that are behind, 0 to 1000000000000.") var retain: UInt64 =
        10_000
    @Option(help: "Also serve the dashboard on this port, 0 to 65535; 0: the system chooses.") var dashboardPort: Int?
    @Option(help: "MiB of requests and answers that a node may hold at once (default: see `group serve --help`).")
    var memoryBudget: Int?
    @Option(help: "MiB a second that a transfer to a node takes at most (default: what it can).") var moveRate: Int?
    @OptionGroup var actions: DashboardActions

    func validate() throws {
        try require("--groups", groups, in: 1...32)
        try require("--replicas", replicas, in: 1...9)
        try require("--controllers", controllers, in: 1...9)
        try require("--shards", shards, in: ArgumentLimits.shards)
        try require("--retain", retain, in: ArgumentLimits.entries)
        if let dashboardPort { try require("--dashboard-port", dashboardPort, in: ArgumentLimits.port) }
        if let memoryBudget { try require("--memory-budget", memoryBudget, in: ServeOptions.memoryBudgetRange) }
        if let moveRate { try require("--move-rate", moveRate, in: ServeOptions.moveRateRange) }
        if dashboardPort == nil, actions.allowActions || !actions.allowHost.isEmpty {
            throw ValidationError("--allow-actions and --allow-host are for the dashboard; give --dashboard-port.")
        }
        // So that the last node of the last group has a port, too.
        let above = max(controllers, 100 * groups + replicas) - 1
        try require("--base-port", basePort, in: 1...(65_535 - above))
    }

    private func addresses(_ group: Int, _ count: Int) -> [String] {
        (0..<count).map { "localhost:\(basePort + 100 * group + $0)" }
    }

    private func engine(_ node: Int) -> String {
        engine == .mixed ? EngineKind.durable[node % EngineKind.durable.count].rawValue : engine.rawValue
    }

    func run() async throws {
        let signals = StopSignals()
        let controllerAddresses = addresses(0, controllers)
        var children: [Process] = []
        defer { Self.stop(children) }
        for address in controllerAddresses + (1...groups).flatMap({ addresses($0, replicas) }) {
            guard let endpoint = Address(address) else { continue }
            do throws(ListenError) { try endpoint.checkIsFree() } catch {
                note("flotilla: \(error.description), for example with --base-port")
                throw Exit.unavailable
            }
        }
        // Before anything else: a port that is taken is known at once, and the page shows how the cluster comes up.
        var dashboard: DashboardServer?
        if let dashboardPort {
            dashboard = try await startDashboard(
                DashboardOptions(
                    listen: Address(host: "127.0.0.1", port: dashboardPort), controllers: controllerAddresses,
                    interval: .seconds(1), allowActions: actions.allowActions, hosts: actions.allowHost),
                logLevel: .warning)
        }
        try FileManager.default.createDirectory(atPath: dataDir, withIntermediateDirectories: true)
        for node in 0..<controllers {
            children.append(
                try launch(
                    "controller-\(node)",
                    [
                        "controller", "serve", "--id", "\(node)", "--cluster",
                        controllerAddresses.joined(separator: ","),
                        "--db", "\(dataDir)/controller-\(node)", "--engine", engine(node), "--shards", "\(shards)",
                        "--retain", "\(retain)",
                    ]))
        }
        for group in 1...groups {
            let cluster = addresses(group, replicas)
            for node in 0..<replicas {
                children.append(
                    try launch(
                        "group-\(99 + group)-\(node)",
                        [
                            "group", "serve", "--id", "\(node)", "--gid", "\(99 + group)", "--cluster",
                            cluster.joined(separator: ","), "--controllers", controllerAddresses.joined(separator: ","),
                            "--db", "\(dataDir)/group-\(99 + group)-\(node)", "--engine", engine(node),
                            "--retain", "\(retain)",
                        ]))
            }
        }
        note("starting \(children.count) nodes; data and logs in \(dataDir)")
        try await join(controllerAddresses, children, signals)
        if !signals.isRaised {
            var lines = [
                "ready: groups \(groups), nodes of each \(replicas), controllers \(controllers), engine \(engine.rawValue)",
                "use it: export FLOTILLA_ENDPOINTS=\(controllerAddresses.joined(separator: ","))",
                "        flotilla kv put hello world; flotilla kv get hello; flotilla group status",
            ]
            if let dashboard { lines.append("dashboard: http://\(dashboard.endpoint)") }
            try StandardOutput.writeLine(lines.joined(separator: "\n"))
        }
        while !signals.isRaised {
            try await Task.sleep(for: .milliseconds(100))
            if let dead = children.first(where: { !$0.isRunning }) {
                note(
                    "flotilla: a node ended with code \(dead.terminationStatus): \((dead.arguments ?? []).joined(separator: " "))"
                )
                note("its log is in \(dataDir)")
                throw Exit.failed
            }
        }
        note("stopping")
        dashboard?.stop()
    }

    private func launch(_ name: String, _ arguments: [String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.ownPath)
        let budget = memoryBudget.map { ["--memory-budget", "\($0)"] } ?? []
        let rate = moveRate.map { ["--move-rate", "\($0)"] } ?? []
        process.arguments = arguments + budget + rate + ["--exit-with-parent"]
        let log = "\(dataDir)/\(name).log"
        if !FileManager.default.fileExists(atPath: log), !FileManager.default.createFile(atPath: log, contents: nil) {
            note("flotilla: can't create \(log); make \(dataDir) writable, or give another --data-dir")
            throw Exit.failed
        }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
        try handle.seekToEnd()
        process.standardError = handle
        process.standardOutput = handle
        // The child reads to the end of this pipe, which comes when this process ends, however it ends.
        process.standardInput = Pipe()
        try process.run()
        return process
    }

    private static var ownPath: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }

    /// Joins the groups that have not joined yet.
    private func join(_ controllers: [String], _ children: [Process], _ signals: StopSignals) async throws {
        let client = ControllerClient(endpoints: controllers, deadline: .seconds(1))
        let end = Date().addingTimeInterval(60)
        while !signals.isRaised {
            if let dead = children.first(where: { !$0.isRunning }) {
                note(
                    "flotilla: a node could not start: \((dead.arguments ?? []).prefix(6).joined(separator: " ")); see its log in \(dataDir)"
                )
                throw Exit.failed
            }
            if let config = try? await client.query() {
                var missing: [GroupID: [String]] = [:]
                for group in 1...groups where config.map.groups[GroupID(UInt64(99 + group))] == nil {
                    missing[GroupID(UInt64(99 + group))] = addresses(group, replicas)
                }
                if missing.isEmpty { break }
                let joining = missing
                _ = try await report { () throws(ClientError) in try await client.join(joining) }
            }
            if Date() > end {
                note("flotilla: the controller has not come up after 60 s; see the logs in \(dataDir)")
                throw Exit.unavailable
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        // Ready means that every shard answers.
        var options = FlotillaClient.Options()
        options.deadline = .seconds(30)
        let probe = FlotillaClient(endpoints: controllers, options: options)
        if !signals.isRaised {
            _ = try await report { () throws(ClientError) in try await probe.scan(limit: 1, keysOnly: true) }
        }
        probe.close()
    }

    private static func stop(_ children: [Process]) {
        for child in children where child.isRunning { child.terminate() }
        let end = Date().addingTimeInterval(10)
        for child in children {
            while child.isRunning, Date() < end { usleep(20_000) }
            if child.isRunning { kill(child.processIdentifier, SIGKILL) }
        }
    }
}
