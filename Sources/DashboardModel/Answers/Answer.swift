public import Keyspace

/// What the dashboard answers: the objects of docs/dashboard.md, field by field. Whoever encodes them sorts the keys,
/// so that the same state gives the same bytes.
public enum Answer {}

/// A field that may be unknown: `null`, rather than absent.
@propertyWrapper
public struct OrNull<Value: Encodable & Sendable>: Encodable, Sendable {
    public var wrappedValue: Value?

    public init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}

extension OrNull: Equatable where Value: Equatable {}

/// What the compiler writes for a struct calls these rather than `OrNull.encode(to:)`, which makes a container for each
/// field. A large cluster has tens of thousands.
extension KeyedEncodingContainer {
    mutating func encode<Value>(_ field: OrNull<Value>, forKey key: Key) throws {
        if let value = field.wrappedValue { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
    }

    mutating func encode(_ field: OrNull<String>, forKey key: Key) throws {
        if let value = field.wrappedValue { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
    }

    mutating func encode(_ field: OrNull<UInt64>, forKey key: Key) throws {
        if let value = field.wrappedValue { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
    }

    mutating func encode(_ field: OrNull<Double>, forKey key: Key) throws {
        if let value = field.wrappedValue { try encode(value, forKey: key) } else { try encodeNil(forKey: key) }
    }
}

extension Answer {
    /// `GET /api/dashboard`, and each update of `GET /api/stream`.
    public struct Dashboard: Encodable, Sendable, Equatable {
        public var topology: Topology
        public var metrics: Metrics
        public var shards: [Shard]
        public var moves: Moves
        /// The newest 100.
        public var events: [Event]
        public var status: Status
    }

    public struct Status: Encodable, Sendable, Equatable {
        /// How many observations there have been.
        public var sequence: UInt64
        public var version: String
        public var allowActions: Bool
        public var updateIntervalMs: UInt64
        @OrNull public var collectedAt: String?
        @OrNull public var clusterId: String?
        public var controller: Controller
        public var missing: [Missing]
    }

    /// Whether the shard map is the present one.
    public struct Controller: Encodable, Sendable, Equatable {
        public var reachable: Bool
        @OrNull public var error: String?
        @OrNull public var since: String?
    }

    /// A node that doesn't answer.
    public struct Missing: Encodable, Sendable, Equatable {
        public var groupId: GroupID
        public var nodeId: UInt64
        public var address: String
        public var error: String
        public var since: String
    }

    /// `GET /api/events`.
    public struct Events: Encodable, Sendable, Equatable {
        public var events: [Event]

        public init(events: [Event]) { self.events = events }
    }

    public struct Event: Encodable, Sendable, Equatable {
        public enum Kind: String, Encodable, Sendable {
            case leader, condition, config, move, space
            case nodeLost = "node-lost"
            case nodeFound = "node-found"
            case nodeRestarted = "node-restarted"
            case controllerLost = "controller-lost"
            case controllerFound = "controller-found"
        }

        public enum Severity: String, Encodable, Sendable { case info, warning, error }

        public var id: UInt64
        public var at: String
        public var kind: Kind
        public var severity: Severity
        @OrNull public var groupId: GroupID?
        @OrNull public var nodeId: UInt64?
        @OrNull public var shardId: ShardID?
        public var text: String
    }

    /// `GET /api/history`.
    public struct History: Encodable, Sendable, Equatable {
        public var intervalMs: UInt64
        /// Unix milliseconds, growing.
        public var times: [UInt64]
        public var series: [String: [Double?]]
    }
}
