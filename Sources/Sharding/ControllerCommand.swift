public import Bytes
public import Keyspace
public import RaftLog

/// What the controller's log carries.
public enum ControllerCommand: Sendable, Equatable {
    /// By the first leader, once.
    case initialize(shardCount: Int, clusterID: [UInt8])
    case join([GroupID: [String]])
    case leave([GroupID])
    case move(shard: ShardID, to: GroupID)
    case report(shard: ShardID, epoch: UInt64, event: MoveEvent)
    /// A group says who it is (empty: it doesn't), and where clients find it as of this index of its log.
    case relocate(GroupID, [String], membershipIndex: UInt64, identity: [UInt8] = [])
    /// The shard's move is to end without arriving. By force: whatever its target has made of it.
    case abort(shard: ShardID, isForced: Bool)
    /// A group's disks are all lost, and an operator has given up what was on them.
    case giveUp(GroupID)
    /// Moves are to wait for so many milliseconds.
    case hold(id: [UInt8], holder: String, lasts: Milliseconds)
    case prolong(id: [UInt8], lasts: Milliseconds)
    case release(id: [UInt8])
    /// Lets log time pass, so that a hold whose holder is gone ends.
    case passTime

    /// What a group says of a move.
    public enum MoveEvent: UInt8, Sendable {
        case activated = 1
        case rejected = 2
        /// The source is done: collected after an activation, or serving again after a rejection.
        case collected = 3
    }

    /// The command with the id under which a retry is recognised.
    public func encoded(requestID: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.blob(requestID)
        switch self {
        case .initialize(let shardCount, let clusterID):
            writer.byte(1)
            writer.varint(shardCount)
            writer.blob(clusterID)
        case .join(let groups):
            writer.byte(2)
            writer.varint(groups.count)
            for (gid, addresses) in groups.sorted(by: { $0.key < $1.key }) {
                writer.varint(gid.rawValue)
                writer.varint(addresses.count)
                for address in addresses { writer.string(address) }
            }
        case .leave(let gids):
            writer.byte(3)
            writer.varint(gids.count)
            for gid in gids { writer.varint(gid.rawValue) }
        case .move(let shard, let gid):
            writer.byte(4)
            writer.varint(shard.index)
            writer.varint(gid.rawValue)
        case .report(let shard, let epoch, let event):
            writer.byte(5)
            writer.varint(shard.index)
            writer.varint(epoch)
            writer.byte(event.rawValue)
        case .relocate(let gid, let addresses, let index, let identity):
            writer.byte(identity.isEmpty ? 6 : 11)
            writer.varint(gid.rawValue)
            writer.varint(index)
            writer.varint(addresses.count)
            for address in addresses { writer.string(address) }
            if !identity.isEmpty { writer.blob(identity) }
        case .giveUp(let gid):
            writer.byte(12)
            writer.varint(gid.rawValue)
        case .abort(let shard, let isForced):
            writer.byte(13)
            writer.varint(shard.index)
            writer.byte(isForced ? 1 : 0)
        case .hold(let id, let holder, let lasts):
            writer.byte(7)
            writer.blob(id)
            writer.string(holder)
            writer.varint(lasts)
        case .prolong(let id, let lasts):
            writer.byte(8)
            writer.blob(id)
            writer.varint(lasts)
        case .release(let id):
            writer.byte(9)
            writer.blob(id)
        case .passTime: writer.byte(10)
        }
        return writer.bytes
    }

    /// Reads what `encoded` writes.
    public static func decode(_ bytes: [UInt8]) throws(CodingError) -> (requestID: [UInt8], command: ControllerCommand)
    {
        var reader = ByteReader(bytes, place: "controller command")
        let requestID = try reader.blob()
        let command: ControllerCommand
        let tag = try reader.byte()
        switch tag {
        case 1: command = .initialize(shardCount: Int(clamping: try reader.varint()), clusterID: try reader.blob())
        case 2:
            var groups: [GroupID: [String]] = [:]
            for _ in 0..<(try reader.count()) {
                let gid = GroupID(try reader.varint())
                var addresses: [String] = []
                for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
                groups[gid] = addresses
            }
            command = .join(groups)
        case 3:
            var gids: [GroupID] = []
            for _ in 0..<(try reader.count()) { gids.append(GroupID(try reader.varint())) }
            command = .leave(gids)
        case 4: command = .move(shard: ShardID(clamping: try reader.varint()), to: GroupID(try reader.varint()))
        case 5:
            let (shard, epoch) = (ShardID(clamping: try reader.varint()), try reader.varint())
            guard let event = MoveEvent(rawValue: try reader.byte()) else { throw CodingError("controller command") }
            command = .report(shard: shard, epoch: epoch, event: event)
        case 6, 11:
            let (gid, index) = (GroupID(try reader.varint()), try reader.varint())
            var addresses: [String] = []
            for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
            command = .relocate(
                gid, addresses, membershipIndex: index, identity: tag == 11 ? try reader.blob() : [])
        case 7:
            let (id, holder) = (try reader.blob(), try reader.string())
            command = .hold(id: id, holder: holder, lasts: try reader.varint())
        case 8: command = .prolong(id: try reader.blob(), lasts: try reader.varint())
        case 9: command = .release(id: try reader.blob())
        case 10: command = .passTime
        case 12: command = .giveUp(GroupID(try reader.varint()))
        case 13: command = .abort(shard: ShardID(clamping: try reader.varint()), isForced: try reader.byte() == 1)
        default: throw CodingError("controller command")
        }
        try reader.finish()
        return (requestID, command)
    }
}
