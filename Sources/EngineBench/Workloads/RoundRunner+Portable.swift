internal import Engines

extension RoundRunner {
    /// Bytes of a chunk, as in our exports.
    private static let chunkBytes = 1 << 20

    /// The portable form in memory: chunks built and checked again, and the content hash beside it.
    func encodeAndDecode(_ cell: Cell, _ round: inout RoundResult, _ seconds: Double) throws {
        let data = Dataset(keys: plan.loadedKeys(cell.valueBytes), valueBytes: cell.valueBytes)
        // One array for all keys and one for all values: counting references would be part of what is measured.
        let keys = (0..<data.keys).flatMap { Dataset.key($0) }
        let values = data.values.flatMap { $0 }
        func forEachRecord(_ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void) {
            keys.withUnsafeBytes { keys in
                values.withUnsafeBytes { values in
                    for number in 0..<data.keys {
                        let key = number * Dataset.keyBytes
                        let value = number % data.values.count * data.valueBytes
                        body(
                            UnsafeRawBufferPointer(rebasing: keys[key..<key + Dataset.keyBytes]),
                            UnsafeRawBufferPointer(rebasing: values[value..<value + data.valueBytes]))
                    }
                }
            }
        }
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
            forEachRecord { key, value in
                builder.add(key: key, value: value)
                if builder.byteCount >= Self.chunkBytes { chunks.append(builder.finish()) }
            }
            if !builder.isEmpty { chunks.append(builder.finish()) }
            let encoded = nanosecondsNow()
            var bytes = 0
            for chunk in chunks { try PortableChunk.decode(chunk) { bytes += $0.count + $1.count } }
            let decoded = nanosecondsNow()
            guard bytes == data.keys * data.recordBytes else { throw BenchError("a chunk lost records") }
            forEachRecord { key, value in hash.add(key: key, value: value) }
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
