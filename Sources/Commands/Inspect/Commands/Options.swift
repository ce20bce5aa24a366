public import ArgumentParser
internal import CommandSupport
internal import Inspect
internal import Keyspace

struct FormatOption: ParsableArguments {
    @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
    var format: OutputFormat = .table

    var isJSON: Bool { format == .json }
}

/// Which records.
struct SelectionOptions: ParsableArguments {
    @Option(help: "Only keys that begin with this (\\xNN stands for a byte).") var prefix: String?
    @Option(help: "Only this shard.") var shard: ShardID?
    @Option(help: "Only this group.") var group: GroupID?

    func selection(_ hex: HexOption) throws -> RecordSelection {
        var selection = RecordSelection()
        selection.prefix = try prefix.map { try hex.parse($0, "--prefix") } ?? []
        selection.shard = shard
        selection.gid = group
        return selection
    }
}

struct PathArgument: ParsableArguments {
    @Argument(
        help: "A snapshot, a backup, or the directory of a stopped node or a copy of one.",
        transform: ArgumentText.plain)
    var path: String
}

/// The commands that read snapshots, backups and stopped nodes' directories.
public enum SnapshotCommands {
    /// Subcommands of `flotilla snapshot`.
    public static let all: [any ParsableCommand.Type] = [
        InspectCommand.self, VerifyCommand.self, KeysCommand.self, GetCommand.self, ScanCommand.self, DumpCommand.self,
        LogCommand.self, HistogramCommand.self, DiffCommand.self,
    ]
}
