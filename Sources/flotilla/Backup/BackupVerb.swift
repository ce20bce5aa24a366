import ArgumentParser
import CommandSupport
import InspectCommands
import Server

struct BackupVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Back up a cluster.", subcommands: [Create.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Save the controller and every group, of a cluster that serves or from directories of stopped nodes.",
            discussion: """
                With --controllers the cluster goes on serving. Moves wait until the backup is done (`flotilla controller \
                query` says so), and what has been acknowledged before it began is in it.

                With --from name one node of the controller and one of each group: of each the one that has applied most (`flotilla \
                snapshot inspect --quick`). What a node's log holds beyond that is not in the backup. The directories, \
                or copies of them, must be of one moment, when no shard is on the move. Nothing in them changes.
                """)
        @Option(
            help: "A stopped node's directory, or a copy of one; once for the controller and for each group.",
            transform: ArgumentText.plain)
        var from: [String] = []
        @Option(help: "The controllers' addresses of a running cluster, HOST:PORT,…") var controllers: String?
        @Option(
            help: "An earlier backup of this cluster; what hasn't changed is taken from there.",
            transform: ArgumentText.plain)
        var since: String?
        @OptionGroup var live: LiveOptions
        @Option(help: "Give up when moves that are under way take more seconds than this, 0 to 86400.")
        var moveTimeout = 300
        @Option(help: "The new directory; it must not exist, or be empty.", transform: ArgumentText.plain) var out:
            String
        @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
        var format: OutputFormat = .table

        func validate() throws {
            guard from.isEmpty == (controllers != nil) else {
                throw ValidationError(
                    "Name a running cluster with --controllers, or stopped nodes' directories with --from.")
            }
            if !from.isEmpty, live.rate != nil || since != nil {
                throw ValidationError("--rate and --since go with --controllers.")
            }
            try require("--move-timeout", moveTimeout, in: 0...86_400, "seconds")
            if let controllers { _ = try addressList(controllers, "--controllers") }
        }

        func run() async throws {
            if let controllers {
                let backup = LiveBackup(
                    controllers: commaList(controllers), out: out, since: since, rate: try live.transferRate,
                    moveWait: .seconds(moveTimeout), asJSON: format == .json)
                return try await interruptible { try await backup.run() }
            }
            try SaveStopped.backUp(
                from: from, out: out, asJSON: format == .json, madeBy: "flotilla \(ServerVersion.current)")
        }
    }
}
