internal import Foundation
internal import Synchronization

extension RoundRunner {
    /// The call that drops a family of all keys, and the puts of a writer before and while its space comes back.
    func drop(_ cell: Cell, _ loaded: Loaded, _ round: inout RoundResult, _ seconds: Double) throws {
        let subject = loaded.subject
        try fill(BenchFamily.doomed, loaded)
        let meter = Meter.start()
        let neighbour = Neighbour(subject, loaded.data, synced: cell.isSynced ?? true)
        neighbour.start()
        usleep(UInt32(seconds * 1_000_000))
        neighbour.enter(.beside)
        let start = nanosecondsNow()
        let end = start + UInt64(seconds * 1_000_000_000)
        var slices = 0
        do {
            try round.time(keys: loaded.data.keys) { try subject.dropFamily(BenchFamily.doomed) }
            while try subject.reclaim() { slices += 1 }
        } catch {
            _ = try? neighbour.stop()
            throw error
        }
        let reclaimed = nanosecondsNow()
        // Some engines give space back in the background: so the same time with the drop as without.
        if reclaimed < end { usleep(UInt32((end - reclaimed) / 1000)) }
        let (alone, beside) = try neighbour.stop()
        meter.stop(&round)
        round.beside = ["put alone": alone, "put while dropping": beside]
        round.figures = [
            Figure(name: "drop and reclaim", value: Double(reclaimed - start) / 1_000_000, unit: "ms"),
            Figure(name: "slices", value: Double(slices), unit: ""),
        ]
        try subject.sync()
        settle(secondsMax: 2)
    }
}

/// A thread that puts one key after another.
private final class Neighbour: @unchecked Sendable {
    enum Phase: Int { case alone, beside, over }

    private let subject: any Subject
    private let data: Dataset
    private let isSynced: Bool
    private let phase = Atomic<Int>(Phase.alone.rawValue)
    private let isDone = DispatchSemaphore(value: 0)
    /// Written by the thread alone until `isDone`.
    private var latencies = [Latencies(), Latencies()]
    private var failure: (any Error)?

    init(_ subject: any Subject, _ data: Dataset, synced: Bool) {
        self.subject = subject
        self.data = data
        isSynced = synced
    }

    func start() { Thread.detachNewThread { self.run() } }

    func enter(_ next: Phase) { phase.store(next.rawValue, ordering: .relaxed) }

    func stop() throws -> (alone: Latencies, beside: Latencies) {
        enter(.over)
        isDone.wait()
        if let failure { throw failure }
        return (latencies[0], latencies[1])
    }

    private func run() {
        defer { isDone.signal() }
        let writer = subject.writer()
        var random = Randomness(1)
        var batch = PutBatch(count: 1, family: BenchFamily.data, data)
        while true {
            let now = phase.load(ordering: .relaxed)
            if now == Phase.over.rawValue { return }
            batch.draw(&random, of: data.keys)
            let start = nanosecondsNow()
            do { try writer.write(batch, synced: isSynced) } catch {
                failure = error
                return
            }
            latencies[now].record(nanosecondsNow() - start)
        }
    }
}
