/// A group's number: the controller's is 0, shard groups' are chosen by whoever joins them.
public struct GroupID: RawRepresentable, Hashable, Comparable, Codable, Sendable, CustomStringConvertible,
    ExpressibleByIntegerLiteral
{
    public let rawValue: UInt64

    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    public init(integerLiteral value: UInt64) { rawValue = value }

    /// Owns the shard map.
    public static let controller: GroupID = 0
    /// Where a row of the shard map names no group: the same number, since the controller never serves a shard.
    public static let none: GroupID = 0
    package static let max = GroupID(UInt64.max)

    public static func < (left: GroupID, right: GroupID) -> Bool { left.rawValue < right.rawValue }
    public var description: String { String(rawValue) }
}

/// A shard's number, 0..<shardCount: a contiguous run of hash slots (`Slot`).
///
/// A number from outside may name no shard of the cluster; whoever looks into a map with it asks `ShardMap.row(_:)`.
public struct ShardID: RawRepresentable, Hashable, Comparable, Codable, Sendable, CustomStringConvertible,
    ExpressibleByIntegerLiteral
{
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    public init(integerLiteral value: UInt32) { rawValue = value }

    /// What is no shard's number stays none: it becomes one that every map refuses.
    public init(clamping number: some BinaryInteger) { rawValue = UInt32(exactly: number) ?? UInt32.max }

    /// No cluster has so many.
    package static let max = ShardID(UInt32.max)

    /// The place of its row in a map.
    public var index: Int { Int(rawValue) }

    public static func < (left: ShardID, right: ShardID) -> Bool { left.rawValue < right.rawValue }
    public var description: String { String(rawValue) }
}

/// A shard under an epoch: the key of every step of a move. Every move of a shard has a higher epoch than the last.
public struct ShardEpoch: Sendable, Hashable, CustomStringConvertible {
    public var shard: ShardID
    public var epoch: UInt64

    public init(shard: ShardID, epoch: UInt64) {
        self.shard = shard
        self.epoch = epoch
    }

    public var description: String { "shard \(shard) under epoch \(epoch)" }
}

/// Who is meant by a question to a group. Addresses are used again, and maps are old: a node of another cluster, of
/// another group, or of a group that was founded anew under the same number refuses.
public struct Party: Sendable, Equatable {
    public var clusterID: [UInt8]
    public var gid: GroupID
    /// Who founded it (`ShardMap.Group.identity`); empty if the asker doesn't know.
    public var identity: [UInt8]

    public init(clusterID: [UInt8], gid: GroupID, identity: [UInt8]) {
        self.clusterID = clusterID
        self.gid = gid
        self.identity = identity
    }
}
