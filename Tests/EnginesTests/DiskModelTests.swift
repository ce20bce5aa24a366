import EngineFaults
import Foundation
import Testing

/// What the model of a disk lets a power cut leave, and what it doesn't.
@Suite struct DiskModelTests {
    /// A trace in words: the descriptor is the file's number, the data one letter repeated.
    private struct Script {
        var bytes: [UInt8] = []
        var calls: [RecordedCall] = []

        mutating func open(_ descriptor: Int32, _ name: String, _ flags: Int32 = O_CREAT) {
            calls.append(.open(descriptor: descriptor, name: name, flags: flags))
        }
        mutating func write(_ descriptor: Int32, at offset: Int = 0, _ letter: Character, _ count: Int) {
            let start = bytes.count
            bytes += repeatElement(letter.asciiValue ?? 0, count: count)
            calls.append(.write(descriptor: descriptor, offset: offset, bytes: start..<bytes.count))
        }
        mutating func sync(_ descriptor: Int32) { calls.append(.sync(descriptor: descriptor)) }
        mutating func openDirectory(_ descriptor: Int32) { open(descriptor, "", O_DIRECTORY) }
    }

    /// Every state that a hundred seeds make of a cut at the end: name -> contents.
    private func states(_ script: Script, _ survival: DiskModel.Survival? = nil) throws -> Set<[String: String]> {
        var model = try DiskModel(RecordedTrace(bytes: script.bytes, calls: script.calls))
        try model.advance(to: script.calls.count)
        var states: Set<[String: String]> = []
        for seed in 0..<100 {
            try withScratchDirectory { directory in
                var random = SeededRandom(seed: UInt64(seed))
                let chosen = survival ?? model.survival(using: &random)
                try model.write(chosen, to: directory, using: &random)
                var state: [String: String] = [:]
                for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
                    let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)"))
                    state[name] = String(decoding: bytes.map { $0 == 0 ? UInt8(ascii: ".") : $0 }, as: UTF8.self)
                }
                states.insert(state)
            }
        }
        return states
    }

    @Test func whatWasSyncedIsThereAndWhatFollowedMayBe() throws {
        var script = Script()
        script.open(1, "file")
        script.write(1, "a", 2)
        script.sync(1)
        script.write(1, at: 2, "b", 2)
        #expect(try states(script, .nothing) == [["file": "aa"]])
        #expect(try states(script, .everything) == [["file": "aabb"]])
        // The size may be there without the data.
        #expect(try states(script) == [["file": "aa"], ["file": "aabb"], ["file": "aa.."]])
    }

    @Test func aWriteThroughASynchronousDescriptorIsThereAtOnce() throws {
        var script = Script()
        script.open(1, "file")
        script.write(1, "a", 4)
        script.sync(1)
        script.write(1, "b", 4)
        script.open(2, "file", O_DSYNC)
        script.write(2, at: 1, "c", 2)
        #expect(try states(script, .nothing) == [["file": "acca"]])
        #expect(try states(script) == [["file": "acca"], ["file": "bccb"]])
    }

    @Test func aNewFileNobodySyncedMayBeMissingOrEmpty() throws {
        var script = Script()
        script.open(1, "file")
        script.write(1, "a", 2)
        let states = try states(script)
        #expect(states.isSuperset(of: [[:], ["file": ""], ["file": "aa"]]))
    }

    @Test func aRenameMayHaveHappenedUntilItsDirectoryIsSynced() throws {
        var script = Script()
        script.open(1, "old")
        script.write(1, "a", 1)
        script.sync(1)
        script.open(2, "new")
        script.write(2, "b", 1)
        script.sync(2)
        script.calls.append(.rename(from: "new", to: "old"))
        #expect(try states(script) == [["old": "a", "new": "b"], ["old": "b"]])
        script.openDirectory(3)
        script.sync(3)
        #expect(try states(script) == [["old": "b"]])
    }

    @Test func entriesChangeInOrder() throws {
        var script = Script()
        script.open(1, "a")
        script.open(2, "b")
        script.calls.append(.unlink("a"))
        script.open(3, "c")
        script.sync(3)
        // c came last: so b is there and a is not.
        #expect(try states(script) == [["b": "", "c": ""]])
    }

    @Test func writesTearBetweenBlocks() throws {
        var script = Script()
        script.open(1, "file")
        script.write(1, "a", 1024)
        script.sync(1)
        script.write(1, "b", 1024)
        let (a, b) = (String(repeating: "a", count: 512), String(repeating: "b", count: 512))
        #expect(
            try states(script, .blocks(512)) == [["file": a + a], ["file": a + b], ["file": b + a], ["file": b + b]])
    }

    @Test func aSizeIsThereIfALaterWriteIs() throws {
        var script = Script()
        script.open(1, "file")
        script.write(1, "a", 4)
        script.sync(1)
        script.calls.append(.truncate(descriptor: 1, name: "", size: 0))
        script.write(1, "b", 2)
        let states = try states(script)
        #expect(!states.contains(["file": "bbaa"]))
        #expect(states.isSuperset(of: [["file": "aaaa"], ["file": ""], ["file": "bb"]]))
    }

    @Test func whatIsPromisedIsHeardInOrder() throws {
        var script = Script()
        let said = "ready\n7\ncreated 101\ndropping 100\n9\n"
        script.bytes = Array(said.utf8)
        script.calls = [.say(0..<8), .say(8..<said.utf8.count)]
        var model = try DiskModel(RecordedTrace(bytes: script.bytes, calls: script.calls))
        try model.advance(to: 1)
        #expect(model.promises.isReady && model.promises.head == 7)
        try model.advance(to: 2)
        #expect(model.promises.head == 9)
        #expect(model.promises.created == [101] && model.promises.dropping == [100])
    }
}
