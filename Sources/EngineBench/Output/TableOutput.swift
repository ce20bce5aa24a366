/// Columns for a terminal.
package enum TableOutput {
    package static func render(_ report: BenchReport) -> String {
        var text = ""
        for (name, fact) in report.environment.sorted(by: { $0.key < $1.key }) { text += "# \(name): \(fact)\n" }
        let columns = Column.all(for: report.results)
        text += table(columns.map(\.title), report.results.map { result in columns.map { $0.text(result) } })
        for workload in report.workloads {
            let results = report.results.filter { $0.workload == workload && !$0.figures.isEmpty }
            guard let first = results.first else { continue }
            let titles = first.figures.map { $0.unit.isEmpty ? $0.name : "\($0.name) \($0.unit)" }
            text += "\n\(workload)\n"
            text += table(
                ["VALUE", "DURABILITY", "ENGINE"] + titles.map(Self.heading),
                results.map { result in
                    ["\(result.valueBytes) B", result.durability ?? "-", result.label]
                        + result.figures.map { Numbers.count($0.value) }
                })
        }
        return text
    }

    /// Capitals, but for the micro sign, whose capital is a Greek letter that nobody reads as one.
    static func heading(_ title: String) -> String {
        String(title.uppercased().map { $0 == "Μ" ? "µ" : $0 })
    }

    /// Columns as wide as their widest cell.
    static func table(_ header: [String], _ rows: [[String]]) -> String {
        let widths = header.indices.map { column in
            ([header] + rows).map { $0.indices.contains(column) ? $0[column].count : 0 }.max() ?? 0
        }
        return ([header] + rows).map { row in
            row.enumerated().map { column, cell in
                column == row.count - 1 || !widths.indices.contains(column)
                    ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }.joined(separator: "  ")
        }.joined(separator: "\n") + "\n"
    }
}

extension BenchReport {
    /// In the order in which they ran.
    var workloads: [String] {
        var names: [String] = []
        for result in results where !names.contains(result.workload) { names.append(result.workload) }
        return names
    }
}
