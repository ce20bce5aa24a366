/// Families that the workloads use.
enum BenchFamily {
    static let data: UInt64 = 1
    static let log: UInt64 = 2
    static let meta: UInt64 = 4
    static let incoming: UInt64 = 5
    static let doomed: UInt64 = 6
    /// The memory workload has its own engine; its families count up from here.
    static let many: UInt64 = 100
}

/// Random numbers that every engine and its C library get alike (SplitMix64).
package struct Randomness {
    private var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Below `bound`; the high product needs no division and is even enough here.
    package mutating func below(_ bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }
}

/// Keys and values of one value size.
package struct Dataset {
    /// Eight bytes that all share and eight that count, so that keys have an order and a common start as real ones.
    package static let keyBytes = 16
    private static let start = Array("bench:k/".utf8)
    /// More values than this would only measure the processor's cache.
    private static let valuesMax = 64

    let keys: Int
    let valueBytes: Int
    let values: [[UInt8]]

    init(keys: Int, valueBytes: Int) {
        self.keys = keys
        self.valueBytes = valueBytes
        var random = Randomness(UInt64(valueBytes))
        values = (0..<Self.valuesMax).map { _ in
            // Half of a value compresses, half doesn't.
            (0..<valueBytes).map { $0 < valueBytes / 2 ? UInt8(truncatingIfNeeded: random.next()) : 0x76 }
        }
    }

    /// Bytes of one key and value.
    var recordBytes: Int { Self.keyBytes + valueBytes }

    package static func key(_ number: Int) -> [UInt8] {
        var key = start + [UInt8](repeating: 0, count: 8)
        set(&key, number)
        return key
    }

    /// Even numbers exist; odd ones lie between them.
    package static func set(_ key: inout [UInt8], _ number: Int, isMissing: Bool = false) {
        putBigEndian(UInt64(number) << 1 | (isMissing ? 1 : 0), into: &key, at: 8)
    }

    static func putBigEndian(_ number: UInt64, into key: inout [UInt8], at offset: Int) {
        key.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: number.bigEndian, toByteOffset: offset, as: UInt64.self)
        }
    }
}

/// Puts that are ready to go: filled outside of what is measured, and used again.
struct PutBatch {
    struct Put {
        var family: UInt64
        var key: [UInt8]
        /// In `Dataset.values`.
        var value: Int
    }

    var puts: [Put]
    let values: [[UInt8]]
    /// The first puts are log entries, so many; what comes after them follows from the log.
    var logged: Int?

    init(count: Int, family: UInt64, _ data: Dataset) {
        puts = (0..<count).map { Put(family: family, key: Dataset.key($0), value: $0 % data.values.count) }
        values = data.values
    }

    /// Keys and values of the batch, in bytes.
    var byteCount: Int { puts.reduce(0) { $0 + $1.key.count + values[$1.value].count } }

    mutating func draw(_ random: inout Randomness, of keys: Int) {
        for index in puts.indices {
            Dataset.set(&puts[index].key, random.below(keys))
            puts[index].value = Int(random.next() % UInt64(values.count))
        }
    }
}
