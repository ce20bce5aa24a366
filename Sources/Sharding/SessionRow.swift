public import Bytes
public import Keyspace
public import RaftLog

/// The writes of one session in one shard that the client may still ask about.
public struct SessionRow: Sendable, Equatable {
    /// In log time; set by the first write, and brought forward when the client closes the session.
    public internal(set) var end: Milliseconds
    /// The client will not use it again. The row stays for a while, so that a write which is still on its way isn't
    /// taken for that of a new session.
    public internal(set) var isClosed = false
    /// Closed sessions are nobody's.
    static let closedOrigin = SessionOrigin.closed.rawValue
    /// Answers below this one are forgotten.
    public internal(set) var lowest: UInt64
    /// Ordered by sequence.
    public internal(set) var answers: [(sequence: UInt64, reply: KeyReply)]

    package init(end: Milliseconds) {
        self.end = end
        lowest = 0
        answers = []
    }

    public static func == (left: SessionRow, right: SessionRow) -> Bool {
        left.end == right.end && left.isClosed == right.isClosed && left.lowest == right.lowest
            && left.answers.elementsEqual(right.answers) { $0.sequence == $1.sequence && $0.reply == $1.reply }
    }

    package func answer(to sequence: UInt64) -> KeyReply? {
        // The newest are asked for most, and there are few.
        for answer in answers.reversed() {
            if answer.sequence == sequence { return answer.reply }
            if answer.sequence < sequence { return nil }
        }
        return nil
    }

    package mutating func record(_ reply: KeyReply, for sequence: UInt64) {
        let position = answers.lastIndex { $0.sequence < sequence }.map { $0 + 1 } ?? 0
        answers.insert((sequence, reply), at: position)
    }

    /// Whether one more answer finds room, however long it is: the row is written anew with each batch that touches it.
    package var hasRoom: Bool {
        // Most rows are so short that they needn't be measured.
        if answers.count < SessionLimits.answerBytesMax / KeyReply.encodedBytesMax { return true }
        return encoded.count + KeyReply.encodedBytesMax <= SessionLimits.answerBytesMax
    }

    package mutating func forget(below lowestUnanswered: UInt64) {
        guard lowestUnanswered > lowest else { return }
        lowest = lowestUnanswered
        let keep = answers.firstIndex { $0.sequence >= lowestUnanswered } ?? answers.count
        if keep > 0 { answers.removeFirst(keep) }
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 24 + answers.count * 4)
        writer.byte(isClosed ? 2 : 1)
        writer.varint(end)
        writer.varint(lowest)
        writer.varint(answers.count)
        var previous: UInt64 = 0
        for answer in answers {
            writer.varint(answer.sequence - previous)
            previous = answer.sequence
            answer.reply.encode(to: &writer)
        }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "session row")
        let version = try reader.byte()
        guard version == 1 || version == 2 else { throw CodingError("session row (unknown version)") }
        isClosed = version == 2
        end = try reader.varint()
        lowest = try reader.varint()
        answers = []
        var sequence: UInt64 = 0
        for _ in 0..<(try reader.count()) {
            sequence &+= try reader.varint()
            answers.append((sequence, try KeyReply(from: &reader)))
        }
        try reader.finish()
    }
}

/// Limits of sessions, per shard.
public enum SessionLimits {
    /// At this number of open ones new sessions get "busy"; live ones are never evicted.
    public static let sessionsMax = 16_384
    /// Open sessions of one client address.
    public static let sessionsOfOriginMax = 4_096
    /// Sessions with rows, the closed ones among them.
    public static let rowsMax = 65_536
    /// A session that its client has closed is remembered for so long, or to its end.
    public static let closedLifetime: Milliseconds = 300_000
    /// Bytes of a session's row in one shard: 4,000 answers of puts whose client has not said that it has them, fewer of
    /// appends. With `sessionsMax` it bounds what the sessions of a shard take: 128 MiB.
    public static let answerBytesMax = 8_192
    /// A session's end may lie this far ahead of log time.
    public static let lifetimeMax: Milliseconds = 25 * 3600 * 1000
    /// Sessions evicted by one command, so that none takes long.
    static let evictionsMax = 64
    /// Session rows kept decoded in memory.
    static let cacheMax = 4_096
}
