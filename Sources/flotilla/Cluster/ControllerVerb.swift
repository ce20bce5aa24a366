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
        static let configuration = CommandConfiguration(
            abstract: "Move one shard to a group, or end its move.",
            discussion: """
                With --abort the shard stays where it is: its source serves it further as soon as the move has ended, which \
                takes no more than one of the two groups until the shard is frozen, and the target from then on. If the target \
                is lost for good by then, --force-abort has the source serve again without it.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Argument var shard: ShardID
        @Argument(help: "Where to; not with --abort and --force-abort.") var gid: GroupID?
        @Flag(help: "End the shard's move before its target has taken it over.") var abort = false
        @Flag(help: "End the shard's move although its target is lost for good.") var forceAbort = false
        @Flag(help: "Say that what the target has acknowledged since it took the shard over is lost.")
        var acceptLoss = false

        func validate() throws {
            if abort && forceAbort { throw ValidationError("Give --abort or --force-abort, not both.") }
            if forceAbort && !acceptLoss {
                throw ValidationError(
                    "If the target has taken shard \(shard) over, what it has acknowledged since would be lost; say so with "
                        + "--accept-loss, or end the move with --abort.")
            }
            if acceptLoss && !forceAbort { throw ValidationError("--accept-loss goes with --force-abort.") }
            if gid != nil && (abort || forceAbort) {
                throw ValidationError("A move that is aborted names no group; leave the GID out.")
            }
            if gid == nil && !abort && !forceAbort {
                throw ValidationError("Missing expected argument '<gid>': the group that shard \(shard) moves to.")
            }
        }

        func run() async throws {
            let (shard, forceAbort) = (shard, forceAbort)
            if let gid {
                return try await change { (client) throws(ClientError) in try await client.move(shard: shard, to: gid) }
            }
            try await change { (client) throws(ClientError) in
                try await client.abortMove(of: shard, acceptsLoss: forceAbort)
            } told: { config in
                guard let move = config.map.row(shard)?.move else { return "shard \(shard): it stays where it is" }
                return "shard \(shard): the move to group \(move.to) is being aborted"
            }
        }
    }

    struct GiveUp: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "give-up",
            abstract: "Let a group that has lost all its disks begin again with empty shards.",
            discussion: """
                A group whose nodes were all started with new directories serves nothing, because what was acknowledged \
                before is gone. Restore the cluster from a backup (`snapshot restore`) to have the data again. This gives \
                it up: every key of the group's shards is lost for good. What is on the move from the group ends where its \
                newest copy is: at the target, if it has activated it, and else here, with nothing in it.
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
            try await change { (client) throws(ClientError) in
                try await client.giveUp(gid)
            } told: { config in
                let map = config.map
                let own = map.shardIDs.filter { map[$0].gid == gid }
                let undecided = own.filter { map[$0].move?.from == GroupID.none }
                let lost = own.filter { map[$0].isBlank && map[$0].move == nil }
                return [("lost", lost), ("lost unless their targets have them", undecided)].filter { !$0.1.isEmpty }
                    .map { "shards \($0.1.map(\.description).joined(separator: ", ")): \($0.0)" }.joined(
                        separator: "; ")
            }
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
    /// - Parameter told: what people hear of it besides the config's number, if anything.
    fileprivate func change(
        _ body: (ControllerClient) async throws(ClientError) -> HeldMap, told: (HeldMap) -> String = { _ in "" }
    ) async throws {
        let client = cluster.makeController()
        let config = try await report { () throws(ClientError) in try await body(client) }
        if cluster.format == .json {
            try confirmJSON(ConfigOutput(config))
        } else {
            let words = told(config)
            try StandardOutput.confirm("OK, config \(config.map.number)\(words.isEmpty ? "" : "; \(words)")")
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
    case .aborting: "Aborting"
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
            row.move.map { move in
                let from = move.from == .none ? "given up" : "\(move.from)"
                return "  (\(phaseName(move.phase)): \(from) -> \(move.to), epoch \(move.epoch))"
            }
            ?? config.hold?.waiting[shard].map { "  (waits to move to group \($0))" } ?? ""
        text += "shard \(shard): \(row.gid == .none ? "none" : "group \(row.gid)")\(move)\n"
    }
    return text
}
