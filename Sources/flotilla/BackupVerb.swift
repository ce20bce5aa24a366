import ArgumentParser
import CommandSupport
import InspectCommands
import Server

struct BackupVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Back up a stopped cluster.", subcommands: [Create.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Save the controller and every group from the directories of stopped nodes.",
            discussion: """
                Name one node of the controller and one of each group: of each the one that has applied most (`flotilla \
                snapshot inspect --quick`). What a node's log holds beyond that is not in the backup. The directories, \
                or copies of them, must be of one moment, when no shard is on the move. Nothing in them changes.
                """)
        @Option(help: "A stopped node's directory, or a copy of one; once for the controller and for each group.")
        var from: [String]
        @Option(help: "The new directory; it must not exist, or be empty.") var out: String
        @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
        var format: OutputFormat = .table

        func run() throws {
            try SaveStopped.backUp(
                from: from, out: out, asJSON: format == .json, madeBy: "flotilla \(ServerVersion.current)")
        }
    }
}
