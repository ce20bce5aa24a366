import Engines
import Foundation
import Inspect
import Testing

/// What a command makes is there as a whole or not at all, and nobody else's files go with it.
@Suite struct UnfinishedOutputTests {
    private func with(_ body: (_ root: String) throws -> Void) throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-output-\(UUID().uuidString)")
            .path
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: root) }
        try body(root)
    }

    private func write(_ path: String) throws {
        let url = URL(fileURLWithPath: path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data("text".utf8).write(to: url)
    }

    private func names(_ path: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path).sorted()
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    @Test func whatIsPublishedIsAllThatIsThere() throws {
        try with { root in
            let output = try UnfinishedOutput("\(root)/a/out")
            try write("\(output.path)/files/one")
            try write("\(output.path)/SEAL")
            #expect(!exists("\(root)/a/out/SEAL"))
            try output.publish(last: "SEAL")
            #expect(try names("\(root)/a/out") == ["SEAL", "files", "files/one"])
            output.discard()
            #expect(exists("\(root)/a/out/SEAL"), "what was published was discarded")
        }
    }

    @Test(arguments: [false, true]) func whatIsDiscardedLeavesWhatWasThere(isThere: Bool) throws {
        try with { root in
            let out = "\(root)/out"
            if isThere { try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true) }
            let output = try UnfinishedOutput(out)
            try write("\(output.path)/files/one")
            output.discard()
            #expect(exists(out) == isThere)
            #expect(throws: EngineError.self) { try output.publish() }
            #expect(exists(out) == isThere)
            // And it may be made again.
            let again = try UnfinishedOutput(out)
            try write("\(again.path)/one")
            try again.publish()
            #expect(try names(out) == ["one"])
        }
    }

    @Test func whatAKilledProcessLeftIsRemovedByTheNext() throws {
        try with { root in
            try write("\(root)/out/.unfinished/group-7/0/0.chunk")
            let output = try UnfinishedOutput("\(root)/out")
            #expect(try names(output.path).isEmpty)
            try write("\(output.path)/one")
            try output.publish()
            #expect(try names("\(root)/out") == ["one"])
        }
    }

    @Test func whatWasBeingPutInPlaceIsRefusedWithTheRemedy() throws {
        try with { root in
            try write("\(root)/out/.unfinished/two")
            try write("\(root)/out/one")
            let error = #expect(throws: EngineError.self) { _ = try UnfinishedOutput("\(root)/out") }
            #expect(error?.description.contains("was killed while it put it in place (one); remove it") == true)
            #expect(try names("\(root)/out") == [".unfinished", ".unfinished/two", "one"])
        }
    }

    @Test func othersFilesStay() throws {
        try with { root in
            let output = try UnfinishedOutput("\(root)/out")
            try write("\(output.path)/one")
            try write("\(root)/out/diary")
            output.discard()
            #expect(try names("\(root)/out") == ["diary"])
            #expect(throws: EngineError.self) { _ = try UnfinishedOutput("\(root)/out") }
        }
    }

    @Test func twoDontWorkInOneDirectory() throws {
        try with { root in
            let output = try UnfinishedOutput("\(root)/out")
            try write("\(output.path)/one")
            let error = #expect(throws: EngineError.self) { _ = try UnfinishedOutput("\(root)/out") }
            #expect(error == .locked(path: "\(root)/out", holder: "another process"))
            try output.publish()
            #expect(try names("\(root)/out") == ["one"])
        }
    }

    /// A thread that doesn't know yet that what it makes was taken away.
    @Test func whoGoesOnMakingWhatWasDiscardedCannotPublishIt() throws {
        try with { root in
            let output = try UnfinishedOutput("\(root)/out")
            output.discard()
            try write("\(output.path)/late")
            #expect(throws: EngineError.closed) { try output.publish() }
            let next = try UnfinishedOutput("\(root)/out")
            #expect(try names(next.path).isEmpty)
        }
    }
}
