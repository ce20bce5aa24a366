import EngineFaults
import Engines
import Foundation
import Inspect
import InspectFixtures
import Testing

/// Runs the commands as a user does.
enum SnapshotProgram {
    struct Outcome {
        var code: Int32
        var output: String
        var notes: String
    }

    static func run(_ arguments: String...) throws -> Outcome { try run(arguments) }

    static func run(_ arguments: [String]) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try ChildProgram.path("snapshot-tool"))
        process.arguments = arguments
        return try withScratchDirectory { scratch in
            // Files, because a pipe that nobody empties would block a talkative command.
            let paths = ["\(scratch)/out", "\(scratch)/err"]
            for path in paths { _ = FileManager.default.createFile(atPath: path, contents: nil) }
            process.standardOutput = FileHandle(forWritingAtPath: paths[0])
            process.standardError = FileHandle(forWritingAtPath: paths[1])
            process.standardInput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationReason == .exit, "\(arguments): signal \(process.terminationStatus)")
            let said = try paths.map { String(decoding: try Data(contentsOf: URL(fileURLWithPath: $0)), as: UTF8.self) }
            return Outcome(code: process.terminationStatus, output: said[0], notes: said[1])
        }
    }

    static func json(_ arguments: String...) throws -> [String: Any] {
        let outcome = try run(arguments)
        return try #require(
            try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any],
            "\(arguments): \(outcome)")
    }
}

/// A stopped node of group 7, a snapshot of it and a controller, in a directory that goes afterwards.
struct Stores {
    let root: String
    var node: String { "\(root)/node" }
    var snapshot: String { "\(root)/snapshot" }
    var controller: String { "\(root)/controller" }

    static func with(_ kind: EngineKind, _ body: (Stores) throws -> Void) throws {
        try withScratchDirectory { root in
            let stores = Stores(root: root)
            try NodeFixture.makeGroup(stores.node, kind)
            try NodeFixture.makeController(stores.controller, kind)
            _ = try ArchiveMaker.save(
                from: stores.node, to: stores.snapshot, madeBy: "flotilla 0", createdAtMs: NodeFixture.start)
            try body(stores)
        }
    }

    /// Every file below a directory, with a checksum of its bytes.
    static func checksums(_ path: String) throws -> [String: UInt32] {
        var sums: [String: UInt32] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: path) {
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isDirectory)
            if isDirectory.boolValue { continue }
            sums[name] = crc32c(Array(try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)"))))
        }
        return sums
    }
}
