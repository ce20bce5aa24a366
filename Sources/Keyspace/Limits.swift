/// The limits of keys and values, equal on every engine.
public enum Limits {
    /// An LMDB key has at most 511 bytes; 31 of them are kept for prefixes of ours.
    public static let keyBytesMax = 480
    /// Above this a put is refused, so that one value can't fill a log, a message or a batch.
    public static let valueBytesMax = 8 << 20
    /// Of one request: a compare-and-set of the largest value with the largest value, and room for what goes with it.
    public static let requestBytesMax = 2 * valueBytesMax + (1 << 20)
    /// What Redis Cluster's specification fixes.
    public static let slotCount = 16384
    public static let shardCountMax = 1024
    /// Of the id under which a controller recognises a request that comes again.
    public static let requestIDBytesMax = 64
    /// Of a cluster's identity; one that is founded has 16.
    public static let clusterIDBytesMax = 64
    /// More groups than shards would have nothing to serve.
    public static let groupsMax = 1024
    /// Nodes of a group that the shard map names.
    public static let groupAddressesMax = 32
    /// Of HOST:PORT: a name of 253 bytes, a colon, a port.
    public static let addressBytesMax = 259
}

/// Why a key or value was refused; the sentence names the thing and the remedy.
public enum KeyspaceError: Error, Equatable, Sendable, CustomStringConvertible {
    case emptyKey
    case keyTooLarge(bytes: Int)
    case valueTooLarge(bytes: Int)

    public var description: String {
        switch self {
        case .emptyKey: "the key is empty; a key has 1 to \(Limits.keyBytesMax) bytes"
        case .keyTooLarge(let bytes): "the key has \(bytes) bytes; a key has 1 to \(Limits.keyBytesMax) bytes"
        case .valueTooLarge(let bytes):
            "the value has \(bytes) bytes; a value has at most \(Limits.valueBytesMax) bytes"
        }
    }
}

extension Limits {
    public static func check(key: some Collection<UInt8>) throws(KeyspaceError) {
        if key.isEmpty { throw .emptyKey }
        if key.count > keyBytesMax { throw .keyTooLarge(bytes: key.count) }
    }

    public static func check(value: some Collection<UInt8>) throws(KeyspaceError) {
        if value.count > valueBytesMax { throw .valueTooLarge(bytes: value.count) }
    }
}
