internal import Engines

extension RoundRunner {
    /// Bytes of a chunk, as in our exports.
    private static let chunkBytes = 1 << 20

    /// The portable form in memory: chunks built and checked again, and the content hash beside it.
    func encodeAndDecode(_ cell: Cell, _ round: inout RoundResult, _ seconds: Double) throws {
        let data = Dataset(keys: plan.loadedKeys(cell.valueBytes), valueBytes: cell.valueBytes)
        let keys = (0..<data.keys).map { Dataset.key($0) }
        let end = nanosecondsNow() + UInt64(seconds * 1_000_000_000)
        var encoding: UInt64 = 0
        var decoding: UInt64 = 0
        var hashing: UInt64 = 0
        let meter = Meter.start()
        repeat {
            var chunks: [[UInt8]] = []
            var hash = ContentHash()
            let begin = nanosecondsNow()
            var builder = ChunkBuilder()
            for (number, key) in keys.enumerated() {
                key.withUnsafeBytes { key in
                    data.values[number % data.values.count].withUnsafeBytes { builder.add(key: key, value: $0) }
                }
                if builder.byteCount >= Self.chunkBytes { chunks.append(builder.finish()) }
            }
            if !builder.isEmpty { chunks.append(builder.finish()) }
            let encoded = nanosecondsNow()
            var bytes = 0
            for chunk in chunks { try PortableChunk.decode(chunk) { bytes += $0.count + $1.count } }
            let decoded = nanosecondsNow()
            guard bytes == data.keys * data.recordBytes else { throw BenchError("a chunk lost records") }
            for (number, key) in keys.enumerated() {
                key.withUnsafeBytes { key in
                    data.values[number % data.values.count].withUnsafeBytes { hash.add(key: key, value: $0) }
                }
            }
            hashing += nanosecondsNow() - decoded
            encoding += encoded - begin
            decoding += decoded - encoded
            round.latencies.record(decoded - begin)
            round.busyNanoseconds += decoded - begin
            round.keys += data.keys
        } while nanosecondsNow() < end
        meter.stop(&round)
        let bytes = Double(round.keys * data.recordBytes)
        func rate(_ name: String, _ nanoseconds: UInt64) -> Figure {
            Figure(name: name, value: bytes / 1_000_000 / (Double(nanoseconds) / 1_000_000_000), unit: "MB/s")
        }
        round.figures = [
            rate("encode", encoding), rate("decode", decoding), rate("encode and decode", encoding + decoding),
            rate("content hash", hashing),
        ]
    }
}
