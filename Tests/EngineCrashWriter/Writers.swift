import EngineFaults
import Engines
import Foundation

/// Numbered batches without end.
func writeUntilKilled(_ kind: EngineKind, _ directory: String, seed: UInt64) throws {
    let batches = NumberedBatches(seed: seed)
    let engine = try kind.open(directory)
    for family in NumberedBatches.lasting { try engine.createFamily(family) }
    say("ready")
    for number in 1... {
        try engine.write(batches.batch(number), durability: batches.durability(number))
        if let promise = batches.promise(number) { say(promise) }
    }
}

/// Everything that writers do, so many batches of it, after those that are there already.
func writeAndEnd(_ kind: EngineKind, _ directory: String, seed: UInt64, batches count: Int) throws {
    let batches = NumberedBatches(seed: seed, turnover: true)
    var engine = try kind.open("\(directory)/engine")
    for family in NumberedBatches.lasting { try engine.createFamily(family) }
    say("ready")
    let head = try NumberedBatches.head(of: engine)
    for number in head + 1...head + count {
        if try !engine.families().contains(batches.passingFamily(number)) {
            try turnOver(engine, batches, number, staging: "\(directory)/staging")
        }
        try engine.write(batches.batch(number), durability: batches.durability(number))
        if let promise = batches.promise(number) { say(promise) }
        switch SeededRandom.hash(seed, UInt64(number), 4) % 12 {
        case 0:
            try engine.sync()
            say("\(number)")
        case 1: try engine.compact()
        case 2: while try engine.reclaim() {}
        default: break
        }
        if number == head + count / 2 {
            try engine.close()
            say("\(number)")
            engine = try kind.open("\(directory)/engine")
        }
    }
    try engine.close()
    say("\(head + count)")
}

/// Opens what a killed writer left, promises everything that the engine shows, and is killed itself.
func reopen(_ kind: EngineKind, _ directory: String) throws {
    let engine = try kind.open("\(directory)/engine")
    if Set(try engine.families()).isSuperset(of: NumberedBatches.lasting) {
        say("ready")
        say("logged \(try NumberedBatches.logged(in: engine))")
        say("\(try NumberedBatches.head(of: engine))")
    }
    fflush(nil)
    _exit(0)
}

/// Creates the family that batch `number` is the first to write to, loads a copy of the first family, and drops the
/// families that had their turn two and one before.
private func turnOver(
    _ engine: any StorageEngine, _ batches: NumberedBatches, _ number: Int, staging: String
) throws {
    let passing = batches.passingFamily(number)
    try engine.createFamily(passing)
    say("created \(passing.rawValue)")
    let loaded = batches.loadedFamily(beside: passing)
    if try number > 1 && !engine.families().contains(loaded) {
        try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: false)
        let snapshot = try engine.snapshot()
        let manifest = try engine.export(
            NumberedBatches.families[0], from: snapshot, format: engine.capabilities.formats[0], to: staging)
        snapshot.close()
        try engine.createFamily(loaded)
        try engine.ingest(manifest, from: staging, into: loaded)
        say("loaded \(number - 1) \(loaded.rawValue)")
        try FileManager.default.removeItem(atPath: staging)
    }
    for old in [passing.rawValue - 2, loaded.rawValue - 1].map({ FamilyID($0) })
    where try engine.families().contains(old) {
        say("dropping \(old.rawValue)")
        try engine.dropFamily(old)
        say("dropped \(old.rawValue)")
    }
}

/// "right N", "refused ERROR" if the engine would not open or read it, or "broken SENTENCE".
func check(_ kind: EngineKind, _ directory: String, seed: UInt64, _ encoded: String) -> String {
    guard let promises = try? JSONDecoder().decode(Promises.self, from: Data(encoded.utf8)) else {
        return "broken: the promises can't be read"
    }
    do {
        return
            "right \(try NumberedBatches(seed: seed, turnover: true).checkAndGoOn(kind, "\(directory)/engine", promises))"
    } catch let rule as BrokenRule {
        return "broken \(rule)"
    } catch { return "refused \(oneLine(error))" }
}

func oneLine(_ error: any Error) -> String { "\(error)".replacingOccurrences(of: "\n", with: " ") }
