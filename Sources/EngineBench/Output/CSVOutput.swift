/// One line for each cell and engine. What only some workloads measure has columns of its own at the end.
package enum CSVOutput {
    package static func render(_ report: BenchReport) -> String {
        var extra: [(name: String, unit: String)] = []
        for figure in report.results.flatMap(\.figures) where !extra.contains(where: { $0.name == figure.name }) {
            extra.append((figure.name, figure.unit))
        }
        let header =
            [
                "workload", "valueBytes", "batch", "durability", "engine", "access", "rounds", "calls", "keys",
                "keysPerSecond", "keysPerSecondMin", "keysPerSecondMax", "callsPerSecond", "shareOfRaw",
                "p50Microseconds", "p99Microseconds", "p999Microseconds", "cpuMillisecondsPerThousand",
                "writtenPerUserByte", "allocationsPerThousand", "anonymousBytes", "diskBytes",
            ] + extra.map { $0.unit.isEmpty ? $0.name : "\($0.name) (\($0.unit))" }
        var lines = [line(header)]
        for result in report.results {
            let figures = extra.map { extra in
                number(result.figures.first { $0.name == extra.name }?.value)
            }
            lines.append(
                line(
                    [
                        result.workload, "\(result.valueBytes)", result.batch.map(String.init) ?? "",
                        result.durability ?? "", result.engine, result.access, "\(result.rounds)", "\(result.calls)",
                        "\(result.keys)", number(result.keysPerSecond), number(result.keysPerSecondMin),
                        number(result.keysPerSecondMax), number(result.callsPerSecond), number(result.shareOfRaw),
                        number(result.p50Microseconds), number(result.p99Microseconds),
                        number(result.p999Microseconds), number(result.cpuMillisecondsPerThousand),
                        number(result.writtenPerUserByte), number(result.allocationsPerThousand),
                        "\(result.anonymousBytes)", "\(result.diskBytes)",
                    ] + figures))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func number(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }

    /// RFC 4180: quoted where a comma, a quote or a line end would be misread.
    package static func line(_ fields: [String]) -> String {
        fields.map { field in
            field.contains { $0 == "," || $0 == "\"" || $0.isNewline }
                ? "\"" + field.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
                : field
        }.joined(separator: ",")
    }
}
