public import ArgumentParser
internal import CommandSupport
internal import Inspect

/// `flotilla snapshot histogram`.
public struct HistogramCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "histogram", abstract: "Plot the sizes of keys and of values.")

    @OptionGroup var place: PathArgument
    @OptionGroup var selected: SelectionOptions
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    private struct Report: Encodable {
        var keys = SizeHistogram()
        var values = SizeHistogram()
    }

    public init() {}
    public func validate() throws { _ = try selected.selection(hex) }
    public func run() throws { try supervise() }

    func read(_ worker: Worker) throws {
        let selection = try selected.selection(hex)
        let store = try worker.open(place.path)
        var report = Report()
        for shard in try worker.shards(of: store, selection) {
            try shard.scan(prefix: selection.prefix, worker.progress) { key, value in
                report.keys.add(key.count)
                report.values.add(value.count)
                return true
            }
        }
        if format.isJSON {
            try worker.output.write(try JSONText.pretty(report))
        } else {
            try worker.output.write(
                Self.plot("keys", report.keys) + "\n" + Self.plot("values", report.values))
        }
    }

    private static let barWidth = 40

    static func plot(_ name: String, _ histogram: SizeHistogram) -> String {
        guard histogram.count > 0 else { return "\(name): none\n" }
        let mean = Double(histogram.bytes) / Double(histogram.count)
        var text =
            "\(name): \(histogram.count), \(humanBytes(histogram.bytes)); \(histogram.smallest) to "
            + "\(histogram.largest) bytes, \(Int(mean.rounded())) on average\n"
        let most = histogram.buckets.map(\.count).max() ?? 1
        var table = TableText(header: ["BYTES", "COUNT", ""], right: [0, 1], indent: "  ")
        for bucket in histogram.buckets {
            let range = bucket.from == bucket.through ? "\(bucket.from)" : "\(bucket.from)-\(bucket.through)"
            // A bucket that holds anything shows something.
            let full = (Double(bucket.count) / Double(most) * Double(barWidth)).rounded(.up)
            table.rows.append([range, "\(bucket.count)", String(repeating: "#", count: Int(full))])
        }
        text += table.text
        return text
    }
}
