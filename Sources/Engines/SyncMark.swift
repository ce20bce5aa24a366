internal import Glibc

/// The file `SYNCED`: how far an engine's log had been synced, as a number that only grows.
///
/// Engines forgive a log that ends early, because a crash leaves such logs. A log that was cut by damage looks the
/// same, and forgiving it would forget votes. So after each sync its number is noted here, without a sync of its
/// own: what the file says was on the disk before it was said. After a power cut the note may be old, never too new.
package final class SyncMark: Sendable {
    private let descriptor: Int32
    /// Magic (4), check (4), number (8), tag (8); little-endian.
    private typealias Note = (magic: UInt32, check: UInt32, number: UInt64, tag: UInt64)
    /// "FLSM".
    private static let magic: UInt32 = 0x4d53_4c46
    package static let name = "SYNCED"

    /// The number that an earlier life noted; 0 if there is none, or none that can be read.
    package let found: UInt64
    /// Which log the number counts in, where an engine begins new ones.
    package let foundTag: UInt64
    /// An earlier life noted something, be it 0: there is something to open.
    package let isFound: Bool

    /// `isReadOnly`: the file is neither made nor written.
    package init(directory: String, isReadOnly: Bool) throws(EngineError) {
        let path = "\(directory)/\(Self.name)"
        let flags = isReadOnly ? O_RDONLY : O_RDWR | O_CREAT
        let descriptor = open(path, flags | O_CLOEXEC, 0o600)
        self.descriptor = descriptor
        guard descriptor >= 0 || (isReadOnly && errno == ENOENT) else { throw ioError("opening \(path)") }
        var note: Note = (0, 0, 0, 0)
        let got =
            descriptor < 0 ? 0 : withUnsafeMutableBytes(of: &note) { pread(descriptor, $0.baseAddress, $0.count, 0) }
        let isWhole =
            got == MemoryLayout<Note>.size && note.magic == Self.magic
            && note.check == Self.check(note.number, note.tag)
        found = isWhole ? note.number : 0
        foundTag = isWhole ? note.tag : 0
        isFound = isWhole
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static func check(_ number: UInt64, _ tag: UInt64) -> UInt32 {
        withUnsafeBytes(of: (number, tag)) { crc32c($0) }
    }

    /// A note that can't be written is not worth a failure: it only makes the engine less suspicious. One that takes an
    /// earlier one back must be `synced`, before what the earlier one speaks of goes.
    package func note(_ number: UInt64, tag: UInt64 = 0, synced: Bool = false) {
        let note: Note = (Self.magic, Self.check(number, tag), number, tag)
        _ = withUnsafeBytes(of: note) { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        if synced { fdatasync(descriptor) }
    }
}
