public import Bytes

/// What replicas of a group say to each other.
public struct Message: Sendable, Equatable {
    public enum Body: Sendable, Equatable {
        /// `force`: by order of a leader that hands over, so leases don't hold it back.
        case requestVote(last: LogPosition, isPreVote: Bool, force: Bool)
        case vote(granted: Bool, isPreVote: Bool)
        case append(previous: LogPosition, entries: [Entry], commit: LogIndex)
        /// `match`: the log agrees with the leader's up to here and is on disk.
        case appended(match: LogIndex)
        /// The entry before the append is missing or different. `hint`: the newest position of the
        /// follower's log that may agree, so that a whole term is skipped per round (section 5.3).
        case appendRejected(previous: LogIndex, hint: LogPosition)
        /// `round`: the newest read round that the sender wants confirmed.
        case heartbeat(commit: LogIndex, round: UInt64)
        case heartbeatReply(round: UInt64)
        /// Campaign at once: the leader hands over.
        case timeoutNow
    }

    public var from: ReplicaID
    public var to: ReplicaID
    /// The lives of both ends, set and checked by the driver.
    public var fromIncarnation: Incarnation
    public var toIncarnation: Incarnation
    /// The sender's term; of a pre-vote the term that the sender would start.
    public var term: Term
    /// In answers: what the sender's clock shows, in Unix milliseconds; 0: it doesn't say. Set by the driver.
    public var clock: Milliseconds = 0
    public var body: Body

    public init(
        from: ReplicaID, to: ReplicaID, fromIncarnation: Incarnation = Incarnation(high: 0, low: 0),
        toIncarnation: Incarnation = Incarnation(high: 0, low: 0), term: Term, body: Body
    ) {
        self.from = from
        self.to = to
        self.fromIncarnation = fromIncarnation
        self.toIncarnation = toIncarnation
        self.term = term
        self.body = body
    }

    /// What it takes in queues and on the wire, about.
    package var approximateBytes: Int {
        if case .append(_, let entries, _) = body { return entries.reduce(96) { $0 + $1.size } }
        return 96
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 64)
        writer.byte(clock > 0 ? 2 : 1)
        writer.varint(from.rawValue)
        writer.varint(to.rawValue)
        writer.bytes += fromIncarnation.bytes
        writer.bytes += toIncarnation.bytes
        writer.varint(term)
        if clock > 0 { writer.varint(clock) }
        switch body {
        case .requestVote(let last, let isPreVote, let force):
            writer.byte(1)
            writer.varint(last.index)
            writer.varint(last.term)
            writer.byte((isPreVote ? 1 : 0) | (force ? 2 : 0))
        case .vote(let granted, let isPreVote):
            writer.byte(2)
            writer.byte((granted ? 1 : 0) | (isPreVote ? 2 : 0))
        case .append(let previous, let entries, let commit):
            writer.bytes.reserveCapacity(entries.reduce(96) { $0 + $1.size + 8 })
            writer.byte(3)
            writer.varint(previous.index)
            writer.varint(previous.term)
            writer.varint(commit)
            writer.varint(entries.count)
            for entry in entries { entry.encode(to: &writer) }
        case .appended(let match):
            writer.byte(4)
            writer.varint(match)
        case .appendRejected(let previous, let hint):
            writer.byte(5)
            writer.varint(previous)
            writer.varint(hint.index)
            writer.varint(hint.term)
        case .heartbeat(let commit, let round):
            writer.byte(6)
            writer.varint(commit)
            writer.varint(round)
        case .heartbeatReply(let round):
            writer.byte(7)
            writer.varint(round)
        case .timeoutNow:
            writer.byte(8)
        }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "Raft message")
        let version = try reader.byte()
        guard version == 1 || version == 2 else { throw CodingError("Raft message (unknown version)") }
        from = ReplicaID(try reader.varint())
        to = ReplicaID(try reader.varint())
        fromIncarnation = try Incarnation(from: &reader)
        toIncarnation = try Incarnation(from: &reader)
        term = try reader.varint()
        if version == 2 { clock = try reader.varint() }
        switch try reader.byte() {
        case 1:
            let last = LogPosition(index: try reader.varint(), term: try reader.varint())
            let flags = try reader.byte()
            body = .requestVote(last: last, isPreVote: flags & 1 != 0, force: flags & 2 != 0)
        case 2:
            let flags = try reader.byte()
            body = .vote(granted: flags & 1 != 0, isPreVote: flags & 2 != 0)
        case 3:
            let previous = LogPosition(index: try reader.varint(), term: try reader.varint())
            let commit = try reader.varint()
            var entries: [Entry] = []
            for _ in 0..<(try reader.count()) { entries.append(try Entry(from: &reader)) }
            body = .append(previous: previous, entries: entries, commit: commit)
        case 4: body = .appended(match: try reader.varint())
        case 5:
            let previous = try reader.varint()
            body = .appendRejected(
                previous: previous, hint: LogPosition(index: try reader.varint(), term: try reader.varint()))
        case 6: body = .heartbeat(commit: try reader.varint(), round: try reader.varint())
        case 7: body = .heartbeatReply(round: try reader.varint())
        case 8: body = .timeoutNow
        default: throw CodingError("Raft message (unknown kind)")
        }
        try reader.finish()
    }
}
