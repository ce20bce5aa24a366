/// A page of the sessions that one shard remembers, in the order of their ends.
public struct KvSessionQuestion: Sendable, Equatable {
    public var shard: ShardID
    /// After this one, a page's last; `nil`: from the first on.
    public var after: KvSession?
    /// Sessions at most; 0: the server's choice.
    public var limit: Int

    public init(shard: ShardID, after: KvSession? = nil, limit: Int = 0) {
        self.shard = shard
        self.after = after
        self.limit = limit
    }
}

/// A session that a shard remembers: repeated writes of it are executed once.
public struct KvSession: Sendable, Equatable {
    /// 16 bytes.
    public var token: [UInt8]
    /// In milliseconds of the shard's time.
    public var end: UInt64
    public var origin: SessionOrigin
    /// Its client has closed it; it is remembered for writes that are still on their way.
    public var isClosed: Bool

    public init(token: [UInt8], end: UInt64, origin: SessionOrigin = .unknown, isClosed: Bool = false) {
        self.token = token
        self.end = end
        self.origin = origin
        self.isClosed = isClosed
    }
}

/// Whose a session is: the number of a client's address, by which its sessions are counted. Different addresses may share
/// one.
public struct SessionOrigin: Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32

    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// Nobody in particular.
    public static let unknown = SessionOrigin(0)
    /// Of those that are closed, which are nobody's.
    public static let closed = SessionOrigin(.max)

    /// - Parameter host: an address without its port, as numbers.
    public init(host: some StringProtocol) {
        // FNV-1a.
        let hash = host.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        self.init(min(max(1, hash), Self.closed.rawValue - 1))
    }

    /// Eight hexadecimal digits.
    public var description: String {
        let digits = String(rawValue, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
