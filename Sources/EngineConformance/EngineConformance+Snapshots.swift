internal import Engines
internal import Foundation

extension EngineConformance {
    static let snapshotChecks: [Check] = [
        Check("aSnapshotDoesNotSeeLaterWrites") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let before = try engine.pairs(family)
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                for durability in [Durability.buffered, .logged, .synced] {
                    var batch = WriteBatch()
                    batch.put(family, key: [3], value: bytes("changed"))
                    batch.put(family, key: [7], value: bytes("new"))
                    batch.delete(family, key: [8])
                    batch.deleteRange(family, from: [254], to: nil)
                    try engine.write(batch, durability: durability)
                    try expectEqual(try snapshot.pairs(family), before, "pairs of the snapshot, \(durability)")
                    try expectEqual(
                        try snapshot.pairs(family, reverse: true), before.reversed(), "backwards, \(durability)")
                    try expectEqual(try snapshot.get(family, key: [7]), nil, "a later key, \(durability)")
                    try expectEqual(try snapshot.get(family, key: [8]), [8], "a key deleted later, \(durability)")
                }
                try expectEqual(try engine.get(family, [7]), bytes("new"), "the engine's value")
            }
        },
        Check("aCursorDoesNotSeeLaterWrites") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
                var seen: [[UInt8]] = []
                while let key = try cursor.next({ key, _ in Array(key) }) {
                    seen.append(key)
                    var batch = WriteBatch()
                    batch.put(family, key: key + [1], value: [])
                    batch.delete(family, key: [254])
                    try engine.write(batch, durability: seen.count % 2 == 0 ? .synced : .buffered)
                }
                try expectEqual(seen, keys, "keys seen")
            }
        },
        Check("aCursorBackwardsDoesNotSeeLaterWrites") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: true)
                var seen: [[UInt8]] = []
                while let key = try cursor.next({ key, _ in Array(key) }) {
                    seen.append(key)
                    var batch = WriteBatch()
                    // Behind the cursor, in front of it, and everything else.
                    batch.deleteRange(family, from: [], to: nil)
                    batch.put(family, key: [0, 0], value: [])
                    batch.put(family, key: key + [1], value: [])
                    try engine.write(batch, durability: seen.count % 2 == 0 ? .synced : .buffered)
                    if seen.count == 3 { try engine.compact() }
                }
                try expectEqual(seen, keys.reversed(), "keys seen")
            }
        },
        Check("aSnapshotOutlivesItsFamily") { bench in
            try bench.withHalfBuffered { engine, family, keys in
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
                var seen: [[UInt8]] = []
                if let first = try cursor.next({ key, _ in Array(key) }) { seen.append(first) }
                try engine.dropFamily(family)
                while let key = try cursor.next({ key, _ in Array(key) }) { seen.append(key) }
                try expectEqual(seen, keys, "keys of a cursor that was open")
                try expectEqual(try snapshot.pairs(family).map(\.key), keys, "keys of the dropped family")
                try expectEqual(try snapshot.get(family, key: [6]), [66], "a value of the dropped family")
            }
        },
        Check("aSnapshotDoesNotSeeLaterFamilies") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                try engine.createFamily(Families.second)
                try engine.put(Families.second, bytes("k"), bytes("v"))
                try expectRefusal("reading a family younger than the snapshot") {
                    _ = try snapshot.get(Families.second, key: bytes("k"))
                } matches: {
                    $0 == .familyMissing(Families.second)
                }
            }
        },
        Check("aSnapshotIsOneMomentOfAllFamilies") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.createFamily(Families.second)
                let rounds = 400
                let isDone = DispatchSemaphore(value: 0)
                let outcome = SharedOutcome()
                // Writes the same number everywhere, in every way that a batch can be written.
                let writer = Thread {
                    outcome.run {
                        for round in 1...rounds {
                            var batch = WriteBatch()
                            let number = bytes("\(round)")
                            batch.put(Families.first, key: bytes("n"), value: number)
                            if round % 4 == 0 {
                                batch.deleteRange(Families.second, from: bytes("x"), to: bytes("y"))
                                batch.put(Families.second, key: bytes("seldom"), value: number)
                            }
                            batch.put(Families.second, key: bytes("n"), value: number)
                            batch.delete(Families.second, key: bytes("never"))
                            try engine.write(batch, durability: round % 11 == 0 ? .synced : .buffered)
                            if round % 4 == 1 {
                                try engine.sync()
                                try engine.write(WriteBatch(), durability: .synced)
                            }
                        }
                    }
                    isDone.signal()
                }
                writer.start()
                var last = 0
                var isRunning = true
                while isRunning {
                    isRunning = isDone.wait(timeout: .now()) == .timedOut
                    let snapshot = try engine.snapshot()
                    defer { snapshot.close() }
                    let first = try snapshot.get(Families.first, key: bytes("n"))
                    let second = try snapshot.get(Families.second, key: bytes("n"))
                    try expectEqual(first, second, "the two families of one snapshot")
                    let number = first.flatMap(decimal) ?? 0
                    let seldom = try snapshot.get(Families.second, key: bytes("seldom")).flatMap(decimal) ?? 0
                    try expect(seldom <= number, "a snapshot shows half of batch \(seldom) over batch \(number)")
                    try expect(number >= last, "a snapshot went back from \(last) to \(number)")
                    last = number
                }
                try outcome.get()
                try expectEqual(last, rounds, "the last number")
            }
        },
        Check("aClosedSnapshotSaysSo") { bench in
            guard bench.suite.keepsData else { return }
            try bench.withHalfBuffered { engine, family, _ in
                let snapshot = try engine.snapshot()
                snapshot.close()
                snapshot.close()
                try expectRefusal("reading a closed snapshot") {
                    _ = try snapshot.get(family, key: [1])
                } matches: {
                    $0 == .closed
                }
            }
        },
    ]
}

private func decimal(_ digits: [UInt8]) -> Int? { Int(String(decoding: digits, as: UTF8.self)) }

/// The error of another thread.
private final class SharedOutcome: @unchecked Sendable {
    private let lock = NSLock()
    private var error: (any Error)?

    func run(_ body: () throws -> Void) {
        do { try body() } catch { lock.withLock { self.error = error } }
    }

    func get() throws {
        if let error = lock.withLock({ error }) { throw error }
    }
}
