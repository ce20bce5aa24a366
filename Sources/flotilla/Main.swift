import ArgumentParser
import Client
import CommandSupport
import Engines
import Foundation
import Server

/// One program under several names: `flotilla` with its verbs, and eRaft's programs, which are links to it.
@main
enum Main {
    static func main() async {
        StandardStreams.prepare()
        // A reader of our output that goes away is no reason to die with a signal.
        signal(SIGPIPE, SIG_IGN)
        exit(await run(ArgumentText.commandLine()))
    }

    /// Carries out the command, and says what came of it: its exit code.
    private static func run(_ words: [String]) async -> Int32 {
        let name = (words.first ?? "flotilla").split(separator: "/").last.map(String.init) ?? "flotilla"
        var arguments = Array(words.dropFirst())
        do {
            if let program = SeedProgram(rawValue: name) {
                let translated: [String]?
                do throws(SeedProgram.UsageError) { translated = try program.translate(arguments) } catch {
                    sayTyped("\(name): \(error)\n\(program.usage)")
                    return Exit.usage.rawValue
                }
                guard let translated else {
                    try StandardOutput.writeLine(program.usage)
                    return 0
                }
                arguments = translated
            }
            var command = try await Flotilla.asyncParseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return 0
        } catch {
            return end(error, arguments)
        }
    }

    /// What a command that was thrown out of says, and its exit code (docs/exit-codes.md).
    private static func end(_ error: any Error, _ arguments: [String]) -> Int32 {
        switch error {
        case is OutputFailure, is InputFailure:
            note("flotilla: \(error)")
            return Exit.failed.rawValue
        case let error as ClientError:
            note("flotilla: \(error.message)")
            return error.exitCode.rawValue
        case let error as EngineError:
            note("flotilla: \(error.sentence)")
            return error.exitCode.rawValue
        default: break
        }
        let code = Flotilla.exitCode(for: error)
        let text = Flotilla.fullMessage(for: error)
        guard !text.isEmpty else { return code.rawValue }
        guard code != .success else {
            // Help, the version, a script for a shell.
            do { try StandardOutput.writeLine(text) } catch { return end(error, arguments) }
            return code.rawValue
        }
        sayTyped(text)
        if code == .validationFailure, let hint = DashHint.hint(arguments) { sayTyped(hint) }
        return code.rawValue
    }

    /// A sentence with what was typed in it, as it was typed.
    private static func sayTyped(_ text: String) { StandardError.write(ArgumentText.bytes(of: text) + [10]) }
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
