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
        subcommands: [Cluster.self, Count.self, Move.self, EnginesCommand.self])

    struct Cluster: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Concurrent callers in a closed loop: throughput, latency, server CPU.",
            discussion: "The servers' CPU time is shown when they run on this machine.")
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "put, get or mix (half and half).") var work: String = "put"
        @Option(help: "Callers at once, 1 to 1024; several rows with a list, as 1,16,64,256.") var clients = "16"
        @Option(help: "Bytes of a value, 1 to 8388608.") var valueSize = 256
        @Option(help: "Seconds for each row, 0.1 to 86400.") var seconds = 10.0
        @Option(help: "Operations for each row, instead of seconds; 1 to 1000000000.") var count: Int?
        @Option(help: "Keys to draw from, 1 to 1000000000.") var keySpace = 100_000
        @Option(help: "Streams to each node, 1 to 256.") var streams = 1

        func validate() throws {
            if ClusterBench.Work(rawValue: work) == nil { throw ValidationError("--work takes put, get or mix.") }
            let numbers = clients.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            if numbers.isEmpty || numbers.contains(where: { !(1...1024).contains($0) }) {
                throw ValidationError(
                    "--clients takes numbers from 1 to 1024, separated by commas; not \"\(clients)\".")
            }
            try require("--value-size", valueSize, in: 1...Limits.valueBytesMax, "bytes")
            try require("--seconds", seconds, in: ArgumentLimits.seconds, "seconds")
            if let count { try require("--count", count, in: ArgumentLimits.count) }
            try require("--key-space", keySpace, in: ArgumentLimits.count)
            try require("--streams", streams, in: 1...256)
        }

        private static func show(_ done: Int) {
            StandardError.write("\r\(done) operations ")
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
                let isTerminal = StandardError.isTerminal
                var show: (@Sendable (Int) -> Void)?
                if isTerminal { show = { @Sendable done in Self.show(done) } }
                let result = await bench.run(client, progress: show)
                if isTerminal { note("\r") }
                results.append(result)
            }
            await client.shutdown()
            if cluster.format == .json { try writeJSON(results) } else { try StandardOutput.write(text(results)) }
            guard let idle = results.first(where: { $0.operations == 0 }) else { return }
            note("flotilla: not one operation was answered: \(idle.firstError ?? "the time was too short")")
            throw Exit.unavailable
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move a shard to and fro under load: how long nobody who uses it gets an answer.",
            discussion: "Fills the shard with keys \"move:N\", which stay. The cluster needs two groups.")
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "The shard that moves.") var shard = 0
        @Option(help: "MiB that are put into it before, 1 to 65536.") var size = 64
        @Option(help: "Bytes of a value, 1 to 8388608.") var valueSize = 2_048
        @Option(help: "How often it moves, 1 to 10000.") var moves = 20
        @Option(help: "Callers who put, 0 to 1024.") var writers = 16
        @Option(help: "Callers who get, 0 to 1024.") var readers = 16
        @Option(help: "So many of a hundred callers use the shard that moves, 0 to 100.") var share = 25

        func validate() throws {
            try require("--shard", shard, in: 0...Limits.shardCountMax - 1)
            try require("--size", size, in: 1...65_536, "MiB")
            try require("--value-size", valueSize, in: 1...Limits.valueBytesMax, "bytes")
            try require("--moves", moves, in: 1...10_000)
            try require("--writers", writers, in: 0...1_024)
            try require("--readers", readers, in: 0...1_024)
            try require("--share", share, in: 0...100)
        }

        func run() async throws {
            var bench = MoveBench()
            bench.shard = ShardID(clamping: shard)
            bench.mebibytes = size
            bench.valueBytes = valueSize
            bench.moves = moves
            bench.writers = writers
            bench.readers = readers
            bench.share = share
            let (client, controller) = (cluster.makeClient(), cluster.makeController())
            let result: MoveBench.Result
            do {
                result = try await bench.run(client, controller) { move in
                    note(
                        "group \(move.from) to \(move.to): \(milliseconds(move.arrived)), longest gap of writes "
                            + "\(milliseconds(move.writeGap)), of reads \(milliseconds(move.readGap))")
                }
            } catch let obstacle as MoveBench.Obstacle {
                note("flotilla: \(obstacle)")
                throw Exit.failed
            } catch let error as ClientError {
                try await report { () throws(ClientError) in throw error }
                throw Exit.failed
            }
            await client.shutdown()
            if cluster.format == .json { try writeJSON(result) } else { try StandardOutput.write(text(result)) }
        }
    }

    /// eRaft's form: `bench N [CLIENTS]`.
    struct Count: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Put N keys with a number of callers.")
        @OptionGroup var cluster: ClusterOptions
        @Argument(help: "Operations, 1 to 1000000000.") var count: Int
        @Argument(help: "Callers at once, 1 to 1024.") var clients = 1

        func validate() throws {
            try require("COUNT", count, in: ArgumentLimits.count)
            try require("CLIENTS", clients, in: 1...1024)
        }

        func run() async throws {
            var bench = ClusterBench()
            bench.clients = clients
            bench.count = count
            bench.warmupSeconds = 0
            let client = cluster.makeClient()
            let result = await bench.run(client)
            await client.shutdown()
            if cluster.format == .json { try writeJSON(result) } else { try StandardOutput.write(text([result])) }
            if result.errors > 0 {
                note("flotilla: \(result.errors) operations failed: \(result.firstError ?? "")")
                throw Exit.failed
            }
        }
    }
}

private func milliseconds(_ value: Double?) -> String { value.map { String(format: "%.0f ms", $0) } ?? "-" }

/// The least, the median and the most of all moves.
private func text(_ result: MoveBench.Result) -> String {
    func row(_ name: String, _ values: [Double?], _ show: (Double?) -> String = milliseconds) -> [String] {
        let sorted = values.compactMap(\.self).sorted()
        guard let last = sorted.last else { return [name, "-", "-", "-"] }
        return [name, show(sorted[0]), show(sorted[sorted.count / 2]), show(last)]
    }
    let moves = result.moves
    return tableText(
        ["\(moves.count) MOVES OF \(result.mebibytes) MIB", "LEAST", "MEDIAN", "MOST"],
        [
            row("longest gap of writes", moves.map(\.writeGap)), row("longest gap of reads", moves.map(\.readGap)),
            row("until the target serves", moves.map(\.arrived)),
            row("until the source's copy is gone", moves.map(\.collected)),
            row("rate, MiB/s", moves.map { Double(result.mebibytes) * 1_000 / max(1, $0.arrived) }) {
                String(format: "%.0f", $0 ?? 0)
            },
            row("other shards' operations, to those before", moves.map(\.others)) { String(format: "%.2f", $0 ?? 0) },
        ]) + (result.errors > 0 ? "\(result.errors) operations failed: \(result.firstError ?? "")\n" : "")
}

private func text(_ results: [ClusterBench.Result]) -> String {
    func number(_ value: Double) -> String { String(format: "%.2f", value) }
    return tableText(
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
