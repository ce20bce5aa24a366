import EngineFaults
import Engines
import Foundation
import InspectFixtures
import Testing

/// What the commands print, word by word. `FLOTILLA_REWRITE_GOLDEN=1` writes the files anew; look at the difference.
@Suite struct GoldenTests {
    static let cases: [(name: String, arguments: [String])] = [
        ("inspect-node", ["inspect", "NODE"]),
        ("inspect-node-json", ["inspect", "NODE", "-w", "json"]),
        ("inspect-node-quick", ["inspect", "NODE", "--quick"]),
        ("inspect-snapshot", ["inspect", "SNAPSHOT"]),
        ("inspect-snapshot-json", ["inspect", "SNAPSHOT", "--biggest", "1", "-w", "json"]),
        ("inspect-controller", ["inspect", "CONTROLLER"]),
        ("inspect-controller-json", ["inspect", "CONTROLLER", "-w", "json"]),
        ("verify-node", ["verify", "NODE"]),
        ("verify-snapshot", ["verify", "SNAPSHOT"]),
        ("verify-snapshot-json", ["verify", "SNAPSHOT", "-w", "json"]),
        ("keys", ["keys", "SNAPSHOT", "--limit", "5"]),
        ("keys-hex", ["keys", "SNAPSHOT", "--shard", "1", "--limit", "2", "--hex"]),
        ("keys-json", ["keys", "NODE", "--shard", "1", "--limit", "2", "-w", "json"]),
        ("get", ["get", "SNAPSHOT", "session 1"]),
        ("get-json", ["get", "NODE", "session 1", "-w", "json"]),
        ("scan", ["scan", "NODE", "--prefix", "session"]),
        ("scan-json", ["scan", "SNAPSHOT", "--prefix", "early", "-w", "json"]),
        ("log", ["log", "NODE", "--from", "77"]),
        ("log-json", ["log", "NODE", "--from", "85", "-w", "json"]),
        ("log-controller", ["log", "CONTROLLER"]),
        ("dump-json", ["dump", "SNAPSHOT", "--shard", "1"]),
        ("dump-csv", ["dump", "NODE", "--format", "csv", "--prefix", "session"]),
        ("dump-resp", ["dump", "NODE", "--format", "resp", "--prefix", "session"]),
        ("histogram", ["histogram", "NODE"]),
        ("histogram-json", ["histogram", "SNAPSHOT", "--shard", "1", "-w", "json"]),
        ("diff", ["diff", "NODE", "OTHER"]),
        ("diff-json", ["diff", "NODE", "OTHER", "--limit", "2", "-w", "json"]),
    ]

    @Test func theCommandsPrintWhatTheyPrinted() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden")
        let rewrites = ProcessInfo.processInfo.environment["FLOTILLA_REWRITE_GOLDEN"] != nil
        try Stores.with(.lmdb) { stores in
            let other = "\(stores.root)/other"
            try NodeFixture.makeGroup(other, .sqlite, .init(keys: 58, largeValueBytes: 8_000))
            let places = [
                "NODE": stores.node, "SNAPSHOT": stores.snapshot, "CONTROLLER": stores.controller, "OTHER": other,
            ]
            for (name, arguments) in Self.cases {
                let outcome = try SnapshotProgram.run(arguments.map { places[$0] ?? $0 })
                let words = arguments.map { $0.contains(" ") ? "'\($0)'" : $0 }.joined(separator: " ")
                var text = "$ flotilla snapshot \(words)\n\(outcome.output)"
                if !outcome.notes.isEmpty { text += "(notes)\n\(outcome.notes)" }
                text += "(exit \(outcome.code))\n"
                for (word, path) in places { text = text.replacingOccurrences(of: path, with: word) }
                let file = folder.appendingPathComponent("\(name).txt")
                if rewrites { try Data(text.utf8).write(to: file) }
                let golden = try? String(contentsOf: file, encoding: .utf8)
                #expect(text == golden, "\(name)")
            }
        }
    }
}
