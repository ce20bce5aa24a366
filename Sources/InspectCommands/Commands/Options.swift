public import ArgumentParser
internal import CommandSupport
internal import Inspect

struct FormatOption: ParsableArguments {
    @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
    var format: OutputFormat = .table

    var isJSON: Bool { format == .json }
}

struct HexOption: ParsableArguments {
    @Flag(help: "Print and take keys and values in hexadecimal.") var hex = false

    /// Bytes for a table.
    func text(_ bytes: some Sequence<UInt8>) -> String { hex ? BytesText.hex(bytes) : BytesText.escaped(bytes) }

    func append(_ bytes: UnsafeRawBufferPointer, to buffer: inout [UInt8]) {
        if hex { BytesText.hex(bytes, into: &buffer) } else { BytesText.escape(bytes, into: &buffer) }
    }

    /// A key as it was typed.
    func parse(_ text: String, _ option: String) throws -> [UInt8] {
        guard hex else { return BytesText.parse(text) }
        guard let bytes = BytesText.parseHex(text) else {
            throw ValidationError("\(option) takes hexadecimal digits, two for each byte, with --hex; not \"\(text)\".")
        }
        return bytes
    }
}

/// Which records.
struct SelectionOptions: ParsableArguments {
    @Option(help: "Only keys that begin with this (\\xNN stands for a byte).") var prefix: String?
    @Option(help: "Only this shard.") var shard: Int?
    @Option(help: "Only this group.") var group: UInt64?

    func selection(_ hex: HexOption) throws -> RecordSelection {
        var selection = RecordSelection()
        selection.prefix = try prefix.map { try hex.parse($0, "--prefix") } ?? []
        selection.shard = shard
        selection.gid = group
        return selection
    }

    func validate() throws {
        if let shard, shard < 0 { throw ValidationError("--shard takes a number from 0 on.") }
    }
}

struct PathArgument: ParsableArguments {
    @Argument(help: "A snapshot, a backup, or the directory of a stopped node or a copy of one.") var path: String
}

/// The commands that read snapshots, backups and stopped nodes' directories.
public enum SnapshotCommands {
    /// Subcommands of `flotilla snapshot`.
    public static let all: [any ParsableCommand.Type] = [
        InspectCommand.self, VerifyCommand.self, KeysCommand.self, GetCommand.self, ScanCommand.self, DumpCommand.self,
        LogCommand.self, HistogramCommand.self, DiffCommand.self,
    ]
}
