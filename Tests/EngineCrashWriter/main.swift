// What the fault tests do to engines in a process of its own, because it ends badly or may:
//
//   engine-crash-writer write  ENGINE DIRECTORY SEED            numbered batches until it is killed
//   engine-crash-writer record ENGINE DIRECTORY SEED BATCHES    as many, with everything else that writers do
//   engine-crash-writer reopen ENGINE DIRECTORY SEED            promises all that a killed writer's engine shows
//   engine-crash-writer check  ENGINE DIRECTORY SEED PROMISES   looks at what they left, and goes on
//   engine-crash-writer fill   ENGINE DIRECTORY SEED BALLAST    writes until the disk is full, makes room, goes on
//   engine-crash-writer make   ENGINE DIRECTORY SEED clean|kill known content, closed or killed
//   engine-crash-writer read   ENGINE DIRECTORY SEED            reads known content out of damaged files
//
// Writers say on standard output what is durable from then on (`Promises`). The others answer with one line.

import EngineFaults
import Engines
import Foundation

func say(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }

let arguments = Array(CommandLine.arguments.dropFirst())
guard arguments.count >= 4, let kind = EngineKind(rawValue: arguments[1]), let seed = UInt64(arguments[3]) else {
    FileHandle.standardError.write(Data("usage: engine-crash-writer VERB ENGINE DIRECTORY SEED [MORE]\n".utf8))
    exit(64)
}
let directory = arguments[2]

switch (arguments[0], arguments.count > 4 ? arguments[4] : "") {
case ("write", _): try writeUntilKilled(kind, directory, seed: seed)
case ("record", let batches): try writeAndEnd(kind, directory, seed: seed, batches: Int(batches) ?? 60)
case ("reopen", _): try reopen(kind, directory)
case ("check", let promises): say(check(kind, directory, seed: seed, promises))
case ("fill", let ballast): say(fill(kind, directory, seed: seed, ballast: ballast))
case ("make", let ending): try KnownContent(seed: seed).make(kind, directory, killed: ending == "kill")
case ("read", _): say(readDamaged(kind, directory, seed: seed))
default: exit(64)
}
