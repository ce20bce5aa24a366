internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What must hold for each row of a shard's family, and for its sessions together. Allocates for no user record.
final class ShardCheck {
    private let shard: ShardID
    private let shardCount: Int
    private let sessionsRecorded: Int
    private var wrongRows: UInt64 = 0
    private var firstProblem: String?
    /// (token, end) of the session rows and of the rows that say which ends first: the same set.
    private var sessions = ContentHash()
    private var ends = ContentHash()
    private var openSessions = 0

    init(shard: ShardID, shardCount: Int, sessionsRecorded: Int) {
        self.shard = shard
        self.shardCount = shardCount
        self.sessionsRecorded = sessionsRecorded
    }

    @inline(__always)
    func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        if key.count > 1, key[0] == ShardRows.user {
            let userKey = UnsafeRawBufferPointer(rebasing: key[1...])
            if Slot.shard(of: userKey, shardCount: shardCount) == shard, !value.isEmpty, value[0] == 0,
                userKey.count <= Limits.keyBytesMax
            {
                return
            }
        }
        addOther(key, value)
    }

    private func addOther(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        switch key.first {
        case ShardRows.user:
            let userKey = UnsafeRawBufferPointer(rebasing: key.dropFirst())
            guard userKey.count > 0, userKey.count <= Limits.keyBytesMax else {
                return wrong(userKey, "a key of \(userKey.count) bytes")
            }
            guard let flags = value.first, flags == 0 else { return wrong(userKey, "a record with unknown flags") }
            wrong(userKey, "a key of shard \(Slot.shard(of: userKey, shardCount: shardCount))")
        case ShardRows.session where key.count == 17:
            guard let row = try? SessionRow(encoded: Array(value)) else {
                return wrong(key, "a session row that can't be read")
            }
            var end = row.end.bigEndian
            withUnsafeBytes(of: &end) { end in
                sessions.add(key: UnsafeRawBufferPointer(rebasing: key[1...]), value: end)
            }
        case ShardRows.sessionEnd where key.count == 25:
            if !ShardRows.isClosed(value) { openSessions += 1 }
            ends.add(
                key: UnsafeRawBufferPointer(rebasing: key[9...]), value: UnsafeRawBufferPointer(rebasing: key[1..<9]))
        default: wrong(key, "a row of no known kind")
        }
    }

    private func wrong(_ key: UnsafeRawBufferPointer, _ problem: String) {
        wrongRows += 1
        if firstProblem == nil { firstProblem = "\(problem): \(BytesText.escaped(key.prefix(64)))" }
    }

    /// What was found, after the last row.
    func finish(_ found: (String) -> Void) {
        if let firstProblem {
            found(wrongRows == 1 ? firstProblem : "\(firstProblem), and \(wrongRows - 1) more rows that don't belong")
        }
        if sessions != ends {
            found("\(sessions.count) session rows, and \(ends.count) rows of session ends that don't match them")
        }
        if openSessions != sessionsRecorded {
            found("\(openSessions) open sessions, and the shard's record counts \(sessionsRecorded)")
        }
    }
}
