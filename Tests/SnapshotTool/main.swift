// The commands of `flotilla snapshot` in a program without servers, for tests and drills: they run it as a user runs
// `flotilla snapshot`, and it starts itself again to read.

import ArgumentParser
import Engines
import Foundation
import InspectCommands
import InspectFixtures

struct SnapshotTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot-tool", subcommands: SnapshotCommands.all + [Save.self, Make.self])

    struct Save: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Save a stopped node's groups.")
        @Option var from: String
        @Option var out: String
        @Option var group: UInt64?

        func run() throws { try SaveStopped.run(from: from, out: out, gid: group, madeBy: "snapshot-tool") }
    }
}

extension SnapshotTool {
    struct Make: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a stopped node.")
        @Argument var path: String
        @Option var engine = "lmdb"
        @Flag var controller = false
        @Option var keys = 60
        @Option var valueBytes = 20

        func run() throws {
            guard let kind = EngineKind(rawValue: engine) else { throw ValidationError("--engine \(engine)?") }
            if controller {
                try NodeFixture.makeController(path, kind)
            } else {
                try NodeFixture.makeGroup(path, kind, .init(keys: keys, valueBytes: valueBytes))
            }
        }
    }
}

// As the program does: a reader of our output that goes away is no reason to die with a signal.
signal(SIGPIPE, SIG_IGN)
SnapshotTool.main()
