// engine-crash-writer ENGINE DIRECTORY SEED
//
// Writes numbered batches until it is killed, and prints the number of each synced batch once its write has
// returned. EnginesTests kills it and looks at what it left.
//
// Batch N puts the row N into both families and sets "head" to N in both; now and then it first deletes the
// row of ten batches before from both, by a range.

import Engines
import Foundation

let arguments = CommandLine.arguments
guard arguments.count == 4, let kind = EngineKind(rawValue: arguments[1]), var state = UInt64(arguments[3]) else {
    FileHandle.standardError.write(Data("usage: engine-crash-writer ENGINE DIRECTORY SEED\n".utf8))
    exit(64)
}

func random(_ bound: UInt64) -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (state >> 33) % bound
}

let families = [FamilyID(2), FamilyID(3)]
let engine = try kind.open(arguments[2])
for family in families { try engine.createFamily(family) }

var number: UInt64 = 0
while true {
    number += 1
    let row = Array(String(format: "%08d", Int(number)).utf8)
    let value = row + [UInt8](repeating: UInt8(number & 0xff), count: Int(random(20) == 0 ? 200_000 : random(2_000)))
    var batch = WriteBatch()
    for family in families {
        if number % 10 == 0 {
            let old = Array(String(format: "%08d", Int(number) - 10).utf8)
            batch.deleteRange(family, from: old, to: old + [0])
        }
        batch.put(family, key: row, value: value)
        batch.put(family, key: Array("head".utf8), value: row)
    }
    let isSynced = random(4) == 0
    try engine.write(batch, durability: isSynced ? .synced : .buffered)
    if isSynced { FileHandle.standardOutput.write(Data("\(number)\n".utf8)) }
}
