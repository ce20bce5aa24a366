extension RoundRunner {
    private static let appliedIndexBytes = 16
    private static let batches = 4

    func write(
        _ cell: Cell, _ loaded: Loaded, _ round: inout RoundResult, _ random: inout Randomness, _ seconds: Double
    ) throws {
        let data = loaded.data
        let count = cell.batch ?? 1
        let isSynced = cell.isSynced ?? true
        let writer = loaded.subject.writer()
        var batches = (0..<Self.batches).map { _ in PutBatch(count: count, family: BenchFamily.data, data) }
        let meter = Meter.start()
        try round.repeatCalls(
            seconds: seconds, perDraw: batches.count, keysPerCall: count,
            draw: { for index in batches.indices { batches[index].draw(&random, of: data.keys) } },
            { try writer.write(batches[$0], synced: isSynced) })
        try endWrites(loaded.subject, synced: isSynced, &round)
        meter.stop(&round)
        round.userBytes = round.keys * data.recordBytes
    }

    /// What a replica does with `count` entries: the log grows, the rows change, the applied index moves on.
    func applyLog(
        _ cell: Cell, _ loaded: Loaded, _ round: inout RoundResult, _ random: inout Randomness, _ seconds: Double
    ) throws {
        let data = loaded.data
        let count = cell.batch ?? 1
        let writer = loaded.subject.writer()
        let applied = [UInt8](repeating: 1, count: Self.appliedIndexBytes)
        var batches = (0..<Self.batches).map { _ in PutBatch(log: count, applied: applied, data) }
        let meter = Meter.start()
        try round.repeatCalls(
            seconds: seconds, perDraw: batches.count, keysPerCall: count,
            draw: {
                for index in batches.indices {
                    batches[index].drawEntries(count, from: &logIndex, &random, of: data.keys)
                }
            },
            { try writer.write(batches[$0], synced: true) })
        try endWrites(loaded.subject, synced: false, &round)
        meter.stop(&round)
        // What a client wrote counts once, so log and row are both in the factor.
        round.userBytes = round.keys * data.recordBytes
    }
}

extension PutBatch {
    fileprivate init(log count: Int, applied: [UInt8], _ data: Dataset) {
        let entries = (0..<count).map {
            Put(family: BenchFamily.log, key: [UInt8](repeating: 0, count: 8), value: $0 % data.values.count)
        }
        let rows = (0..<count).map {
            Put(family: BenchFamily.data, key: Dataset.key($0), value: $0 % data.values.count)
        }
        let meta = Put(family: BenchFamily.meta, key: Array("applied".utf8), value: data.values.count)
        self.init(puts: entries + rows + [meta], values: data.values + [applied])
        logged = count
    }

    fileprivate init(puts: [Put], values: [[UInt8]]) {
        self.puts = puts
        self.values = values
    }

    fileprivate mutating func drawEntries(
        _ count: Int, from index: inout UInt64, _ random: inout Randomness, of keys: Int
    ) {
        for entry in 0..<count {
            Dataset.putBigEndian(index, into: &puts[entry].key, at: 0)
            Dataset.set(&puts[count + entry].key, random.below(keys))
            index += 1
        }
    }
}
