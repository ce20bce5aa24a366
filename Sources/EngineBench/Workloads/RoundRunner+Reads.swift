extension RoundRunner {
    /// Inputs drawn at a time; few enough to stay in the processor's cache.
    private static let drawn = 256

    func read(
        _ cell: Cell, _ loaded: Loaded, _ round: inout RoundResult, _ random: inout Randomness, _ seconds: Double
    ) throws {
        let data = loaded.data
        let isMissing = cell.workload == .getMiss
        let expected = isMissing ? nil : Optional(data.valueBytes)
        var keys = (0..<Self.drawn).map { Dataset.key($0) }
        let drawKeys = {
            for index in keys.indices { Dataset.set(&keys[index], random.below(data.keys), isMissing: isMissing) }
        }
        let check = { (found: Int?) throws in
            guard found == expected else { throw BenchError("a get finds what isn't there, or misses what is") }
        }
        let meter = Meter.start()
        defer { meter.stop(&round) }
        if cell.workload == .snapshotGet {
            try round.repeatCalls(seconds: seconds, perDraw: keys.count, keysPerCall: 1, draw: drawKeys) { index in
                let view = try loaded.subject.view()
                defer { view.close() }
                try check(try view.get(BenchFamily.data, keys[index]))
            }
            return
        }
        let view = try loaded.subject.view()
        defer { view.close() }
        switch cell.workload {
        case .get, .getMiss:
            try round.repeatCalls(seconds: seconds, perDraw: keys.count, keysPerCall: 1, draw: drawKeys) { index in
                try check(try view.get(BenchFamily.data, keys[index]))
            }
        case .multiGet:
            let count = cell.batch ?? 1
            var lists = (0..<8).map { _ in (0..<count).map { Dataset.key($0) } }
            let draw = {
                for list in lists.indices {
                    for index in 0..<count { Dataset.set(&lists[list][index], random.below(data.keys)) }
                }
            }
            try round.repeatCalls(seconds: seconds, perDraw: lists.count, keysPerCall: count, draw: draw) { index in
                guard try view.multiGet(BenchFamily.data, lists[index]) == count else {
                    throw BenchError("a multi-get misses what is there")
                }
            }
        default:
            let count = min(cell.batch ?? 1, data.keys)
            let bytes = count * data.recordBytes
            var starts = (0..<8).map { Dataset.key($0) }
            let draw = {
                for index in starts.indices { Dataset.set(&starts[index], random.below(data.keys - count + 1)) }
            }
            try round.repeatCalls(seconds: seconds, perDraw: starts.count, keysPerCall: count, draw: draw) { index in
                guard try view.scan(BenchFamily.data, from: starts[index], count: count) == bytes else {
                    throw BenchError("a scan misses what is there")
                }
            }
        }
    }
}
