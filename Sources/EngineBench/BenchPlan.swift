package import Engines

/// What is measured.
package enum Workload: String, CaseIterable, Codable, Sendable {
    /// Batches of puts over keys that exist.
    case write
    /// Entries to a log, the rows that they make, and the applied index, in one synced batch.
    case logApply = "log-apply"
    /// A key that exists, from an open snapshot.
    case get
    /// A key that doesn't exist but lies between keys that do.
    case getMiss = "get-miss"
    /// A snapshot opened for one key that exists, and closed.
    case snapshotGet = "snapshot-get"
    case multiGet = "multi-get"
    case scan
    /// A whole family to files.
    case export
    /// These files into an empty family of another engine of the same kind.
    case ingest
    /// Export and ingest, one after the other.
    case transfer
    /// A copy of the whole engine.
    case checkpoint
    /// The drop of a family, and what the return of its space does to a writer.
    case drop
    /// Anonymous memory with many families, while they are filled and then overwritten.
    case memory
    /// The portable chunk, encoded and decoded in memory.
    case portable

    /// Everything but what takes minutes or has no engine in it.
    static let usual = allCases.filter { $0 != .memory && $0 != .portable }

    var isRead: Bool {
        switch self {
        case .get, .getMiss, .snapshotGet, .multiGet, .scan: true
        default: false
        }
    }

    /// One round says all: there is nothing to merge.
    var roundsMax: Int { self == .memory ? 1 : .max }
}

/// One line of a result: a workload at one value size, batch and durability.
package struct Cell: Hashable, Codable, Sendable {
    package var workload: Workload
    var valueBytes: Int
    /// Keys in a call, where the workload has a choice.
    var batch: Int?
    var isSynced: Bool?

    package init(workload: Workload, valueBytes: Int, batch: Int? = nil, isSynced: Bool? = nil) {
        self.workload = workload
        self.valueBytes = valueBytes
        self.batch = batch
        self.isSynced = isSynced
    }

    package var description: String {
        var words = [workload.rawValue, "\(valueBytes) B"]
        if let batch { words.append("batch \(batch)") }
        if let isSynced { words.append(isSynced ? "synced" : "buffered") }
        return words.joined(separator: ", ")
    }
}

/// Which engine, and whether behind our protocol or called in C.
package struct SubjectName: Hashable, Codable, Sendable, CustomStringConvertible {
    var engine: EngineKind
    var isRaw: Bool

    package var description: String { isRaw ? "\(engine)-raw" : "\(engine)" }

    package init(_ engine: EngineKind, isRaw: Bool = false) {
        self.engine = engine
        self.isRaw = isRaw
    }

    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard let kind = parts.first.flatMap({ EngineKind(rawValue: String($0)) }) else { return nil }
        guard parts.count == 1 || (parts.count == 2 && parts[1] == "raw") else { return nil }
        self.init(kind, isRaw: parts.count == 2)
    }
}

/// A run: what, on which engines, how long.
package struct BenchPlan: Sendable {
    package var engines: [EngineKind] = EngineKind.durable
    package var raw = false
    package var workloads: [Workload] = Workload.usual
    package var valueSizes = [256]
    package var batches = [1, 32, 256]
    /// Seconds of one round.
    package var seconds = 0.5
    var rounds = 5
    package var keys = 100_000
    /// Families of the memory workload.
    package var families = 256
    /// Bytes of keys and values that the memory workload fills.
    package var fillBytes = 1 << 30
    package var churnSeconds = 30.0

    package init() {}

    enum Limits {
        /// LMDB and the log want more than a few bytes; beyond 64 KiB the disk alone is measured.
        static let valueBytes = 16...65_536
        static let batch = 1...65_536
        static let keys = 1_000...10_000_000
        static let families = 1...4_096
        static let rounds = 1...1_000
        static let seconds = 0.01...600.0
        static let fillMiB = 1...65_536
        /// Keys and values loaded at most, so that large values don't fill the disk.
        static let loadedBytesMax = 512 << 20
    }

    /// Every engine and, with `raw`, its C library beside it. The memory engine has none.
    package var subjects: [SubjectName] {
        engines.flatMap { engine in
            raw && engine != .memory
                ? [SubjectName(engine), SubjectName(engine, isRaw: true)] : [SubjectName(engine)]
        }
    }

    /// Keys that are loaded at a value size.
    package func loadedKeys(_ valueBytes: Int) -> Int {
        max(1_000, min(keys, Limits.loadedBytesMax / (valueBytes + Dataset.keyBytes)))
    }

    /// Reads first, on data that has settled; what changes the data last.
    package func cells(_ valueBytes: Int) -> [Cell] {
        let order: [Workload] = [
            .portable, .get, .getMiss, .snapshotGet, .multiGet, .scan, .export, .ingest, .transfer, .checkpoint,
            .write, .logApply, .drop, .memory,
        ]
        return order.filter(workloads.contains).flatMap { workload -> [Cell] in
            switch workload {
            case .write:
                return [false, true].flatMap { isSynced in
                    batches.map { Cell(workload: workload, valueBytes: valueBytes, batch: $0, isSynced: isSynced) }
                }
            case .logApply:
                return batches.map { Cell(workload: workload, valueBytes: valueBytes, batch: $0, isSynced: true) }
            case .multiGet: return [Cell(workload: workload, valueBytes: valueBytes, batch: 32)]
            case .scan: return [Cell(workload: workload, valueBytes: valueBytes, batch: 1_000)]
            case .drop:
                return [false, true].map { Cell(workload: workload, valueBytes: valueBytes, isSynced: $0) }
            default: return [Cell(workload: workload, valueBytes: valueBytes)]
            }
        }
    }

    /// The order of a round: the engines take turns at being first, and so do an engine and its C library.
    package func order(round: Int) -> [SubjectName] {
        let turn = round % max(1, engines.count)
        let rotated = engines[turn...] + engines[..<turn]
        return rotated.flatMap { engine in
            let pair = subjects.filter { $0.engine == engine }
            return (round / max(1, engines.count)) % 2 == 0 ? pair : pair.reversed()
        }
    }
}
