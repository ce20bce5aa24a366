import ArgumentParser
import CommandSupport
import Engines
import Foundation
import Inspect
import InspectCommands
import Keyspace
import Server

struct SnapshotVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Look into snapshots, backups and stopped nodes; copy, convert and restore them.",
        subcommands: SnapshotCommands.all + [Save.self, Convert.self, Checkpoint.self, RestoreVerb.self])

    struct Save: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Save a group of a running or a stopped node in a form that needs no engine.",
            discussion: """
                The snapshot is sealed with checksums over every byte, and its log, vote and staged shards stay behind. \
                With --from nothing in the directory changes. With --endpoint the node goes on serving; of a leader the \
                snapshot holds everything that was acknowledged before, of a follower what it has applied.
                """)
        @Option(help: "The stopped node's directory, or a copy of one.", transform: ArgumentText.plain) var from:
            String?
        @Option(help: "A running node of the group or of the controller, HOST:PORT.") var endpoint: String?
        @OptionGroup var live: LiveOptions
        @Option(help: "The new directory; it must not exist, or be empty.", transform: ArgumentText.plain) var out:
            String
        @Option(help: "Only this group.") var group: GroupID?
        @Option(name: [.customShort("w"), .customLong("write-out")], help: "How to print: table or json.")
        var format: OutputFormat = .table

        func validate() throws {
            guard (from == nil) != (endpoint == nil) else {
                throw ValidationError("Name a stopped node's directory with --from, or a running node with --endpoint.")
            }
            if from != nil, live.rate != nil { throw ValidationError("--rate goes with --endpoint.") }
            if let endpoint { try requireAddress(endpoint, "--endpoint") }
        }

        func run() async throws {
            if let endpoint {
                let (out, gid, rate, asJSON) = (out, group, try live.transferRate, format == .json)
                return try await interruptible {
                    try await LiveSave.run(endpoint, out: out, gid: gid, rate: rate, asJSON: asJSON)
                }
            }
            guard let from else { return }
            try SaveStopped.run(
                from: from, out: out, gid: group, asJSON: format == .json, madeBy: "flotilla \(ServerVersion.current)")
        }
    }

    struct Convert: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Turn a stopped node's directory into another engine's.",
            discussion: """
                Every family is read back and compared by its content hash. The new directory is the node from then \
                on, with the same identity: start it with --db and --engine changed. No server starts on the old one \
                any more; remove it when the node has run for a while.
                """)
        @Option(help: "The stopped node's directory.", transform: ArgumentText.plain) var from: String
        @Option(help: "The new directory; it must not exist, or be empty.", transform: ArgumentText.plain) var to:
            String
        @Option(help: "rocksdb, lmdb or sqlite.") var engine: String

        func validate() throws {
            guard let kind = EngineKind(rawValue: engine), EngineKind.durable.contains(kind) else {
                throw ValidationError("--engine takes rocksdb, lmdb or sqlite, not \(engine).")
            }
        }

        func run() throws {
            let kind = EngineKind(rawValue: engine) ?? .rocksdb
            let isTerminal = StandardError.isTerminal
            let (identity, copied) = try reportEngine { () throws(EngineError) in
                try tidying({ Interruption.discardAll() }) { () throws(EngineError) in
                    try OfflineCopy.convert(from: from, to: to, engine: kind) { progress in
                        guard isTerminal else { return }
                        let line =
                            "\r\(progress.families) of \(progress.familiesTotal) families, \(progress.keys) keys "
                        StandardError.write(line)
                    }
                }
            }
            if isTerminal { note("") }
            try StandardOutput.confirm(
                "\(to): \(identity.summary)\n\(copied.families) families, \(copied.keys) keys, "
                    + "\(humanBytes(copied.bytes)); content hashes agree")
        }
    }

    struct Checkpoint: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy a stopped node's directory, in its engine's own form.",
            discussion: "The copy is for inspection and backup; no server runs on it.")
        @Option(help: "The stopped node's directory.", transform: ArgumentText.plain) var from: String
        @Option(help: "The new directory; it must not exist, or be empty.", transform: ArgumentText.plain) var to:
            String

        func run() throws {
            let identity = try reportEngine { () throws(EngineError) in
                try tidying({ Interruption.discardAll() }) { () throws(EngineError) in
                    try OfflineCopy.checkpoint(from: from, to: to)
                }
            }
            try StandardOutput.confirm("\(to): a copy of \(identity.summary)")
        }
    }
}
