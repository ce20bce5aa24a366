import ArgumentParser
import BackupCommands
import Client
import CommandSupport
import Engines
import Foundation
internal import Keyspace
import Server

struct GroupVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "Shard groups: serve, members, state, recovery.",
        subcommands: [Serve.self, Status.self, MemberVerb.self, RecoverCommand.self])

    struct Serve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Run one node of a shard group.")
        @OptionGroup var serve: ServeArguments
        @Option(help: "The group's id, 1 to 18446744073709551615.") var gid: GroupID
        @Option(
            name: [.customLong("controllers"), .customLong("ctrlers")], help: "The controllers' addresses, HOST:PORT,…")
        var controllers = "localhost:50051,localhost:50052,localhost:50053"

        func validate() throws {
            if gid == .none { throw ValidationError("--gid 0 means \"no group\"; choose another.") }
            _ = try addressList(controllers, "--controllers")
        }

        func run() async throws {
            let options = ServeOptions(
                id: serve.id, gid: gid, cluster: serve.addresses,
                controllers: commaList(controllers), directory: serve.db,
                engine: serve.engine, listen: serve.listen, retainedEntries: serve.retain, httpPort: serve.httpPort,
                memoryBudgetMebibytes: serve.memoryBudget, moveRateMebibytes: serve.moveRate)
            try await serve.run {
                let node = try await GroupNode(options, log: serve.logger)
                return ServeArguments.Running(
                    failure: { node.failure.map { "\($0)" } }, stop: { await node.stop(closesConnections: false) })
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the state of every group's nodes and shards.")
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "Only this group.") var gid: GroupID?
        @Option(help: "Ask this node (HOST:PORT) instead of finding nodes through the controller.") var node: String?
        @Flag(help: "Count keys and compute content hashes by scanning.") var exact = false

        func validate() throws {
            if let node { try requireAddress(node, "--node") }
        }

        func run() async throws {
            var nodes: [AskedNode] = []
            if let node {
                nodes = await nodeStatuses([node], exact: exact)
            } else {
                let client = cluster.makeController()
                let config = try await report { () throws(ClientError) in try await client.query() }
                noteHold(config)
                for (found, group) in config.map.groups.sorted(by: { $0.key < $1.key }) where gid == nil || found == gid
                {
                    nodes += await nodeStatuses(group.addresses, gid: found, exact: exact)
                }
                if let gid, config.map.groups[gid] == nil {
                    note("flotilla: there is no group \(gid); `controller query` lists the groups")
                    throw Exit.notFound
                }
            }
            if cluster.format == .json {
                try writeJSON(nodes.map(NodeOutput.init))
            } else {
                try StandardOutput.write(text(nodes))
            }
            if nodes.allSatisfy({ $0.status == nil }), !nodes.isEmpty {
                note("flotilla: no node answers at \(nodes.map(\.address).joined(separator: ", "))")
                throw Exit.unavailable
            }
        }

        private func text(_ nodes: [AskedNode]) -> String {
            var text = ""
            for gid in Set(nodes.map(\.gid)).sorted() {
                let members = nodes.filter { $0.gid == gid }
                text += "group \(gid)\n" + nodesText(members)
                guard
                    let speaker = members.first(where: { $0.status?.role == .leader })
                        ?? members.first(where: { $0.status != nil }),
                    let status = speaker.status
                else { continue }
                text += tableText(
                    ["SHARD", "STATE", "KEYS", "BYTES"] + (exact ? ["CONTENT"] : []),
                    status.shards.map { shard -> [String] in
                        let row = ["\(shard.shard)", shard.state.rawValue, "\(shard.keys)", "\(shard.bytes)"]
                        return exact ? row + [shard.exact?.userHash ?? ""] : row
                    })
                text += "\n"
            }
            return text
        }
    }
}

struct MemberVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "member", abstract: "The members of a group (or of the controller).",
        discussion: """
            Name the group by --gid (found through the controller) or by one of its nodes with --node. Members change \
            one at a time: a new one catches up without a vote first.
            """,
        subcommands: [List.self, Add.self, Remove.self, Replace.self, Update.self])

    struct Target: ParsableArguments {
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "The group's id.") var gid: GroupID?
        @Option(help: "A node of the group, HOST:PORT.") var node: String?

        func validate() throws {
            if let node { return try requireAddress(node, "--node") }
            if gid == nil { throw ValidationError("Name the group with --gid or --node.") }
        }

        /// A node of the group that answers.
        func address() async throws -> String {
            if let node { return node }
            guard let gid else { return "" }
            let client = cluster.makeController()
            let config = try await report { () throws(ClientError) in try await client.query() }
            guard let group = config.map.groups[gid] else {
                note("flotilla: there is no group \(gid); `controller query` lists the groups")
                throw Exit.notFound
            }
            let nodes = await nodeStatuses(group.addresses)
            guard let found = nodes.first(where: { $0.status?.leaderID != nil }) else {
                note("flotilla: group \(gid) has no leader")
                throw Exit.unavailable
            }
            return found.address
        }

        func show(_ members: GroupMembers) throws {
            if cluster.format == .json {
                try writeJSON(
                    members.members.map { member -> JSONObject in
                        var object = JSONObject()
                        object.set("id", member.id)
                        object.set("address", member.address)
                        object.set("voter", member.isVoter)
                        object.set("matchIndex", member.matchIndex)
                        object.set("leader", members.leaderID == member.id)
                        return object
                    })
            } else {
                let table = tableText(
                    ["ID", "ADDRESS", "STANDING", "MATCH"],
                    members.members.map { member in
                        let leads = members.leaderID == member.id
                        return [
                            "\(member.id)", member.address, leads ? "Leader" : member.isVoter ? "Voter" : "Learner",
                            "\(member.matchIndex)",
                        ]
                    })
                try StandardOutput.write(table)
            }
        }

        func change(_ change: MemberChange) async throws {
            let address = try await address()
            let client = StatusClient()
            try show(try await report { () throws(ClientError) in try await client.change(change, at: address) })
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the members.")
        @OptionGroup var target: Target

        func run() async throws {
            let address = try await target.address()
            let client = StatusClient()
            try target.show(try await report { () throws(ClientError) in try await client.members(address) })
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a node that is running and waits to be added.")
        @OptionGroup var target: Target
        @Argument var id: UInt64
        @Argument var address: String

        func validate() throws { try requireAddress(address, "ADDRESS") }

        func run() async throws {
            try await target.change(.add(id: id, address: address))
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a member.")
        @OptionGroup var target: Target
        @Argument var id: UInt64
        @Flag(help: "Even if too few of those that are left answer to be a quorum.") var force = false

        func run() async throws { try await target.change(.remove(id: id, force: force)) }
    }

    struct Update: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say where a member is to be found that has moved with its disk to another address.")
        @OptionGroup var target: Target
        @Argument var id: UInt64
        @Argument var address: String

        func validate() throws { try requireAddress(address, "ADDRESS") }

        func run() async throws { try await target.change(.update(id: id, address: address)) }
    }

    struct Replace: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a node a member again that lost its disk (or moved to another address).")
        @OptionGroup var target: Target
        @Argument var id: UInt64
        @Argument var address: String?

        func validate() throws {
            if let address { try requireAddress(address, "ADDRESS") }
        }

        func run() async throws {
            try await target.change(.replace(id: id, address: address ?? ""))
        }
    }
}
