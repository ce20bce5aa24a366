import ArgumentParser
import Client
import CommandSupport
import Engines
import Foundation
internal import Keyspace
import Server

struct ControllerVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "controller", abstract: "The shard map: serve it, change it, look at it.",
        subcommands: [Serve.self, Join.self, Leave.self, Move.self, GiveUp.self, Query.self, Status.self])

    struct Serve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run one node of the controller.")
        @OptionGroup var serve: ServeArguments
        @Option(help: "Shards of a new cluster, 1 to 1024; fixed from then on.") var shards = 64

        func validate() throws { try require("--shards", shards, in: ArgumentLimits.shards) }

        func run() async throws {
            let options = ServeOptions(
                id: serve.id, gid: .controller, cluster: serve.addresses, controllers: [], directory: serve.db,
                engine: serve.engine, listen: serve.listen, shardCount: shards, retainedEntries: serve.retain,
                httpPort: serve.httpPort,
                memoryBudgetMebibytes: serve.memoryBudget, moveRateMebibytes: serve.moveRate)
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
        @Flag(help: "Don't ask the nodes who they are: for groups that are started later.") var force = false

        func validate() throws { _ = try joining() }

        private func joining() throws -> [GroupID: [String]] {
            var joining: [GroupID: [String]] = [:]
            for text in groups {
                let parts = text.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, let gid = GroupID(argument: String(parts[0])), gid != .none else {
                    throw ValidationError("\"\(text)\" is not GID=HOST:PORT,HOST:PORT,… with a GID above 0.")
                }
                if joining[gid] != nil { throw ValidationError("Group \(gid) is named twice.") }
                joining[gid] = try addressList(parts[1], "group \(gid)")
            }
            return joining
        }

        func run() async throws {
            let (request, force) = (try joining(), force)
            try await change { (client) throws(ClientError) in try await client.join(request, force: force) }
        }
    }

    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove groups, once their shards have moved away.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var gids: [GroupID]

        func run() async throws {
            let gids = gids
            try await change { (client) throws(ClientError) in try await client.leave(gids) }
        }
    }

    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Move one shard to a group.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var shard: ShardID
        @Argument var gid: GroupID

        func run() async throws {
            let (shard, gid) = (shard, gid)
            try await change { (client) throws(ClientError) in try await client.move(shard: shard, to: gid) }
        }
    }

    struct GiveUp: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "give-up",
            abstract: "Let a group that has lost all its disks begin again with empty shards.",
            discussion: """
                A group whose nodes were all started with new directories serves nothing, because what was acknowledged \
                before is gone. Restore the cluster from a backup (`snapshot restore`) to have the data again. This gives \
                it up: every key of the group's shards is lost for good.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Argument var gid: GroupID
        @Flag(help: "Say that every key of the group's shards is lost.") var loseData = false

        func validate() throws {
            if !loseData {
                throw ValidationError("Every key of the shards of group \(gid) would be lost; say so with --lose-data.")
            }
        }

        func run() async throws {
            let gid = gid
            try await change { (client) throws(ClientError) in try await client.giveUp(gid) }
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
            if cluster.format == .json {
                try writeJSON(ConfigOutput(config))
            } else {
                noteHold(config)
                try StandardOutput.write(configText(config))
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the state of the controller's nodes.")
        @OptionGroup var cluster: ClusterOptions

        func run() async throws {
            let nodes = await nodeStatuses(cluster.addresses)
            if cluster.format == .json {
                try writeJSON(nodes.map(NodeOutput.init))
            } else {
                try StandardOutput.write(nodesText(nodes))
            }
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
extension ControllerVerb.GiveUp: ControllerChange {}

extension ControllerChange {
    fileprivate func change(
        _ body: (ControllerClient) async throws(ClientError) -> HeldMap
    ) async throws {
        let client = cluster.makeController()
        let config = try await report { () throws(ClientError) in try await body(client) }
        if cluster.format == .json {
            try confirmJSON(ConfigOutput(config))
        } else {
            try StandardOutput.confirm("OK, config \(config.map.number)")
            noteHold(config)
            let moves = config.map.moves
            if !moves.isEmpty { note("\(moves.count) shards are on the move; `query` shows them") }
        }
    }
}

/// Says that moves wait, if they do.
func noteHold(_ config: HeldMap) {
    guard let hold = config.hold else { return }
    let waiting = hold.waiting.count
    let what =
        switch waiting {
        case 0: "what is asked for meanwhile starts then"
        case 1: "the move that was asked for starts then"
        default: "the \(waiting) moves that were asked for start then"
        }
    let balance = config.map.isBalancePending ? "; shards are spread over the groups then" : ""
    note("waits: moves are held by \(hold.holder) until \(holdEnd(hold)); \(what)\(balance)")
}

/// A hold is prolonged again and again: the end is the one that is known now.
private func holdEnd(_ hold: MoveHold) -> String {
    Date(timeIntervalSince1970: Double(hold.until) / 1000).formatted(.iso8601)
}

struct ConfigOutput: Encodable {
    struct Hold: Encodable {
        struct Waiting: Encodable {
            var shard: ShardID
            var to: GroupID
        }
        var holder: String
        var untilMs: UInt64
        /// Moves that start at the end.
        var waiting: [Waiting]
        /// The balance of the groups is made up at the end.
        var balanceWaits: Bool
    }
    struct Move: Encodable {
        var shard: ShardID
        var from: GroupID
        var to: GroupID
        var epoch: UInt64
        var phase: String
    }
    var config: UInt64
    var shardCount: Int
    var groups: [String: [String]]
    var shards: [GroupID]
    var moves: [Move]
    /// Groups that leave as soon as their last shard has moved away.
    var leaving: [GroupID]
    /// Moves are held.
    var hold: Hold?

    init(_ held: HeldMap) {
        let map = held.map
        config = map.number
        shardCount = map.shardCount
        groups = [:]
        for (gid, group) in map.groups { groups["\(gid)"] = group.addresses }
        shards = map.shards.map(\.gid)
        leaving = map.groups.filter(\.value.isLeaving).keys.sorted()
        hold = held.hold.map { hold in
            Hold(
                holder: hold.holder, untilMs: hold.until,
                waiting: hold.waiting.sorted { $0.key < $1.key }.map { Hold.Waiting(shard: $0.key, to: $0.value) },
                balanceWaits: map.isBalancePending)
        }
        moves = map.moves.map { shard, move in
            Move(shard: shard, from: move.from, to: move.to, epoch: move.epoch, phase: phaseName(move.phase))
        }
    }
}

private func phaseName(_ phase: ShardMap.Move.Phase) -> String {
    switch phase {
    case .moving: "Moving"
    case .collecting: "Collecting"
    case .rejected: "Rejected"
    }
}

private func configText(_ config: HeldMap) -> String {
    let map = config.map
    var text = "config \(map.number), \(map.shardCount) shards, \(map.groups.count) groups\n"
    for (gid, group) in map.groups.sorted(by: { $0.key < $1.key }) {
        text += "group \(gid): \(group.addresses.joined(separator: ", "))\(group.isLeaving ? "  (leaving)" : "")\n"
    }
    for shard in map.shardIDs {
        let row = map[shard]
        let move =
            row.move.map { "  (\(phaseName($0.phase)): \($0.from) -> \($0.to), epoch \($0.epoch))" }
            ?? config.hold?.waiting[shard].map { "  (waits to move to group \($0))" } ?? ""
        text += "shard \(shard): \(row.gid == .none ? "none" : "group \(row.gid)")\(move)\n"
    }
    return text
}
