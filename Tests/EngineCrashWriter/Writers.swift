import EngineFaults
import Engines
import Foundation

/// Numbered batches without end.
func writeUntilKilled(_ kind: EngineKind, _ directory: String, seed: UInt64) throws {
    let batches = NumberedBatches(seed: seed)
    let engine = try kind.open(directory)
    for family in NumberedBatches.families { try engine.createFamily(family) }
    say("ready")
    for number in 1... {
        let isSynced = batches.isSynced(number)
        try engine.write(batches.batch(number), durability: isSynced ? .synced : .buffered)
        if isSynced { say("\(number)") }
    }
}

/// So many numbered batches after those that are there already, and between them everything else that makes files
/// change: families that come and go, syncs, compaction, closing and opening.
func writeAndEnd(_ kind: EngineKind, _ directory: String, seed: UInt64, batches count: Int) throws {
    let batches = NumberedBatches(seed: seed, turnover: true)
    var engine = try kind.open(directory)
    for family in NumberedBatches.families { try engine.createFamily(family) }
    say("ready")
    let head = try NumberedBatches.head(of: engine)
    for number in head + 1...head + count {
        let passing = batches.passingFamily(number)
        if try !engine.families().contains(passing) {
            try engine.createFamily(passing)
            say("created \(passing.rawValue)")
            let old = FamilyID(passing.rawValue - 2)
            if try engine.families().contains(old) {
                say("dropping \(old.rawValue)")
                try engine.dropFamily(old)
            }
        }
        let isSynced = batches.isSynced(number)
        try engine.write(batches.batch(number), durability: isSynced ? .synced : .buffered)
        if isSynced { say("\(number)") }
        switch SeededRandom.hash(seed, UInt64(number), 4) % 12 {
        case 0:
            try engine.sync()
            say("\(number)")
        case 1: try engine.compact()
        default: break
        }
        if number == head + count / 2 {
            try engine.close()
            say("\(number)")
            engine = try kind.open(directory)
        }
    }
    try engine.close()
    say("\(head + count)")
}

/// "right N", "refused ERROR" if the engine would not open or read it, or "broken SENTENCE".
func check(_ kind: EngineKind, _ directory: String, seed: UInt64, _ encoded: String) -> String {
    guard let promises = try? JSONDecoder().decode(Promises.self, from: Data(encoded.utf8)) else {
        return "broken: the promises can't be read"
    }
    do {
        return "right \(try NumberedBatches(seed: seed, turnover: true).checkAndGoOn(kind, directory, promises))"
    } catch let rule as BrokenRule {
        return "broken \(rule)"
    } catch { return "refused \(oneLine(error))" }
}

func oneLine(_ error: any Error) -> String { "\(error)".replacingOccurrences(of: "\n", with: " ") }
