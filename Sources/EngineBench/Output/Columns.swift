/// The columns that table and report share.
struct Column {
    var title: String
    var text: (CellResult) -> String

    /// Columns that would be empty everywhere are left out.
    static func all(for results: [CellResult]) -> [Column] {
        var columns = [
            Column(title: "WORK") { $0.workload },
            Column(title: "VALUE") { "\($0.valueBytes) B" },
            Column(title: "BATCH") { $0.batch.map(String.init) ?? "-" },
            Column(title: "DURABILITY") { $0.durability ?? "-" },
            Column(title: "ENGINE") { $0.label },
            Column(title: "KEYS/S") { Numbers.count($0.keysPerSecond) },
        ]
        if results.contains(where: { $0.shareOfRaw != nil }) {
            columns.append(Column(title: "OF RAW") { $0.shareOfRaw.map(Numbers.percent) ?? "-" })
        }
        columns += [
            Column(title: "P50 µS") { Numbers.microseconds($0.p50Microseconds) },
            Column(title: "P99 µS") { Numbers.microseconds($0.p99Microseconds) },
            Column(title: "P99.9 µS") { Numbers.microseconds($0.p999Microseconds) },
            Column(title: "CPU MS/1000") { Numbers.count($0.cpuMillisecondsPerThousand) },
            Column(title: "WRITTEN/BYTE") { $0.writtenPerUserByte.map(Numbers.count) ?? "-" },
        ]
        if results.contains(where: { $0.allocationsPerThousand != nil }) {
            columns.append(Column(title: "ALLOC/1000") { $0.allocationsPerThousand.map(Numbers.count) ?? "-" })
        }
        columns += [
            Column(title: "ANON MIB") { Numbers.mebibytes($0.anonymousBytes) },
            Column(title: "DISK MIB") { Numbers.mebibytes($0.diskBytes) },
        ]
        return columns
    }
}

extension CellResult {
    var label: String { access == "raw" ? "\(engine) raw" : engine }
    /// The cell without the engine.
    var condition: String {
        var words = ["\(valueBytes) B"]
        if let batch { words.append("batch \(batch)") }
        if let durability { words.append(durability) }
        return words.joined(separator: ", ")
    }
}
