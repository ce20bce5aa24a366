// inspect-drills [--flips N] [--seed S] [--only WORD]
//
// The long runs behind scripts/drills: every file of a directory of each engine, of a snapshot and of a backup cut at
// each sixteenth, and N bits flipped in each; `inspect` and `verify` read what is left.

import EngineFaults
import Foundation
import InspectFixtures

func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
func note(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

var flips = 300
var seed: UInt64 = 1
var only = ""
var arguments = Array(CommandLine.arguments.dropFirst())
while let option = arguments.first {
    let value = arguments.dropFirst().first ?? ""
    switch option {
    case "--flips": flips = Int(value) ?? -1
    case "--seed": seed = UInt64(value) ?? 1
    case "--only": only = value
    default: flips = -1
    }
    arguments = Array(arguments.dropFirst(2))
}
let subjects = DamageDrill.Subject.all.filter { only.isEmpty || $0.description.contains(only) }
guard flips >= 0, !subjects.isEmpty else {
    note("usage: drills [--flips N] [--seed S] [--only rocksdb|lmdb|sqlite|snapshot|backup|killed|closed]")
    exit(64)
}
var isWell = true
for subject in subjects {
    let report = try DamageDrill(subject, seed: seed).run(flips: flips, noting: note)
    for failure in report.failures { note(failure) }
    isWell = isWell && report.failures.isEmpty
    say(report.summary)
}
exit(isWell ? 0 : 1)
