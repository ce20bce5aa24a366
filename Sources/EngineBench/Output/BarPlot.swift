internal import Foundation

/// Horizontal bars with their numbers, as SVG.
package struct BarPlot {
    package struct Bar {
        var label: String
        var style: String
        /// Share of the full width, 0 to 1.
        package var share: Double
        var text: String
    }

    package var bars: [Bar]
    var caption: String

    private static let labelWidth = 110.0
    private static let barWidth = 240.0
    private static let textWidth = 90.0
    private static let rowHeight = 18.0

    package static func throughput(_ results: [CellResult], caption: String) -> BarPlot {
        let most = results.map(\.keysPerSecond).max() ?? 0
        return BarPlot(
            bars: results.map { result in
                Bar(
                    label: result.label, style: style(result), share: most > 0 ? result.keysPerSecond / most : 0,
                    text: Numbers.count(result.keysPerSecond))
            }, caption: caption)
    }

    /// Three bars for each result. A logarithmic scale, or the slowest call would hide all others.
    package static func latency(_ results: [CellResult], caption: String) -> BarPlot {
        let values = results.flatMap { [$0.p50Microseconds, $0.p99Microseconds, $0.p999Microseconds] }
        let least = max(0.01, (values.min() ?? 0) / 2)
        let span = log(max(least * 2, values.max() ?? 0) / least)
        func share(_ value: Double) -> Double { min(1, max(0.01, log(max(value, least) / least) / span)) }
        return BarPlot(
            bars: results.flatMap { result in
                [
                    (result.label, result.p50Microseconds), ("p99", result.p99Microseconds),
                    ("p99.9", result.p999Microseconds),
                ].map { label, value in
                    Bar(
                        label: label, style: style(result), share: share(value),
                        text: Numbers.microseconds(value))
                }
            }, caption: caption)
    }

    private static func style(_ result: CellResult) -> String {
        HTMLReport.color(result.engine) + (result.access == "raw" ? " raw" : "")
    }

    var svg: String {
        let width = Self.labelWidth + Self.barWidth + Self.textWidth
        let height = Self.rowHeight * Double(bars.count)
        var text = "<figure><svg width=\"\(Int(width))\" height=\"\(Int(height))\" role=\"img\""
        text += " aria-label=\"\(HTMLReport.escape(caption))\">\n"
        for (row, bar) in bars.enumerated() {
            let top = Double(row) * Self.rowHeight
            let length = max(1, bar.share * Self.barWidth)
            let baseline = Self.decimal(top + Self.rowHeight - 5)
            text += "<text class=\"soft\" x=\"\(Int(Self.labelWidth) - 8)\" y=\"\(baseline)\" text-anchor=\"end\">"
            text += "\(HTMLReport.escape(bar.label))</text>"
            text += "<rect class=\"\(bar.style)\" x=\"\(Int(Self.labelWidth))\" y=\"\(Self.decimal(top + 2))\""
            text += " width=\"\(Self.decimal(length))\" height=\"\(Int(Self.rowHeight) - 4)\"/>"
            text += "<text x=\"\(Self.decimal(Self.labelWidth + length + 6))\" y=\"\(baseline)\">"
            text += "\(HTMLReport.escape(bar.text))</text>\n"
        }
        return text + "</svg><figcaption>\(HTMLReport.escape(caption))</figcaption></figure>"
    }

    private static func decimal(_ value: Double) -> String { String(format: "%.1f", value) }
}
