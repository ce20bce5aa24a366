import ArgumentParser
import Bench
import Client
import CommandSupport
import EngineBench
import Foundation
internal import Keyspace

struct BenchVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure a cluster, or the storage engines.",
        subcommands: [Cluster.self, Count.self, EnginesCommand.self])

    struct Cluster: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Concurrent callers in a closed loop: throughput, latency, server CPU.",
            discussion: "The servers' CPU time is shown when they run on this machine.")
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "put, get or mix (half and half).") var work: String = "put"
        @Option(help: "Callers at once, 1 to 1024; several rows with a list, as 1,16,64,256.") var clients = "16"
        @Option(help: "Bytes of a value.") var valueSize = 256
        @Option(help: "Seconds for each row.") var seconds = 10.0
        @Option(help: "Operations for each row, instead of seconds.") var count: Int?
        @Option(help: "Keys to draw from.") var keySpace = 100_000
        @Option(help: "Streams to each node.") var streams = 1

        func validate() throws {
            if ClusterBench.Work(rawValue: work) == nil { throw ValidationError("--work takes put, get or mix.") }
            let numbers = clients.split(separator: ",").map { Int($0) ?? 0 }
            if numbers.isEmpty || numbers.contains(where: { !(1...1024).contains($0) }) {
                throw ValidationError("--clients takes numbers from 1 to 1024.")
            }
            if !(1...(8 << 20)).contains(valueSize) { throw ValidationError("--value-size takes 1 to 8388608.") }
        }

        private static func show(_ done: Int) {
            FileHandle.standardError.write(Data("\r\(done) operations ".utf8))
        }

        func run() async throws {
            let client = cluster.makeClient(streamsPerNode: streams)
            let controller = cluster.makeController()
            let config = try await report { () throws(ClientError) in try await controller.query() }
            let servers = findServerPIDs(Set(config.map.groups.values.flatMap(\.addresses)))
            var results: [ClusterBench.Result] = []
            for number in clients.split(separator: ",").compactMap({ Int($0) }) {
                var bench = ClusterBench()
                bench.work = ClusterBench.Work(rawValue: work) ?? .put
                bench.clients = number
                bench.valueBytes = valueSize
                bench.seconds = seconds
                bench.count = count
                bench.keySpace = keySpace
                bench.serverPIDs = servers
                let isTerminal = isatty(2) == 1
                var show: (@Sendable (Int) -> Void)?
                if isTerminal { show = { @Sendable done in Self.show(done) } }
                let result = await bench.run(client, progress: show)
                if isTerminal { note("\r") }
                results.append(result)
            }
            if cluster.format == .json { try printJSON(results) } else { printResults(results) }
            if results.contains(where: { $0.operations == 0 }) { throw Exit.unavailable }
        }
    }

    /// eRaft's form: `bench N [CLIENTS]`.
    struct Count: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Put N keys with a number of callers.")
        @OptionGroup var cluster: ClusterOptions
        @Argument(help: "Operations.") var count: Int
        @Argument(help: "Callers at once.") var clients = 1

        func validate() throws {
            if count < 1 { throw ValidationError("Give a number of operations above 0.") }
            if !(1...1024).contains(clients) { throw ValidationError("Callers: 1 to 1024.") }
        }

        func run() async throws {
            var bench = ClusterBench()
            bench.clients = clients
            bench.count = count
            bench.warmupSeconds = 0
            let result = await bench.run(cluster.makeClient())
            if cluster.format == .json { try printJSON(result) } else { printResults([result]) }
            if result.errors > 0 {
                note("flotilla: \(result.errors) operations failed: \(result.firstError ?? "")")
                throw Exit.failed
            }
        }
    }
}

private func printResults(_ results: [ClusterBench.Result]) {
    func number(_ value: Double) -> String { String(format: "%.2f", value) }
    printTable(
        [
            "WORK", "CLIENTS", "OPS/S", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS", "SERVER CPU µS/OP",
            "CLIENT CPU µS/OP", "ERRORS",
        ],
        results.map { result in
            [
                result.work, "\(result.clients)", String(format: "%.0f", result.operationsPerSecond),
                number(result.p50),
                number(result.p99), number(result.p999), number(result.max),
                result.serverCPUPerThousand.map { String(format: "%.0f", $0) } ?? "-",
                String(format: "%.0f", result.clientCPUPerThousand), "\(result.errors)",
            ]
        })
}
