internal import Bytes
public import Engines
public import Keyspace
internal import RaftLog
internal import Sharding

/// Which user records a tool asks for.
public struct RecordSelection: Sendable {
    public var prefix: [UInt8] = []
    public var shard: ShardID?
    public var gid: GroupID?

    public init() {}
}

/// A shard's user records, and the group that has them.
public struct UserShard {
    public let group: InspectedGroup
    public let family: InspectedGroup.ShardFamily
    /// Frozen for a move: it takes no more writes here.
    public let isFrozen: Bool
    let epoch: UInt64

    public var shard: ShardID { family.shard }

    /// Shows the records whose key begins with `prefix`, in the order of their keys, until `body` returns false.
    public func scan(
        prefix: [UInt8] = [], _ progress: ReadProgress = ReadProgress(),
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool
    ) throws(EngineError) {
        let lower = ShardRows.userKey(prefix)
        try group.scan(family.family, family.name, lower: lower, upper: successor(ofPrefix: lower), progress) {
            key, record in
            body(UnsafeRawBufferPointer(rebasing: key.dropFirst()), ShardRows.value(ofRecord: record))
        }
    }

    /// The value of a key; `nil` if the shard lacks it.
    public func get(_ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        try group.view.get(family.family, key: ShardRows.userKey(key)).map { Array($0.dropFirst()) }
    }
}

extension InspectedStore {
    /// The shards whose records are here, each once, ordered by number.
    ///
    /// In a backup that was taken during a move a shard may be here twice. The copy of the highest epoch counts, and
    /// before a frozen one, one that is served; an option that names a group gets that group's. Throws `mismatch` for
    /// a controller, which has none.
    public func userShards(_ selection: RecordSelection = RecordSelection()) throws(EngineError) -> [UserShard] {
        let groups = try groups(selection.gid)
        if !groups.isEmpty, groups.allSatisfy(\.isController) {
            throw .mismatch("\(path) is a controller's: it holds the shard map and no keys; `inspect` shows it")
        }
        var chosen: [ShardID: UserShard] = [:]
        for group in groups where !group.isController {
            let records = try group.reader.records()
            for family in try group.shardFamilies() {
                if let shard = selection.shard, shard != family.shard { continue }
                guard let record = records[family.shard] else {
                    throw .corruption(place: "\(family.name) of \(group.title) has a family and no record")
                }
                let found = UserShard(
                    group: group, family: family, isFrozen: record.state != .serving, epoch: record.epoch)
                if let other = chosen[family.shard],
                    (other.epoch, !other.isFrozen ? 1 : 0) >= (found.epoch, found.isFrozen ? 0 : 1)
                {
                    continue
                }
                chosen[family.shard] = found
            }
        }
        if let shard = selection.shard, chosen.isEmpty, let count = try shardCount(), shard.index >= count {
            throw .mismatch("there is no shard \(shard); the cluster has shards 0 to \(count - 1)")
        }
        return chosen.values.sorted { $0.shard < $1.shard }
    }

    /// The cluster's number of shards, from whichever group knows it.
    public func shardCount() throws(EngineError) -> Int? {
        for group in groups {
            if group.isController {
                if let map = try ControllerMachine.map(number: nil, layout: group.layout, in: group.view) {
                    return map.shards.count
                }
            } else if let count = try group.shardCount() {
                return count
            }
        }
        return nil
    }

    /// A key's value, and the shard that has it.
    public func get(_ key: [UInt8], _ selection: RecordSelection) throws(EngineError) -> (UserShard, [UInt8])? {
        guard let count = try shardCount() else { return nil }
        var selection = selection
        selection.shard = Slot.shard(of: key, shardCount: count)
        for shard in try userShards(selection) {
            if let value = try shard.get(key) { return (shard, value) }
        }
        return nil
    }
}
