internal import Bytes
internal import Keyspace
internal import RaftLog

/// The sessions of one shard by their ends, as its rows have them: which are over, and how many a client has, without a
/// look at the rows. Rebuilt from them whenever it isn't there.
struct SessionIndex: Sendable {
    struct Entry: Sendable, Equatable {
        var end: Milliseconds
        var token: [UInt8]
        /// Whose session it is; closed ones have none.
        var origin: UInt32

        fileprivate static func isBefore(_ left: Entry, _ right: Entry) -> Bool {
            left.end != right.end ? left.end < right.end : left.token.lexicographicallyPrecedes(right.token)
        }
    }

    /// In the order of their ends, from `first` on; those before have gone.
    private var entries: [Entry] = []
    private var first = 0
    private var counts: [UInt32: Int] = [:]

    /// Sessions that are counted: closed ones aren't.
    private(set) var open = 0
    /// All that have rows.
    var count: Int { entries.count - first }

    init() {}

    func count(of origin: UInt32) -> Int { counts[origin] ?? 0 }

    mutating func insert(_ entry: Entry) {
        // Most sessions last as long as those before them, and so end after them.
        var place = entries.count
        if let last = entries.last, first < entries.count, Entry.isBefore(entry, last) { place = position(of: entry) }
        entries.insert(entry, at: place)
        count(entry, 1)
    }

    /// Takes out what is there of a session that ends then.
    mutating func remove(end: Milliseconds, token: [UInt8]) {
        let place = position(of: Entry(end: end, token: token, origin: 0))
        guard place < entries.count, entries[place].end == end, entries[place].token == token else { return }
        count(entries.remove(at: place), -1)
    }

    /// Takes out what has ended, the oldest first, at most `limit`.
    mutating func takeEnded(by now: Milliseconds, limit: Int) -> [Entry] {
        var ended: [Entry] = []
        while ended.count < limit, first < entries.count, entries[first].end <= now {
            ended.append(entries[first])
            count(entries[first], -1)
            first += 1
        }
        // Shifting an array costs its length: not every time.
        if first > 1_024, first > entries.count / 2 {
            entries.removeFirst(first)
            first = 0
        }
        return ended
    }

    private mutating func count(_ entry: Entry, _ change: Int) {
        guard entry.origin != SessionRow.closedOrigin else { return }
        open += change
        let count = (counts[entry.origin] ?? 0) + change
        counts[entry.origin] = count > 0 ? count : nil
    }

    private func position(of entry: Entry) -> Int {
        var (low, high) = (first, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if Entry.isBefore(entries[middle], entry) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// The row of a session's end: its key orders sessions by their ends, its value says whose the session is.
enum SessionEndRow {
    static func key(_ end: Milliseconds, _ token: [UInt8]) -> [UInt8] {
        [ShardRows.sessionEnd] + bigEndianBytes(end) + token
    }

    /// Sessions of nobody in particular have an empty value.
    static func value(_ origin: UInt32) -> [UInt8] {
        origin == 0 ? [] : withUnsafeBytes(of: origin.bigEndian) { Array($0) }
    }

    static func read(_ key: [UInt8], _ value: [UInt8]) -> SessionIndex.Entry? {
        guard key.count == 9 + SessionStamp.tokenBytes, value.isEmpty || value.count == 4,
            let end = key.dropFirst().withUnsafeBytes({ bigEndianNumber($0) })
        else { return nil }
        let origin = value.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return SessionIndex.Entry(end: end, token: Array(key.dropFirst(9)), origin: origin)
    }
}
