internal import Foundation

/// A report in one file that needs nothing from anywhere else: bars drawn by us, tables beneath, light or dark as
/// the reader's system is.
package struct HTMLReport {
    private let report: BenchReport

    package init(_ report: BenchReport) { self.report = report }

    package var text: String {
        """
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Flotilla: engines</title>
        <style>
        \(Self.style)
        </style>
        <h1>Engines</h1>
        <dl>
        \(facts)</dl>
        <p class="legend">\(legend)</p>
        \(report.workloads.map(section).joined(separator: "\n"))
        </html>

        """
    }

    private static let style = """
        :root { color-scheme: light dark; --ink: #1b1f24; --page: #fff; --soft: #6a737d; --line: #d7dce1;
          --rocksdb: #2f6fb7; --lmdb: #b5651d; --sqlite: #3c8c57; --memory: #7a5aa6; --other: #6a737d; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --page: #14181d; --soft: #98a2ad; --line: #333b44;
          --rocksdb: #6ea8ea; --lmdb: #e0a062; --sqlite: #74c48e; --memory: #b79be0; --other: #98a2ad; } }
        body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 72rem;
          margin: 2rem auto; padding: 0 1rem; }
        h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
        dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; color: var(--soft); }
        dd { margin: 0; }
        .plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem; }
        figure { margin: 0; } figcaption, .legend { color: var(--soft); font-size: 13px; }
        .legend span { margin-right: 1rem; }
        .legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
        svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
        .rocksdb { fill: var(--rocksdb); background: var(--rocksdb); } .lmdb { fill: var(--lmdb); background: var(--lmdb); }
        .sqlite { fill: var(--sqlite); background: var(--sqlite); } .memory { fill: var(--memory); background: var(--memory); }
        .other { fill: var(--other); background: var(--other); } rect.raw { fill-opacity: .4; }
        .scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; }
        th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
        th { color: var(--soft); font-weight: 600; } .words { text-align: left; }
        """

    private var facts: String {
        report.environment.sorted { $0.key < $1.key }.map {
            "<dt>\(Self.escape($0.key))</dt><dd>\(Self.escape($0.value))</dd>\n"
        }.joined()
    }

    private var legend: String {
        var engines: [String] = []
        for result in report.results where !engines.contains(result.engine) { engines.append(result.engine) }
        var text = engines.map { "<span><i class=\"\(Self.color($0))\"></i>\(Self.escape($0))</span>" }.joined()
        if report.results.contains(where: { $0.access == "raw" }) {
            text += "Paler bars: the C library called directly. "
        }
        return text + "Latency bars: p50, p99 and p99.9 of a call, on a logarithmic scale."
    }

    private func section(_ workload: String) -> String {
        let results = report.results.filter { $0.workload == workload }
        var conditions: [String] = []
        for result in results where !conditions.contains(result.condition) { conditions.append(result.condition) }
        let plots = conditions.map { condition in
            let group = results.filter { $0.condition == condition }
            return BarPlot.throughput(group, caption: "\(condition): keys per second").svg
                + BarPlot.latency(group, caption: "\(condition): microseconds of a call").svg
        }
        return """
            <h2>\(Self.escape(workload))</h2>
            <div class="plots">
            \(plots.joined(separator: "\n"))
            </div>
            \(figures(results))
            \(table(results))
            """
    }

    private func figures(_ results: [CellResult]) -> String {
        guard let first = results.first(where: { !$0.figures.isEmpty }) else { return "" }
        let header = ["", "ENGINE"] + first.figures.map { $0.unit.isEmpty ? $0.name : "\($0.name), \($0.unit)" }
        let rows = results.map { result in
            [result.condition, result.label] + result.figures.map { Numbers.count($0.value) }
        }
        return Self.table(header, rows, words: 2)
    }

    private func table(_ results: [CellResult]) -> String {
        // The workload is in the heading.
        let columns = Column.all(for: report.results).dropFirst()
        return Self.table(columns.map(\.title), results.map { result in columns.map { $0.text(result) } }, words: 4)
    }

    /// `words`: so many columns at the left are text.
    private static func table(_ header: [String], _ rows: [[String]], words: Int) -> String {
        func row(_ cells: [String], _ tag: String) -> String {
            let cells = cells.enumerated().map { column, cell in
                "<\(tag)\(column < words ? " class=\"words\"" : "")>\(escape(cell))</\(tag)>"
            }
            return "<tr>\(cells.joined())</tr>\n"
        }
        return "<div class=\"scroll\"><table>\n" + row(header, "th") + rows.map { row($0, "td") }.joined()
            + "</table></div>"
    }

    static func color(_ engine: String) -> String {
        ["rocksdb", "lmdb", "sqlite", "memory"].contains(engine) ? engine : "other"
    }

    static func escape(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
    }
}
