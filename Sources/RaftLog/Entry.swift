public import Bytes

/// One command in the replicated log.
public struct Entry: Sendable, Equatable {
    public enum Kind: UInt8, Sendable {
        /// A command of the state machine.
        case command = 0
        /// The entry with which a leader opens its term (section 5.4.2 of the paper: only entries of
        /// the current term are committed by counting).
        case opening = 1
        /// A change of the membership.
        case membership = 2
    }

    public var index: LogIndex
    public var term: Term
    public var kind: Kind
    /// The leader's clock when it proposed the entry, in Unix milliseconds. Log time is the largest so far.
    public var stamp: Milliseconds
    public var payload: [UInt8]

    public init(index: LogIndex, term: Term, kind: Kind, stamp: Milliseconds, payload: [UInt8]) {
        self.index = index
        self.term = term
        self.kind = kind
        self.stamp = stamp
        self.payload = payload
    }

    /// What the entry counts for in queues, messages and retention.
    public var size: Int { payload.count + 32 }

    public func encode(to writer: inout ByteWriter) {
        writer.varint(index)
        writer.varint(term)
        writer.byte(kind.rawValue)
        writer.varint(stamp)
        writer.blob(payload)
    }

    public init(from reader: inout ByteReader) throws(CodingError) {
        index = try reader.varint()
        term = try reader.varint()
        guard let kind = Kind(rawValue: try reader.byte()) else { throw CodingError("entry kind") }
        self.kind = kind
        stamp = try reader.varint()
        payload = try reader.blob()
    }
}

/// What must be on disk before a promise: the term, and whom this replica voted for in it.
public struct HardState: Sendable, Equatable {
    public var term: Term
    public var vote: ReplicaID?

    public init(term: Term = 0, vote: ReplicaID? = nil) {
        self.term = term
        self.vote = vote
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.varint(term)
        writer.optional(vote) { $0.varint($1.rawValue) }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "hard state")
        term = try reader.varint()
        vote = try reader.optional { (reader) throws(CodingError) in ReplicaID(try reader.varint()) }
        try reader.finish()
    }
}

/// A position: an index and the term of the entry there.
public struct LogPosition: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var index: LogIndex
    public var term: Term

    public init(index: LogIndex, term: Term) {
        self.index = index
        self.term = term
    }

    public static let zero = LogPosition(index: 0, term: 0)

    /// Section 5.4.1: the later term wins, then the longer log.
    public static func < (left: LogPosition, right: LogPosition) -> Bool {
        (left.term, left.index) < (right.term, right.index)
    }

    public var description: String { "\(index)@\(term)" }
}
