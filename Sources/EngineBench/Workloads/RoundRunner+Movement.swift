internal import Foundation

extension RoundRunner {
    /// Export, ingest or both; a call is a whole family.
    func move(_ cell: Cell, _ loaded: Loaded, _ round: inout RoundResult, _ seconds: Double) throws {
        let data = loaded.data
        let path = "\(directory)/exported"
        let receiver = try receivingSubject()
        let end = nanosecondsNow() + UInt64(seconds * 1_000_000_000)
        repeat {
            removeDirectory(path)
            try makeDirectory(path)
            try receiver.createFamily(BenchFamily.incoming)
            let subject = loaded.subject
            switch cell.workload {
            case .export:
                try metered(&round, data.keys) { try check(try subject.export(BenchFamily.data, to: path), data) }
            case .ingest:
                let exported = try subject.export(BenchFamily.data, to: path)
                try metered(&round, data.keys) {
                    try receiver.ingest(exported, from: path, into: BenchFamily.incoming)
                }
            default:
                try metered(&round, data.keys) {
                    let exported = try subject.export(BenchFamily.data, to: path)
                    try receiver.ingest(exported, from: path, into: BenchFamily.incoming)
                }
            }
            if cell.workload != .export { try checkArrival(receiver, data) }
            round.userBytes += data.keys * data.recordBytes
            try receiver.dropFamily(BenchFamily.incoming)
            while try receiver.reclaim() {}
        } while nanosecondsNow() < end
        removeDirectory(path)
        settle(secondsMax: 2)
    }

    func checkpoint(_ loaded: Loaded, _ round: inout RoundResult, _ seconds: Double) throws {
        let path = "\(directory)/checkpoint"
        let end = nanosecondsNow() + UInt64(seconds * 1_000_000_000)
        repeat {
            removeDirectory(path)
            try metered(&round, loaded.data.keys) { try loaded.subject.checkpoint(to: path) }
            round.userBytes += loaded.data.keys * loaded.data.recordBytes
        } while nanosecondsNow() < end
        removeDirectory(path)
    }

    private func metered(_ round: inout RoundResult, _ keys: Int, _ call: () throws -> Void) throws {
        let meter = Meter.start()
        try round.time(keys: keys, call)
        meter.stop(&round)
    }

    private func check(_ exported: Exported, _ data: Dataset) throws {
        guard exported.keys == data.keys else {
            throw BenchError("an export has \(exported.keys) keys instead of \(data.keys)")
        }
    }

    private func checkArrival(_ receiver: any Subject, _ data: Dataset) throws {
        let view = try receiver.view()
        defer { view.close() }
        for number in [0, data.keys / 2, data.keys - 1] {
            guard try view.get(BenchFamily.incoming, Dataset.key(number)) == data.valueBytes else {
                throw BenchError("key \(number) was lost on the way")
            }
        }
    }
}
