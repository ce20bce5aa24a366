import Engines
import Foundation
import Inspect
import InspectFixtures
import RaftLog
import Testing

/// Keys as text, and back.
@Suite struct BytesTextTests {
    @Test func everyByteIsWrittenAndReadBack() {
        let all = Array(UInt8.min...UInt8.max)
        for bytes: [UInt8] in [all, all.reversed(), [], [0x5c, 0x78, 0x34, 0x31], Array("a\\b".utf8)] {
            #expect(BytesText.parse(BytesText.escaped(bytes)) == bytes)
            #expect(BytesText.parseHex(BytesText.hex(bytes)) == bytes)
        }
        #expect(BytesText.escaped(Array("a\\\n~ é".utf8)) == "a\\x5c\\x0a~ \\xc3\\xa9")
        #expect(BytesText.hex([0, 0xab]) == "00ab")
    }

    @Test func whatIsNoEscapeStandsForItself() {
        #expect(BytesText.parse("a\\xg1\\x4") == Array("a\\xg1\\x4".utf8))
        #expect(BytesText.parseHex("abc") == nil && BytesText.parseHex("zz") == nil)
    }

    @Test func linesOfCommaSeparatedValuesAreReadBack() throws {
        try Stores.with(.lmdb) { stores in
            let outcome = try SnapshotProgram.run("dump", stores.snapshot, "--format", "csv")
            let lines = outcome.output.split(separator: "\n")
            #expect(lines.first == "key,value,shard" && lines.count == 59)
            for line in lines {
                // A quote within a cell is doubled, so their number is even, and outside of them are two commas.
                let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
                #expect(parts.count % 2 == 1, "\(line)")
                let outside = parts.enumerated().filter { $0.offset % 2 == 0 }.map(\.element).joined()
                #expect(outside.count { $0 == "," } == 2, "\(line)")
            }
            #expect(outcome.output.contains("\""), "some value has a comma or a quote")
        }
    }
}
