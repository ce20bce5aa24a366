// The commands of `flotilla snapshot` in a program without servers, for tests and drills: they run it as a user runs
// `flotilla snapshot`, and it starts itself again to read.

import ArgumentParser
import Engines
import Foundation
import InspectCommands
import InspectFixtures
import Keyspace

struct SnapshotTool: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot-tool", subcommands: SnapshotCommands.all + [Save.self, Make.self, Speed.self])

    struct Save: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Save a stopped node's groups.")
        @Option var from: String
        @Option var out: String
        @Option var group: GroupID?

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
        @Option var batch = 50
        @Flag var compacts = false

        func run() throws {
            guard let kind = EngineKind(rawValue: engine) else { throw ValidationError("--engine \(engine)?") }
            if controller {
                try NodeFixture.makeController(path, kind)
            } else {
                var size = NodeFixture.Size(keys: keys, valueBytes: valueBytes)
                size.batch = batch
                size.compacts = compacts
                try NodeFixture.makeGroup(path, kind, size)
            }
        }
    }
}

extension SnapshotTool {
    /// What `verify` is measured by: the engine's own scan of all families. Prints bytes and seconds.
    struct Speed: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Scan all families and do nothing with them.")
        @Argument var path: String

        func run() throws {
            guard let kind = try NodeDirectory.identity(at: path)?.engine else {
                throw ValidationError("\(path) is no node's directory.")
            }
            let engine = try kind.open("\(path)/engine", readOnly: true)
            let view = try engine.snapshot()
            let clock = ContinuousClock()
            var bytes = 0
            let time = try clock.measure {
                for family in try engine.families() {
                    try view.scan(family) { key, value in
                        bytes += key.count + value.count
                        return true
                    }
                }
            }
            print("\(bytes) \(time / .seconds(1))")
            view.close()
            try engine.close()
        }
    }
}

// As the program does: a reader of our output that goes away is no reason to die with a signal.
signal(SIGPIPE, SIG_IGN)
SnapshotTool.main()
