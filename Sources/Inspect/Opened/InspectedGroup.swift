public import Engines
public import Keyspace
public import RaftLog
public import Sharding

/// One Raft group of an opened store, read in the same way wherever it lies.
public struct InspectedGroup {
    /// "controller" or "group", as in `DirectoryIdentity`.
    public let role: String
    public let layout: GroupLayout
    public let view: any ReadView
    /// A node's directory has the log, the vote and staged shards; an archive has none of them.
    public let hasLog: Bool
    /// The replica that it is of; `nil` if the directory doesn't say.
    public let nodeId: UInt64?
    public let engine: EngineKind?

    public var gid: GroupID { GroupID(layout.gid) }
    public var isController: Bool { role == "controller" }
    /// "controller" or "group 7".
    public var title: String { isController ? role : "group \(gid)" }
    public var reader: GroupReader { GroupReader(layout, in: view) }

    /// Everything of the group but its log and its families' contents.
    public func rows() throws(EngineError) -> GroupStorageRows { try GroupStorageRows.load(layout, in: view) }

    /// The cluster id by the record with which the group began, in hexadecimal digits; `nil` without a record.
    func foundedCluster() throws(EngineError) -> String? {
        guard let record = try layout.bootstrapRecord(in: view) else { return nil }
        let id = isController ? record.hash : record.clusterID
        return id.isEmpty ? nil : BytesText.hex(id)
    }

    /// The cluster's number of shards; `nil` until the group has heard of its first.
    public func shardCount() throws(EngineError) -> Int? {
        guard let count = try reader.shardCount() else { return nil }
        guard (1...Limits.shardCountMax).contains(count) else {
            throw .corruption(place: "\(title) counts \(count) shards")
        }
        return count
    }

    /// A shard whose rows are here, and where.
    public struct ShardFamily {
        public var shard: ShardID
        public var name: String
        public var family: FamilyID
    }

    /// Families of shards that the group serves or has frozen, ordered by shard.
    public func shardFamilies() throws(EngineError) -> [ShardFamily] {
        try rows().families.compactMap { name, family in
            ShardRecord.shard(ofFamily: name).map { ShardFamily(shard: $0, name: name, family: family) }
        }.sorted { $0.shard < $1.shard }
    }

    /// A family in words: where it lies, and what the group calls it.
    func place(of family: FamilyID, _ name: String) -> String {
        // An archive's numbers are made up by its view; its directories are what a user finds.
        hasLog ? "\(family) (\(name) of \(title))" : "\(name) of \(title)"
    }
}
