public import Engines
import Foundation

/// kill -9 in the middle of writing, and a look at what is left.
public struct ProcessKillCampaign: Sendable {
    public let kind: EngineKind

    public init(_ kind: EngineKind) { self.kind = kind }

    /// One round: two lives in one directory, the second of which begins with what the first one left.
    /// Returns the batches that were there.
    @discardableResult
    public func round(_ round: Int) throws -> Int {
        try withScratchDirectory { directory in
            var batches = 0
            for life in 0..<2 {
                let seed = UInt64(round * 2 + life + 1)
                let place = "\(kind), round \(round), life \(life)"
                let lines = Int(seed * 7 % 40) + 2
                let outcome = try ChildProgram.run(
                    ["write", kind.rawValue, directory, "\(seed)"], killAfterLines: lines)
                guard outcome.end == .signalled(SIGKILL) else {
                    throw BrokenRule("\(place): the writer ended by itself: \(outcome.end)")
                }
                var promises = Promises()
                for line in outcome.lines { promises.hear(line) }
                do { batches += try look(directory, NumberedBatches(seed: seed), promises, empty: life == 0) } catch {
                    throw BrokenRule("\(place): \(error)")
                }
            }
            return batches
        }
    }

    private func look(
        _ directory: String, _ batches: NumberedBatches, _ promises: Promises, empty: Bool
    ) throws -> Int {
        let engine = try kind.open(directory)
        let head = try batches.check(engine, promises)
        if empty {
            var batch = WriteBatch()
            for family in NumberedBatches.lasting { batch.deleteRange(family, from: [0], to: nil) }
            try engine.write(batch, durability: .synced)
        }
        try engine.close()
        return head
    }
}
