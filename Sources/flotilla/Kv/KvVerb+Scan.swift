import ArgumentParser
import Client
import CommandSupport

extension KvVerb {
    struct Scan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print pairs in key order over all shards.",
            discussion: """
                A line for each pair: the key, a tab, the value, all as they are; on a terminal characters that don't \
                print stand as \\xNN. Where keys or values hold tabs or line feeds, -w json keeps them apart. With \
                --prefix and --start or --end, what both allow is printed.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "First key.") var start = ByteArgument()
        @Option(help: "Before this key; empty means to the end.") var end = ByteArgument()
        @Option(help: "Only keys that begin so.") var prefix = ByteArgument()
        @Option(help: "Pairs to print at most, 1 to 100000000 (default: 1000, and a note if there are more).")
        var limit: Int?
        @Flag(help: "Print keys only.") var keysOnly = false

        private static let limitUsual = 1_000
        private static let limits = 1...100_000_000
        private static let pieceBytes = 1 << 20

        func validate() throws {
            if let limit { try require("--limit", limit, in: Self.limits) }
            if ScanRange(start: start.bytes, end: end.bytes).isEmpty, start != end {
                throw ValidationError("--start is behind --end.")
            }
        }

        func run() async throws {
            let range = ScanRange(start: start.bytes, end: end.bytes, prefix: prefix.bytes)
            // One more than is printed says whether there are more.
            let asked = limit ?? Self.limitUsual + 1
            let client = cluster.makeClient()
            var pairs: [FlotillaClient.Pair] = []
            if !range.isEmpty {
                pairs = try await report { () throws(ClientError) in
                    try await client.scan(start: range.start, end: range.end, limit: asked, keysOnly: keysOnly)
                }
            }
            let isCut = limit == nil && pairs.count > Self.limitUsual
            if isCut { pairs.removeLast() }
            try write(pairs)
            if isCut {
                note("flotilla: there are more keys than these \(Self.limitUsual); --limit N prints up to N")
            }
        }

        private func write(_ pairs: [FlotillaClient.Pair]) throws {
            if cluster.format == .json {
                return try writeJSON(
                    pairs.map { pair in
                        var object = JSONObject()
                        object.setBytes("key", pair.key)
                        if !keysOnly { object.setBytes("value", pair.value) }
                        return object
                    })
            }
            let isShown = StandardOutput.isTerminal
            var text: [UInt8] = []
            for pair in pairs {
                text += isShown ? TerminalText.escape(pair.key) : pair.key
                if !keysOnly {
                    text.append(9)
                    text += isShown ? TerminalText.escape(pair.value) : pair.value
                }
                text.append(10)
                guard text.count >= Self.pieceBytes else { continue }
                try StandardOutput.write(text)
                text.removeAll(keepingCapacity: true)
            }
            try StandardOutput.write(text)
        }
    }
}
