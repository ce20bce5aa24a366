package import Inspect

/// The records that are on their way to the cluster, and how far everything before them is there.
///
/// Answers come in any order. What counts for going on later is the last record up to which all are answered.
package struct PutWindow {
    /// What has been answered, everything before it included.
    package struct Answered: Equatable {
        package var keys: UInt64 = 0
        /// Of keys and values.
        package var bytes: UInt64 = 0
        /// Of `keys`: left as they were, because they existed.
        var kept: UInt64 = 0
        package var last: ArchiveKeys.Position?

        package init(keys: UInt64 = 0, bytes: UInt64 = 0, kept: UInt64 = 0, last: ArchiveKeys.Position? = nil) {
            self.keys = keys
            self.bytes = bytes
            self.kept = kept
            self.last = last
        }
    }

    private struct Entry {
        var position: ArchiveKeys.Position
        var bytes: Int
        /// `nil` while it is on its way.
        var wasWritten: Bool?
    }

    /// Enough that a cluster is never idle for want of puts, and little memory whatever the values.
    static let countMax = 256
    package static let bytesMax = 16 << 20

    package private(set) var answered: Answered
    private var entries: [Entry] = []
    /// The number of the first entry.
    private var first = 0
    private var bytes = 0

    package init(after answered: Answered = Answered()) { self.answered = answered }

    package var isEmpty: Bool { entries.isEmpty }
    package var hasRoom: Bool { entries.count < Self.countMax && bytes < Self.bytesMax }

    /// Sends off a record; the number is for its answer.
    package mutating func begin(_ position: ArchiveKeys.Position, bytes: Int) -> Int {
        entries.append(Entry(position: position, bytes: bytes))
        self.bytes += bytes
        return first + entries.count - 1
    }

    package mutating func finish(_ number: Int, wasWritten: Bool) {
        let place = number - first
        guard entries.indices.contains(place) else { return }
        entries[place].wasWritten = wasWritten
        var done = 0
        while done < entries.count, let wasWritten = entries[done].wasWritten {
            answered.keys += 1
            answered.bytes += UInt64(entries[done].bytes)
            if !wasWritten { answered.kept += 1 }
            answered.last = entries[done].position
            bytes -= entries[done].bytes
            done += 1
        }
        entries.removeFirst(done)
        first += done
    }
}
