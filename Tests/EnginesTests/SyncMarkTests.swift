import Engines
import Foundation
import Testing

@Suite struct SyncMarkTests {
    private func found(in directory: String, isReadOnly: Bool = false) throws -> (isFound: Bool, UInt64, UInt64) {
        let mark = try SyncMark(directory: directory, isReadOnly: isReadOnly)
        return (mark.isFound, mark.found, mark.foundTag)
    }

    @Test func aNewDirectoryHasNoNote() throws {
        try withTemporaryDirectory { (directory) throws in
            #expect(try found(in: directory) == (false, 0, 0))
        }
    }

    @Test func theLastNoteIsFound() throws {
        try withTemporaryDirectory { (directory) throws in
            let mark = try SyncMark(directory: directory, isReadOnly: false)
            mark.note(1 << 40, tag: 7)
            mark.note(12, tag: .max)
            #expect(try found(in: directory) == (true, 12, .max))
            #expect(try found(in: directory, isReadOnly: true) == (true, 12, .max))
        }
    }

    @Test func aNoteOfZeroIsANote() throws {
        try withTemporaryDirectory { (directory) throws in
            try SyncMark(directory: directory, isReadOnly: false).note(0, synced: true)
            #expect(try found(in: directory) == (true, 0, 0))
        }
    }

    @Test func aTornNoteCountsAsNone() throws {
        try withNote { (path, note) throws in
            for count in 0..<note.count {
                try Data(note[..<count]).write(to: URL(fileURLWithPath: "\(path)/\(SyncMark.name)"))
                #expect(try found(in: path) == (false, 0, 0), "\(count) bytes")
            }
        }
    }

    @Test func everyFlippedBitOfANoteIsFound() throws {
        try withNote { (path, note) throws in
            for place in note.indices {
                for bit in 0..<8 {
                    var damaged = note
                    damaged[place] ^= 1 << UInt8(bit)
                    try Data(damaged).write(to: URL(fileURLWithPath: "\(path)/\(SyncMark.name)"))
                    #expect(try found(in: path) == (false, 0, 0), "bit \(bit) of byte \(place)")
                }
            }
        }
    }

    @Test func whoOnlyReadsNeedsNoFileAndMakesNone() throws {
        try withTemporaryDirectory { (directory) throws in
            #expect(try found(in: directory, isReadOnly: true) == (false, 0, 0))
            #expect(directoryEntries(directory) == [])
        }
    }

    private func withNote(_ body: (String, [UInt8]) throws -> Void) throws {
        try withTemporaryDirectory { (directory) throws in
            try SyncMark(directory: directory, isReadOnly: false).note(0x0102_0304_0506_0708, tag: 0x1112_1314)
            let note = try readFile("\(directory)/\(SyncMark.name)", limit: 1 << 10)
            #expect(note.count == 24)
            try body(directory, note)
        }
    }
}
