/// Metrics as Prometheus reads them, text format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
public struct MetricsText: Sendable {
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    public typealias Labels = [(name: String, value: String)]

    public private(set) var text = ""
    private var named: Set<String> = []

    public init() {}

    public mutating func gauge(_ name: String, _ help: String, _ value: Double, _ labels: Labels = []) {
        head(name, help, "gauge")
        sample(name, labels, Self.number(value))
    }

    public mutating func gauge(_ name: String, _ help: String, _ value: UInt64, _ labels: Labels = []) {
        head(name, help, "gauge")
        sample(name, labels, "\(value)")
    }

    public mutating func counter(_ name: String, _ help: String, _ value: UInt64, _ labels: Labels = []) {
        head(name, help, "counter")
        sample(name, labels, "\(value)")
    }

    public mutating func counter(_ name: String, _ help: String, _ value: Double, _ labels: Labels = []) {
        head(name, help, "counter")
        sample(name, labels, Self.number(value))
    }

    /// In seconds. Every second bound is left out: they then double.
    public mutating func histogram(
        _ name: String, _ help: String, _ histogram: DurationHistogram, _ labels: Labels = []
    ) {
        head(name, help, "histogram")
        var count: UInt64 = 0
        for (index, bound) in DurationHistogram.bounds.enumerated() {
            count += histogram.counts[index]
            guard index % 2 == 0 else { continue }
            sample("\(name)_bucket", labels + [("le", Self.number(Double(bound) / 1e9))], "\(count)")
        }
        let total = histogram.count
        sample("\(name)_bucket", labels + [("le", "+Inf")], "\(total)")
        sample("\(name)_sum", labels, Self.number(Double(histogram.sumNanoseconds) / 1e9))
        sample("\(name)_count", labels, "\(total)")
    }

    /// Once for each name; all samples of a name must follow each other.
    private mutating func head(_ name: String, _ help: String, _ kind: String) {
        guard named.insert(name).inserted else { return }
        text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) \(kind)\n"
    }

    private mutating func sample(_ name: String, _ labels: Labels, _ value: String) {
        text += name
        if !labels.isEmpty {
            let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }
            text += "{\(list.joined(separator: ","))}"
        }
        text += " \(value)\n"
    }

    private static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
