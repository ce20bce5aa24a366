public import Bytes
public import Keyspace
public import RaftLog

/// The writes of one session in one shard that the client may still ask about.
public struct SessionRow: Sendable, Equatable {
    /// In log time; set by the first write and never changed.
    public internal(set) var end: Milliseconds
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
        left.end == right.end && left.lowest == right.lowest
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

    package mutating func forget(below lowestUnanswered: UInt64) {
        guard lowestUnanswered > lowest else { return }
        lowest = lowestUnanswered
        let keep = answers.firstIndex { $0.sequence >= lowestUnanswered } ?? answers.count
        if keep > 0 { answers.removeFirst(keep) }
    }

    package var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 24 + answers.count * 4)
        writer.byte(1)
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
        guard try reader.byte() == 1 else { throw CodingError("session row (unknown version)") }
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
    /// At this number new sessions get "busy"; live ones are never evicted.
    public static let sessionsMax = 16_384
    /// Answers kept for one session in one shard.
    public static let answersMax = 4_096
    /// A session's end may lie this far ahead of log time.
    public static let lifetimeMax: Milliseconds = 25 * 3600 * 1000
    /// Sessions evicted by one command, so that none takes long.
    static let evictionsMax = 64
    /// Session rows kept decoded in memory.
    static let cacheMax = 4_096
}
