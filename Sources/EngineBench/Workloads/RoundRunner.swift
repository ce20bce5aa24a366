internal import Engines
internal import Foundation

/// Runs rounds on one subject, in a process that has no other: so memory, CPU time and written bytes are its own.
package final class RoundRunner {
    let name: SubjectName
    let plan: BenchPlan
    /// Everything that the subject writes lies here.
    let directory: String
    var loaded: Loaded?
    /// The engine that takes in what this one exports, once a workload has wanted it.
    private var receiver: (any Subject)?
    /// The next entry of the log.
    var logIndex: UInt64 = 1

    struct Loaded {
        var data: Dataset
        var subject: any Subject
    }

    /// Waiting for background work: after a round, and after loading.
    private static let settleSecondsMax = 2.0
    private static let loadSettleSecondsMax = 30.0
    /// Keys in a batch while loading.
    private static let loadBatch = 256

    package init(_ name: SubjectName, _ plan: BenchPlan, directory: String) {
        self.name = name
        self.plan = plan
        self.directory = directory
    }

    var engineDirectory: String { "\(directory)/engine" }

    /// Makes ready what the rounds of a cell need.
    package func prepare(_ cell: Cell) throws {
        guard cell.workload != .memory, cell.workload != .portable else { return }
        let loaded = try load(cell.valueBytes)
        if cell.workload == .logApply {
            for family in [BenchFamily.log, BenchFamily.meta] {
                try loaded.subject.createFamily(family)
            }
            logIndex = 1
        }
    }

    /// One round; `nil` if this subject can't do it. A number below 0 is a short round that only warms up.
    package func round(_ cell: Cell, number: Int) throws -> RoundResult? {
        var round = RoundResult()
        let seconds = number < 0 ? plan.seconds / 4 : plan.seconds
        var random = Randomness(Self.seed(cell, number))
        if cell.workload == .memory {
            try fillAndChurn(cell, &round, &random)
        } else if cell.workload == .portable {
            try encodeAndDecode(cell, &round, seconds)
        } else {
            let loaded = try load(cell.valueBytes)
            switch cell.workload {
            case .get, .getMiss, .snapshotGet, .multiGet, .scan: try read(cell, loaded, &round, &random, seconds)
            case .write: try write(cell, loaded, &round, &random, seconds)
            case .logApply: try applyLog(cell, loaded, &round, &random, seconds)
            case .export, .ingest, .transfer: try move(cell, loaded, &round, seconds)
            case .checkpoint:
                if name.engine == .memory { return nil }
                try checkpoint(loaded, &round, seconds)
            case .drop:
                if loaded.subject.buffersOnOneThread, cell.isSynced == false { return nil }
                try drop(cell, loaded, &round, seconds)
            case .memory, .portable: break
            }
        }
        round.anonymousBytes = max(round.anonymousBytes, anonymousBytesNow())
        round.diskBytes = max(round.diskBytes, occupiedBytes(engineDirectory))
        return round
    }

    /// Clears away what `prepare` made.
    package func finish(_ cell: Cell) throws {
        guard cell.workload == .logApply, let loaded else { return }
        for family in [BenchFamily.log, BenchFamily.meta] {
            try loaded.subject.dropFamily(family)
        }
        while try loaded.subject.reclaim() {}
        try loaded.subject.compact()
        settle(secondsMax: Self.loadSettleSecondsMax)
    }

    /// Closes the engine and removes its files.
    package func unload() throws {
        try receiver?.close()
        receiver = nil
        try loaded?.subject.close()
        loaded = nil
        removeDirectory(directory)
    }

    /// The same cell and round is the same work for every subject.
    private static func seed(_ cell: Cell, _ number: Int) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(cell.description) \(number)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hash
    }

    // MARK: - Data

    private func load(_ valueBytes: Int) throws -> Loaded {
        if let loaded, loaded.data.valueBytes == valueBytes { return loaded }
        if loaded != nil { try unload() }
        let data = Dataset(keys: plan.loadedKeys(valueBytes), valueBytes: valueBytes)
        try makeDirectory(engineDirectory)
        let subject = try name.open(engineDirectory)
        let made = Loaded(data: data, subject: subject)
        loaded = made
        try fill(BenchFamily.data, made)
        return made
    }

    /// Creates a family and loads every key of the data set, in order.
    func fill(_ family: UInt64, _ loaded: Loaded) throws {
        let subject = loaded.subject
        try subject.createFamily(family)
        let writer = subject.writer()
        for start in stride(from: 0, to: loaded.data.keys, by: Self.loadBatch) {
            let count = min(Self.loadBatch, loaded.data.keys - start)
            var batch = PutBatch(count: count, family: family, loaded.data)
            for index in 0..<count { Dataset.set(&batch.puts[index].key, start + index) }
            try writer.write(batch, synced: false)
        }
        try subject.sync()
        try subject.compact()
        settle(secondsMax: Self.loadSettleSecondsMax)
    }

    /// A second engine of the same kind, beside the first.
    func receivingSubject() throws -> any Subject {
        if let receiver { return receiver }
        let path = "\(directory)/receiver"
        try makeDirectory(path)
        let opened = try name.open(path)
        receiver = opened
        return opened
    }

    /// Ends a round of writes: what is buffered is made durable on the clock, what runs behind is waited for off it.
    func endWrites(_ subject: any Subject, synced: Bool, _ round: inout RoundResult) throws {
        if !synced {
            let start = nanosecondsNow()
            try subject.sync()
            round.busyNanoseconds += nanosecondsNow() - start
        }
        settle(secondsMax: Self.settleSecondsMax)
    }
}
