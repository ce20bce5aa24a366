import Engines
import Foundation
import Testing

/// kill -9 in the middle of writing: every synced batch is there, what survives is a prefix, no half batch.
///
/// FLOTILLA_CRASH_ROUNDS sets the rounds for each engine.
@Suite(.serialized) struct ProcessKillTests {
    static let rounds = ProcessInfo.processInfo.environment["FLOTILLA_CRASH_ROUNDS"].flatMap(Int.init) ?? 6

    @Test(arguments: EngineKind.durable) func everySyncedBatchSurvivesKill(kind: EngineKind) throws {
        for round in 0..<Self.rounds {
            try withTemporaryDirectory { directory in
                // Twice in one directory: the second life begins with what the first one left.
                for life in 0..<2 {
                    let seed = UInt64(round * 2 + life + 1)
                    let acknowledged = try killWriter(kind, directory, seed: seed, after: Int(seed * 7 % 40) + 1)
                    try verify(kind, directory, acknowledged: acknowledged, "\(kind), round \(round), life \(life)")
                    if life == 0 { try emptyFamilies(kind, directory) }
                }
            }
        }
    }

    /// Starts the writer, kills it once it has acknowledged `count` synced batches, and returns the last one.
    private func killWriter(_ kind: EngineKind, _ directory: String, seed: UInt64, after count: Int) throws -> Int {
        let writer = Process()
        writer.executableURL = try crashWriter()
        writer.arguments = [kind.rawValue, directory, "\(seed)"]
        let pipe = Pipe()
        writer.standardOutput = pipe
        try writer.run()
        var output = Data()
        var isKilled = false
        // Ends when the writer is gone: everything that it has said counts.
        while true {
            let more = pipe.fileHandleForReading.availableData
            if more.isEmpty { break }
            output.append(more)
            if !isKilled, output.count(where: { $0 == UInt8(ascii: "\n") }) >= count {
                kill(writer.processIdentifier, SIGKILL)
                isKilled = true
            }
        }
        writer.waitUntilExit()
        try #require(isKilled && writer.terminationReason == .uncaughtSignal, "the writer ended by itself")
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        // What stands behind the last line break was not said completely.
        return try #require(lines.dropLast().last.flatMap { Int($0) })
    }

    private func verify(_ kind: EngineKind, _ directory: String, acknowledged: Int, _ place: String) throws {
        let engine = try kind.open(directory)
        let snapshot = try engine.snapshot()
        var contents: [[[UInt8]: [UInt8]]] = []
        for family in [FamilyID(2), FamilyID(3)] {
            var rows: [[UInt8]: [UInt8]] = [:]
            try snapshot.scan(family) { key, value in
                rows[Array(key)] = Array(value)
                return true
            }
            contents.append(rows)
        }
        snapshot.close()
        try engine.close()
        #expect(contents[0] == contents[1], "\(place): half a batch")
        let head = try #require(contents[0][Array("head".utf8)].flatMap { Int(String(decoding: $0, as: UTF8.self)) })
        #expect(head >= acknowledged, "\(place): batch \(acknowledged) was synced, batch \(head) is the last one there")
        for number in 1...head {
            let row = Array(String(format: "%08d", number).utf8)
            let isDeleted = number % 10 == 0 && number + 10 <= head
            #expect((contents[0][row] == nil) == isDeleted, "\(place): row \(number) of \(head)")
            if let value = contents[0][row] {
                #expect(
                    value.starts(with: row) && value.dropFirst(8).allSatisfy { $0 == UInt8(number & 0xff) },
                    "\(place): the value of row \(number)")
            }
        }
        #expect(contents[0].count == head + 1 - max(0, head / 10 - 1), "\(place): rows beyond the last batch")
    }

    private func emptyFamilies(_ kind: EngineKind, _ directory: String) throws {
        let engine = try kind.open(directory)
        var batch = WriteBatch()
        for family in [FamilyID(2), FamilyID(3)] { batch.deleteRange(family, from: [0], to: nil) }
        try engine.write(batch, durability: .synced)
        try engine.close()
    }

    /// Built beside the test program.
    private func crashWriter() throws -> URL {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let writer = URL(fileURLWithPath: program).deletingLastPathComponent().appendingPathComponent(
            "engine-crash-writer")
        try #require(FileManager.default.isExecutableFile(atPath: writer.path), "\(writer.path) is missing")
        return writer
    }
}

func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-engines-\(UUID().uuidString)")
        .path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}
