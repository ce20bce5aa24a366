// engine-durability [--rounds N] [--engines a,b] [--seed S] [--only kill|power|damage|drop]
//
// The long runs behind scripts/durability: N kills, about 4 N power cuts and 4 N damaged copies for each engine; then
// N / 2 cycles of filling and dropping a shard of 64 MiB.

import EngineFaults
import Engines
import Foundation

var rounds = 200
var seed: UInt64 = 1
var engines = EngineKind.durable
var only: String?
var arguments = Array(CommandLine.arguments.dropFirst())
while let option = arguments.first {
    let value = arguments.dropFirst().first ?? ""
    switch option {
    case "--rounds": rounds = Int(value) ?? 0
    case "--seed": seed = UInt64(value) ?? 1
    case "--engines": engines = value.split(separator: ",").compactMap { EngineKind(rawValue: String($0)) }
    case "--only": only = value
    default: rounds = 0
    }
    arguments = Array(arguments.dropFirst(2))
}
guard rounds > 0, !engines.isEmpty, only.map({ ["kill", "power", "damage", "drop"].contains($0) }) ?? true else {
    FileHandle.standardError.write(
        Data(
            "usage: durability [--rounds N] [--engines rocksdb,lmdb,sqlite] [--seed S] [--only kill|power|damage|drop]\n"
                .utf8))
    exit(64)
}

func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
func note(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

var isWell = true
for kind in engines {
    if only == nil || only == "kill" {
        var failures = 0
        var batches = 0
        for round in 0..<rounds {
            do { batches += try ProcessKillCampaign(kind).round(round) } catch {
                failures += 1
                note("\(error)")
            }
        }
        isWell = isWell && failures == 0
        say("\(kind) kill: \(rounds) rounds, \(batches) batches found, \(failures) failed")
    }
    if only == nil || only == "power" {
        let lives = UInt64(max(1, rounds / 25))
        let report = try PowerCutCampaign(kind).run(seeds: seed..<seed + lives, statesPerLife: 50)
        for line in report.failures.map(\.description) + report.refusedTornManifest { note(line) }
        isWell = isWell && report.failures.isEmpty
        say("\(kind) power: \(report)")
        let reopened = try PowerCutCampaign(kind).runReopened(seeds: seed..<seed + lives, killsPerLife: 20)
        for line in reopened.failures.map(\.description) + reopened.refusedTornManifest { note(line) }
        isWell = isWell && reopened.failures.isEmpty
        say("\(kind) power after a kill: \(reopened)")
    }
    if only == nil || only == "damage" {
        let report = try DamageCampaign(kind, seed: seed).run(flips: 2 * rounds)
        for one in report.cases where one.verdict > .refused { note(one.description) }
        isWell = isWell && report.count(.wrong) == 0
        for row in report.table { note(row) }
        say("\(kind) damage: \(report.summary)")
    }
    if only == nil || only == "drop" {
        let cycles = max(4, rounds / 2)
        let sizes = try DropCampaign(kind, shardBytes: 64 << 20).run(cycles: cycles)
        // RocksDB removes files in its own time: one size says less than the highest of a few.
        let (first, last) = (sizes.prefix(3).reduce(0, max) >> 20, sizes.suffix(3).reduce(0, max) >> 20)
        isWell = isWell && Double(last) <= 1.5 * Double(first)
        say(
            "\(kind) drop: \(cycles) cycles of 64 MiB, at most \(first) MiB after one of the first three, \(last) MiB after one of the last three"
        )
    }
}
exit(isWell ? 0 : 1)
