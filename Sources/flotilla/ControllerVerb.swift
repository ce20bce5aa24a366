import ArgumentParser
import Client
import CommandSupport
import Engines
import Foundation
import Server
import Wire

struct ControllerVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "controller", abstract: "The shard map: serve it, change it, look at it.",
        subcommands: [Serve.self, Join.self, Leave.self, Move.self, Query.self, Status.self])

    struct Serve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run one node of the controller.")
        @OptionGroup var serve: ServeArguments
        @Option(help: "Shards of a new cluster; fixed from then on.") var shards = 64

        func run() async throws {
            let options = ServeOptions(
                id: serve.id, gid: 0, cluster: serve.addresses, controllers: [], directory: serve.db,
                engine: serve.engine, listen: serve.listen, shardCount: shards, retainedEntries: serve.retain,
                httpPort: serve.httpPort)
            try await serve.run {
                let node = try await ControllerNode(options, log: serve.logger)
                return ServeArguments.Running(
                    failure: { node.failure.map { "\($0)" } }, stop: { await node.stop(closesConnections: false) })
            }
        }
    }

    struct Join: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add groups: GID=HOST:PORT,… for each.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var groups: [String]

        func run() async throws {
            var joining: [UInt64: [String]] = [:]
            for text in groups {
                let parts = text.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, let gid = UInt64(parts[0]) else {
                    throw ValidationError("\"\(text)\" is not GID=HOST:PORT,HOST:PORT,…")
                }
                if joining[gid] != nil { throw ValidationError("Group \(gid) is named twice.") }
                joining[gid] = parts[1].split(separator: ",").map(String.init)
            }
            let request = joining
            try await change { (client) throws(ClientError) in try await client.join(request) }
        }
    }

    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove groups, once their shards have moved away.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var gids: [UInt64]

        func run() async throws {
            let gids = gids
            try await change { (client) throws(ClientError) in try await client.leave(gids) }
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Move one shard to a group.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var shard: UInt32
        @Argument var gid: UInt64

        func run() async throws {
            let (shard, gid) = (shard, gid)
            try await change { (client) throws(ClientError) in try await client.move(shard: shard, to: gid) }
        }
    }

    struct Query: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the shard map, or an earlier one by its number.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var number: UInt64?

        func run() async throws {
            let number = number
            let client = cluster.makeController()
            let config = try await report { () throws(ClientError) in try await client.query(number) }
            if cluster.format == .json { try printJSON(ConfigOutput(config)) } else { printConfig(config) }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the state of the controller's nodes.")
        @OptionGroup var cluster: ClusterOptions

        func run() async throws {
            let nodes = await nodeStatuses(cluster.addresses)
            if cluster.format == .json { try printJSON(nodes.map(NodeOutput.init)) } else { printNodes(nodes) }
            // A hold is worth a word, and not worth waiting for.
            if let config = try? await cluster.makeController().query(patience: .seconds(1)) { noteHold(config) }
            if nodes.allSatisfy({ $0.status == nil }) {
                note("flotilla: no controller answers at \(cluster.addresses.joined(separator: ", "))")
                throw Exit.unavailable
            }
        }
    }
}

private protocol ControllerChange { var cluster: ClusterOptions { get } }
extension ControllerVerb.Join: ControllerChange {}
extension ControllerVerb.Leave: ControllerChange {}
extension ControllerVerb.Move: ControllerChange {}

extension ControllerChange {
    fileprivate func change(
        _ body: (ControllerClient) async throws(ClientError) -> Flotilla_V1_Config
    ) async throws {
        let client = cluster.makeController()
        let config = try await report { () throws(ClientError) in try await body(client) }
        if cluster.format == .json {
            try printJSON(ConfigOutput(config))
        } else {
            print("OK, config \(config.number)")
            noteHold(config)
            if !config.moves.isEmpty { note("\(config.moves.count) shards are on the move; `query` shows them") }
        }
    }
}

/// Says that moves wait, if they do.
func noteHold(_ config: Flotilla_V1_Config) {
    guard config.hasHold else { return }
    let waiting = config.hold.waiting.count
    let what =
        switch waiting {
        case 0: "what is asked for meanwhile starts then"
        case 1: "the move that was asked for starts then"
        default: "the \(waiting) moves that were asked for start then"
        }
    let balance = config.hold.balanceWaits ? "; shards are spread over the groups then" : ""
    note("waits: moves are held by \(config.hold.holder) until \(holdEnd(config.hold)); \(what)\(balance)")
}

/// A hold is prolonged again and again: the end is the one that is known now.
private func holdEnd(_ hold: Flotilla_V1_MoveHold) -> String {
    Date(timeIntervalSince1970: Double(hold.untilMs) / 1000).formatted(.iso8601)
}

struct ConfigOutput: Encodable {
    struct Hold: Encodable {
        struct Waiting: Encodable {
            var shard: UInt32
            var to: UInt64
        }
        var holder: String
        var untilMs: UInt64
        /// Moves that start at the end.
        var waiting: [Waiting]
        /// The balance of the groups is made up at the end.
        var balanceWaits: Bool
    }
    struct Move: Encodable {
        var shard: UInt32
        var from: UInt64
        var to: UInt64
        var epoch: UInt64
        var phase: String
    }
    var config: UInt64
    var shardCount: UInt32
    var groups: [String: [String]]
    var shards: [UInt64]
    var moves: [Move]
    /// Groups that leave as soon as their last shard has moved away.
    var leaving: [UInt64]
    /// Moves are held.
    var hold: Hold?

    init(_ wire: Flotilla_V1_Config) {
        config = wire.number
        shardCount = wire.shardCount
        groups = [:]
        for group in wire.groups { groups[String(group.gid)] = group.addresses }
        shards = wire.shards
        leaving = wire.groups.filter(\.leaving).map(\.gid)
        if wire.hasHold {
            hold = Hold(
                holder: wire.hold.holder, untilMs: wire.hold.untilMs,
                waiting: wire.hold.waiting.map { Hold.Waiting(shard: $0.shard, to: $0.to) },
                balanceWaits: wire.hold.balanceWaits)
        }
        moves = wire.moves.map {
            Move(shard: $0.shard, from: $0.from, to: $0.to, epoch: $0.epoch, phase: phaseName($0.phase))
        }
    }
}

private func phaseName(_ phase: Flotilla_V1_MovePhase) -> String {
    switch phase {
    case .moving: "Moving"
    case .collecting: "Collecting"
    case .rejected: "Rejected"
    default: "Unknown"
    }
}

private func printConfig(_ config: Flotilla_V1_Config) {
    print("config \(config.number), \(config.shardCount) shards, \(config.groups.count) groups")
    noteHold(config)
    for group in config.groups {
        print("group \(group.gid): \(group.addresses.joined(separator: ", "))\(group.leaving ? "  (leaving)" : "")")
    }
    for (shard, gid) in config.shards.enumerated() {
        let move =
            config.moves.first { $0.shard == UInt32(shard) }
            .map { "  (\(phaseName($0.phase)): \($0.from) -> \($0.to), epoch \($0.epoch))" }
            ?? config.hold.waiting.first { $0.shard == UInt32(shard) }.map { "  (waits to move to group \($0.to))" }
            ?? ""
        print("shard \(shard): \(gid == 0 ? "none" : "group \(gid)")\(move)")
    }
}
