/// A write to one key.
public enum KeyOperation: Sendable, Equatable {
    case put(value: [UInt8])
    case append(value: [UInt8])
    case delete
    /// `expected` nil: only if the key is absent. `value` nil: delete.
    case compareAndSet(expected: [UInt8]?, value: [UInt8]?)

    /// It needs more room than it frees.
    public var addsData: Bool {
        switch self {
        case .put, .append, .compareAndSet(_, _?): true
        case .delete, .compareAndSet(_, nil): false
        }
    }

    /// The longest value that it names: what a limit is held against.
    public var longestValue: [UInt8] {
        switch self {
        case .put(let value), .append(let value): value
        case .delete: []
        case .compareAndSet(let expected, let value):
            (expected?.count ?? 0) > (value?.count ?? 0) ? expected ?? [] : value ?? []
        }
    }
}

/// What a write answers.
public enum KeyReply: Sendable, Equatable {
    case put
    /// Bytes of the value afterwards.
    case appended(length: Int)
    case deleted(existed: Bool)
    case compared(succeeded: Bool)
}

/// Whose write it is, so that a retry executes once.
public struct SessionStamp: Sendable, Equatable {
    /// Bytes of a token.
    public static let tokenBytes = 16

    /// 16 random bytes.
    public var token: [UInt8]
    /// The session's end, in milliseconds of log time (Unix epoch).
    public var end: UInt64
    /// The number of this write in the session, from 1.
    public var sequence: UInt64
    /// Answers below this one are no longer needed.
    public var lowestUnanswered: UInt64
    /// Whose session it is, as the server's door sees it: a hash of the client's address. 0: nobody's in particular.
    public var origin: UInt32

    public init(token: [UInt8], end: UInt64, sequence: UInt64, lowestUnanswered: UInt64, origin: UInt32 = 0) {
        self.origin = origin
        self.token = token
        self.end = end
        self.sequence = sequence
        self.lowestUnanswered = lowestUnanswered
    }
}
