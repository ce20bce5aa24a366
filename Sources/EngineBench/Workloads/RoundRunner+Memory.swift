internal import Foundation

extension RoundRunner {
    private static let fillBatch = 256
    private static let churnBatch = 32
    /// Batches between two looks at the memory.
    private static let samplingInterval = 64

    /// Fills many families, then overwrites and reads random keys of all of them, and watches anonymous memory.
    func fillAndChurn(_ cell: Cell, _ round: inout RoundResult, _ random: inout Randomness) throws {
        try unload()
        try makeDirectory(engineDirectory)
        let bare = anonymousBytesNow()
        let subject = try name.open(engineDirectory)
        let families = plan.families
        let data = Dataset(
            keys: max(1, plan.fillBytes / (cell.valueBytes + Dataset.keyBytes)), valueBytes: cell.valueBytes)
        for family in 0..<families { try subject.createFamily(BenchFamily.many + UInt64(family)) }
        let opened = anonymousBytesNow()
        let writer = subject.writer()

        var batch = PutBatch(count: Self.fillBatch, family: BenchFamily.many, data)
        var mostFilling: UInt64 = 0
        for start in stride(from: 0, to: data.keys, by: Self.fillBatch) {
            if start + Self.fillBatch > data.keys { batch.puts.removeLast(start + Self.fillBatch - data.keys) }
            for index in batch.puts.indices {
                batch.puts[index].family = BenchFamily.many + UInt64((start + index) % families)
                Dataset.set(&batch.puts[index].key, (start + index) / families)
            }
            try writer.write(batch, synced: false)
            if start / Self.fillBatch % Self.samplingInterval == 0 {
                mostFilling = max(mostFilling, anonymousBytesNow())
            }
        }
        try subject.sync()
        settle(secondsMax: 30)
        let filled = anonymousBytesNow()

        let samples = try churn(subject, writer, data, &round, &random)
        round.userBytes = round.keys * data.recordBytes
        let quarter = max(1, samples.count / 4)
        round.figures = [
            Self.mebibytes("before opening", bare), Self.mebibytes("empty families", opened),
            Self.mebibytes("most while filling", max(mostFilling, filled)), Self.mebibytes("filled", filled),
            Self.mebibytes("churn, first quarter", samples.prefix(quarter).reduce(0, +) / UInt64(quarter)),
            Self.mebibytes("churn, last quarter", samples.suffix(quarter).reduce(0, +) / UInt64(quarter)),
            Self.mebibytes("churn, most", samples.max() ?? 0),
        ]
        round.anonymousBytes = max(mostFilling, filled, samples.max() ?? 0)
        round.diskBytes = occupiedBytes(engineDirectory)
        try subject.close()
        removeDirectory(directory)
    }

    /// Answers what it saw of anonymous memory, in order; at least one sample.
    private func churn(
        _ subject: any Subject, _ writer: any SubjectWriter, _ data: Dataset, _ round: inout RoundResult,
        _ random: inout Randomness
    ) throws -> [UInt64] {
        let perFamily = max(1, data.keys / plan.families)
        var batch = PutBatch(count: Self.churnBatch, family: BenchFamily.many, data)
        var samples: [UInt64] = []
        var batches = 0
        let meter = Meter.start()
        let end = nanosecondsNow() + UInt64(plan.churnSeconds * 1_000_000_000)
        repeat {
            batch.draw(&random, of: perFamily)
            for index in batch.puts.indices {
                batch.puts[index].family = BenchFamily.many + UInt64(random.below(plan.families))
            }
            try round.time(keys: Self.churnBatch) { try writer.write(batch, synced: false) }
            // A read for each batch, so that what readers hold is in the figure too.
            let view = try subject.view()
            _ = try view.get(batch.puts[0].family, batch.puts[0].key)
            view.close()
            if batches % Self.samplingInterval == 0 { samples.append(anonymousBytesNow()) }
            batches += 1
        } while nanosecondsNow() < end
        try endWrites(subject, synced: false, &round)
        meter.stop(&round)
        return samples
    }

    private static func mebibytes(_ name: String, _ bytes: UInt64) -> Figure {
        Figure(name: name, value: Double(bytes) / Double(1 << 20), unit: "MiB")
    }
}
