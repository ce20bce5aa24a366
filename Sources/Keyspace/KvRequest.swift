/// What a client asks of a group, whatever protocol brought it (docs/storage-and-rpc.md).
public struct KvRequest: Sendable, Equatable {
    public enum Operation: Sendable, Equatable {
        case get(key: [UInt8])
        case scan(KvScan)
        /// - Parameter stamp: `nil`: a retry executes again.
        case write(key: [UInt8], KeyOperation, SessionStamp?)
        /// The client will not use the session again in this shard. The answer is that of a put.
        case closeSession(ShardID, token: [UInt8])
        case listSessions(KvSessionQuestion)
    }

    /// Chosen by the client, unique among its unanswered requests; the answer carries it.
    public var id: UInt64
    /// The number of the shard map by which the client chose the group; 0: none.
    public var config: UInt64
    /// The cluster that is meant (`ShardMap.mark(ofCluster:)`): whoever listens at the address may be of another one by now.
    /// 0: the client doesn't say.
    public var cluster: UInt64
    public var operation: Operation

    public init(id: UInt64, config: UInt64 = 0, cluster: UInt64 = 0, _ operation: Operation) {
        self.id = id
        self.config = config
        self.cluster = cluster
        self.operation = operation
    }

    /// Bytes of keys and values in it, and something for what goes with them: what queues are bounded by.
    public var payloadBytes: Int {
        switch operation {
        case .get(let key): key.count + Self.frameBytes
        case .closeSession(_, let token): token.count + Self.frameBytes
        case .listSessions: SessionStamp.tokenBytes + Self.frameBytes
        case .scan(let scan): scan.start.count + scan.end.count + Self.frameBytes
        case .write(let key, let operation, _):
            switch operation {
            case .put(let value), .append(let value): key.count + value.count + Self.frameBytes
            case .delete: key.count + Self.frameBytes
            case .compareAndSet(let expected, let value):
                key.count + (expected?.count ?? 0) + (value?.count ?? 0) + Self.frameBytes
            }
        }
    }

    private static let frameBytes = 64
}

/// A page of one shard's pairs, in the order of their keys.
public struct KvScan: Sendable, Equatable {
    public var shard: ShardID
    /// The first key, or the first after it.
    public var start: [UInt8]
    /// Exclusive; empty: the end of the shard.
    public var end: [UInt8]
    /// Pairs at most; 0: the server's choice.
    public var limit: Int
    public var keysOnly: Bool

    public init(shard: ShardID, start: [UInt8] = [], end: [UInt8] = [], limit: Int = 0, keysOnly: Bool = false) {
        self.shard = shard
        self.start = start
        self.end = end
        self.limit = limit
        self.keysOnly = keysOnly
    }
}

/// A key with its value; a keys-only scan leaves the value empty.
public struct KvPair: Sendable, Equatable {
    public var key: [UInt8]
    public var value: [UInt8]

    public init(key: [UInt8], value: [UInt8]) {
        self.key = key
        self.value = value
    }
}

/// What came of a request.
public struct KvResponse: Sendable, Equatable {
    public enum Result: Sendable, Equatable {
        /// `nil`: the key is absent.
        case value([UInt8]?)
        case page(pairs: [KvPair], more: Bool)
        /// - Parameter logTime: the shard's time, which the ends are of.
        case sessions([KvSession], more: Bool, logTime: UInt64)
        case written(KeyReply)
        case failed(KvError)
    }

    /// The request's.
    public var id: UInt64
    public var result: Result

    public init(id: UInt64, _ result: Result) {
        self.id = id
        self.result = result
    }

    public init(id: UInt64, _ error: KvError) { self.init(id: id, .failed(error)) }

    /// As `KvRequest.payloadBytes`.
    public var payloadBytes: Int {
        switch result {
        case .value(let value): (value?.count ?? 0) + Self.frameBytes
        case .page(let pairs, _): pairs.reduce(Self.frameBytes) { $0 + $1.key.count + $1.value.count + 8 }
        case .sessions(let sessions, _, _): sessions.count * Self.frameBytes
        case .written: Self.frameBytes
        case .failed(let error): error.message.utf8.count + Self.frameBytes
        }
    }

    private static let frameBytes = 32
}
