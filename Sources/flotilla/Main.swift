import ArgumentParser
import CommandSupport
import Foundation
import Server

/// One program under several names: `flotilla` with its verbs, and eRaft's programs, which are links to it.
@main
enum Main {
    static func main() async {
        // A reader of our output that goes away is no reason to die with a signal.
        signal(SIGPIPE, SIG_IGN)
        let name = (CommandLine.arguments.first ?? "flotilla").split(separator: "/").last.map(String.init) ?? "flotilla"
        let arguments = Array(CommandLine.arguments.dropFirst())
        if let program = SeedProgram(rawValue: name) {
            do {
                guard let translated = try program.translate(arguments) else {
                    print(program.usage)
                    return
                }
                await Flotilla.main(translated)
            } catch {
                note("\(name): \(error)")
                note(program.usage)
                exit(64)
            }
        } else {
            await Flotilla.main(arguments)
        }
    }
}

package struct Flotilla: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flotilla",
        abstract: "A distributed, sharded, linearizable key-value store.",
        discussion: """
            Exit codes: 0 ok, 1 failed, 2 not found, compare failed or data damaged, 64 usage, 69 unavailable, \
            75 outcome unknown.
            FLOTILLA_ENDPOINTS holds the controllers' addresses (HOST:PORT,HOST:PORT,…).
            """,
        version: "flotilla \(ServerVersion.current)",
        subcommands: [
            KvVerb.self, ControllerVerb.self, GroupVerb.self, LocalVerb.self, BenchVerb.self, SnapshotVerb.self,
            BackupVerb.self, DashboardVerb.self,
        ])
}
