public import ArgumentParser
internal import CommandSupport
internal import Inspect

/// `flotilla snapshot diff`.
public struct DiffCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Compare the keys and values of two stores.",
        discussion: """
            Engines, groups and sessions don't matter: replicas and copies compare equal if they hold the same records. \
            Exit code 2 if they differ.
            """)

    @Argument(help: "A snapshot, a backup, or a stopped node's directory.", transform: ArgumentText.plain)
    var a: String
    @Argument(help: "Another one.", transform: ArgumentText.plain) var b: String
    @OptionGroup var selected: SelectionOptions
    @Option(help: "List at most so many keys that differ, 0 to 1000000; all are counted.") var limit = 100
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    public init() {}

    public func validate() throws {
        try require("--limit", limit, in: 0...1_000_000)
        _ = try selected.selection(hex)
    }

    public func run() throws { try supervise() }

    private struct Report: Encodable {
        var a: String
        var b: String
        var isEqual: Bool
        var maps: DiffReport.Maps?
        var shards: [DiffReport.Shard]
        var differences: [Difference]
    }

    func read(_ worker: Worker) throws {
        let selection = try selected.selection(hex)
        let storeA = try worker.open(a)
        let storeB = try worker.open(b)
        worker.expect(bytes: storeA.bytesEstimate + storeB.bytesEstimate)
        var listed: [Difference] = []
        let report = try DiffReport.read(storeA, storeB, selection, worker.progress) { difference in
            if listed.count < limit { listed.append(difference) }
        }
        if format.isJSON {
            try worker.output.write(
                try JSONText.pretty(
                    Report(
                        a: a, b: b, isEqual: report.isEqual, maps: report.maps, shards: report.shards,
                        differences: listed)))
        } else {
            try worker.output.write(text(report, listed))
        }
        if !report.isEqual {
            // Also where nobody reads to the end: the exit code says it, too.
            do { try worker.output.flush() } catch is Output.ReaderGone {}
            throw Exit.notFound
        }
    }

    private func text(_ report: DiffReport, _ listed: [Difference]) -> String {
        var text = ""
        for one in listed {
            let what =
                switch one.kind {
                case .onlyInA: "only in A"
                case .onlyInB: "only in B"
                case .differs: "differs"
                }
            text += "shard \(one.shard)\t\(what)\t\(hex.text(one.key))\n"
        }
        if let maps = report.maps {
            let (a, b) = (maps.configInA.map { "\($0)" } ?? "none", maps.configInB.map { "\($0)" } ?? "none")
            text += "shard maps: config \(a) and config \(b), \(maps.isEqual ? "equal" : "different")\n"
            if report.shards.isEmpty { return text }
        }
        let differing = report.shards.filter { !$0.isEqual }
        let equal = report.shards.reduce(0) { $0 + $1.equal }
        guard !differing.isEmpty else { return text + "equal: \(equal) keys in \(report.shards.count) shards\n" }
        let all = differing.reduce(0) { $0 + $1.onlyInA + $1.onlyInB + $1.differs }
        if all > UInt64(listed.count) { text += "and \(all - UInt64(listed.count)) more\n" }
        var table = TableText(header: ["SHARD", "EQUAL", "DIFFERS", "ONLY IN A", "ONLY IN B"], right: [0, 1, 2, 3, 4])
        for shard in differing {
            table.rows.append(
                ["\(shard.shard)", "\(shard.equal)", "\(shard.differs)", "\(shard.onlyInA)", "\(shard.onlyInB)"])
        }
        return text + table.text + "different: \(differing.count) of \(report.shards.count) shards\n"
    }
}
