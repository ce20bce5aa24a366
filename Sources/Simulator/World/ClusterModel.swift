internal import Keyspace
internal import RaftLog
internal import Sharding

/// What the logs of all groups mean together, command by command, in the order in which some replica first applies them:
/// who serves each shard under which epoch, and every write of a session once, with one answer, wherever its shard is. It
/// is told what the replicas make of each entry, and objects.
struct ClusterModel {
    /// Where a shard is, by the word of the logs.
    enum Place: Equatable {
        case served(by: GroupID, epoch: UInt64)
        /// On its way to a group, under the epoch of its move; nobody serves it.
        case frozen(at: GroupID, move: ShardEpoch, to: GroupID)
    }

    let shardCount: Int
    private(set) var values: [[UInt8]: [UInt8]] = [:]
    private(set) var places: [ShardID: Place] = [:]
    /// Moves for which a source has frozen its shard.
    private var sources: [ShardEpoch: GroupID] = [:]
    /// Moves that a target has activated.
    private(set) var activated: [ShardEpoch: GroupID] = [:]
    private var rejected: Set<ShardEpoch> = []
    private var collected: Set<ShardEpoch> = []
    private var executed: [ClusterHistory.Stamp: KeyReply] = [:]

    init(shardCount: Int) { self.shardCount = shardCount }

    enum Finding {
        case nothing
        /// The write with this stamp has happened now.
        case executed(ClusterHistory.Stamp, KeyReply)
        /// An attempt after the one that was executed.
        case repeated
        /// The source has frozen a shard.
        case frozen(ShardEpoch)
        case activated(ShardEpoch, Activation)
        /// The source has removed its copy.
        case collected(ShardEpoch, by: GroupID)
        case objection(String)
    }

    mutating func apply(_ entry: Entry, _ reply: GroupReply, of gid: GroupID) -> Finding {
        guard let command = try? GroupCommand(encoded: entry.payload) else { return .nothing }
        switch (command, reply) {
        case (.write(let key, let operation, let stamp?), .key(let answered)):
            return write(key, operation, ClusterHistory.Stamp(stamp), answered, entry.index, of: gid)
        case (.adopt(let shard, _), .stepped): return adopt(shard, gid)
        case (.freeze(let shard, let target), .stepped): return freeze(shard, to: target, gid)
        case (.unfreeze(let shard), .stepped): return unfreeze(shard, gid)
        case (.activate(let shard, let activation), .stepped): return activate(shard, activation, gid)
        case (.reject(let shard), .stepped):
            rejected.insert(shard)
            return .nothing
        case (.collect(let shard), .stepped): return collect(shard, gid)
        case (.abandon(let shard), .stepped): return abandon(shard, gid)
        case (.thaw(let shard), .stepped): return thaw(shard, gid)
        default: return .nothing
        }
    }

    private mutating func write(
        _ key: [UInt8], _ operation: KeyOperation, _ write: ClusterHistory.Stamp, _ answered: KeyReply,
        _ index: LogIndex, of gid: GroupID
    ) -> Finding {
        let shard = Slot.shard(of: key, shardCount: shardCount)
        guard case .served(gid, _)? = places[shard] else {
            return .objection(
                "entry \(index) of group \(gid) takes a write of shard \(shard), which is \(describe(shard))")
        }
        if let first = executed[write] {
            guard first != answered else { return .repeated }
            return .objection("entry \(index) answers \(answered) to a write that was answered \(first)")
        }
        let (value, expected) = KeyModel.execute(operation, on: values[key])
        guard expected == answered else {
            return .objection("entry \(index) answers \(answered), where \(expected) is right")
        }
        values[key] = value
        executed[write] = answered
        return .executed(write, answered)
    }

    // MARK: - Moves

    private mutating func adopt(_ shard: ShardEpoch, _ gid: GroupID) -> Finding {
        switch places[shard.shard] {
        case nil:
            places[shard.shard] = .served(by: gid, epoch: shard.epoch)
            return .nothing
        // Again: it changes nothing.
        case .served(gid, _)?, .frozen(gid, _, _)?: return .nothing
        case .served?, .frozen?:
            if activated.contains(where: { $0.key.shard == shard.shard }) { return .nothing }
            return .objection("group \(gid) adopts \(shard), which is \(describe(shard.shard))")
        }
    }

    private mutating func freeze(_ shard: ShardEpoch, to target: GroupID, _ gid: GroupID) -> Finding {
        // Again, perhaps long after: it changes nothing.
        if sources[shard] == gid { return .nothing }
        switch places[shard.shard] {
        case .served(gid, let epoch)? where epoch < shard.epoch:
            places[shard.shard] = .frozen(at: gid, move: shard, to: target)
            sources[shard] = gid
            return .frozen(shard)
        default: return .objection("group \(gid) freezes \(shard), which is \(describe(shard.shard))")
        }
    }

    private mutating func unfreeze(_ shard: ShardEpoch, _ gid: GroupID) -> Finding {
        guard rejected.contains(shard) else {
            return .objection("group \(gid) serves \(shard) again, and nobody has rejected its move")
        }
        if case .frozen(gid, shard, _)? = places[shard.shard] {
            places[shard.shard] = .served(by: gid, epoch: shard.epoch)
        }
        return .nothing
    }

    /// By the word of the source alone: so nobody may have brought the shard home.
    private mutating func abandon(_ shard: ShardEpoch, _ gid: GroupID) -> Finding {
        guard sources[shard] == nil || rejected.contains(shard) else {
            return .objection(
                "group \(gid) ends the move of \(shard) alone, and had frozen it: its target may serve it")
        }
        rejected.insert(shard)
        return .nothing
    }

    /// By force. It is not simulated, so it comes only for what nobody has frozen.
    private mutating func thaw(_ shard: ShardEpoch, _ gid: GroupID) -> Finding {
        guard case .served(gid, let epoch)? = places[shard.shard] else {
            return .objection("group \(gid) serves \(shard) by the map's word, which is \(describe(shard.shard))")
        }
        places[shard.shard] = .served(by: gid, epoch: max(epoch, shard.epoch))
        return .nothing
    }

    private mutating func activate(_ shard: ShardEpoch, _ activation: Activation, _ gid: GroupID) -> Finding {
        // Again: it changes nothing.
        if activated[shard] == gid { return .nothing }
        guard case .frozen(_, shard, gid)? = places[shard.shard] else {
            return .objection("group \(gid) activates \(shard), which is \(describe(shard.shard))")
        }
        places[shard.shard] = .served(by: gid, epoch: shard.epoch)
        activated[shard] = gid
        return .activated(shard, activation)
    }

    private mutating func collect(_ shard: ShardEpoch, _ gid: GroupID) -> Finding {
        guard let target = activated[shard] else {
            return .objection("group \(gid) removes its copy of \(shard), which nobody has activated")
        }
        guard collected.insert(shard).inserted else { return .nothing }
        return .collected(shard, by: target)
    }

    private func describe(_ shard: ShardID) -> String {
        switch places[shard] {
        case nil: "nobody's"
        case .served(let gid, let epoch)?: "served by group \(gid) under epoch \(epoch)"
        case .frozen(let gid, let move, let target)?:
            "frozen at group \(gid) for group \(target) under epoch \(move.epoch)"
        }
    }
}
