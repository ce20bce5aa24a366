public import Engines
internal import Keyspace
public import RaftLog

/// What the controller's log carries.
public enum ControllerCommand: Sendable, Equatable {
    /// By the first leader, once.
    case initialize(shardCount: Int, clusterID: [UInt8])
    case join([UInt64: [String]])
    case leave([UInt64])
    case move(shard: Int, to: UInt64)
    case report(shard: Int, epoch: UInt64, event: MoveEvent)
    /// A group's members have changed, at this index of its log, and with them where clients find it.
    case relocate(UInt64, [String], membershipIndex: UInt64)
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
                writer.varint(gid)
                writer.varint(addresses.count)
                for address in addresses { writer.string(address) }
            }
        case .leave(let gids):
            writer.byte(3)
            writer.varint(gids.count)
            for gid in gids { writer.varint(gid) }
        case .move(let shard, let gid):
            writer.byte(4)
            writer.varint(shard)
            writer.varint(gid)
        case .report(let shard, let epoch, let event):
            writer.byte(5)
            writer.varint(shard)
            writer.varint(epoch)
            writer.byte(event.rawValue)
        case .relocate(let gid, let addresses, let index):
            writer.byte(6)
            writer.varint(gid)
            writer.varint(index)
            writer.varint(addresses.count)
            for address in addresses { writer.string(address) }
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
        switch try reader.byte() {
        case 1: command = .initialize(shardCount: Int(clamping: try reader.varint()), clusterID: try reader.blob())
        case 2:
            var groups: [UInt64: [String]] = [:]
            for _ in 0..<(try reader.count()) {
                let gid = try reader.varint()
                var addresses: [String] = []
                for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
                groups[gid] = addresses
            }
            command = .join(groups)
        case 3:
            var gids: [UInt64] = []
            for _ in 0..<(try reader.count()) { gids.append(try reader.varint()) }
            command = .leave(gids)
        case 4: command = .move(shard: Int(clamping: try reader.varint()), to: try reader.varint())
        case 5:
            let (shard, epoch) = (Int(clamping: try reader.varint()), try reader.varint())
            guard let event = MoveEvent(rawValue: try reader.byte()) else { throw CodingError("controller command") }
            command = .report(shard: shard, epoch: epoch, event: event)
        case 6:
            let (gid, index) = (try reader.varint(), try reader.varint())
            var addresses: [String] = []
            for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
            command = .relocate(gid, addresses, membershipIndex: index)
        case 7:
            let (id, holder) = (try reader.blob(), try reader.string())
            command = .hold(id: id, holder: holder, lasts: try reader.varint())
        case 8: command = .prolong(id: try reader.blob(), lasts: try reader.varint())
        case 9: command = .release(id: try reader.blob())
        case 10: command = .passTime
        default: throw CodingError("controller command")
        }
        try reader.finish()
        return (requestID, command)
    }
}

/// Why the controller changed nothing. The sentence names the thing and the remedy.
public struct ControllerRefusal: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: UInt8, Sendable {
        case invalid = 1
        case notFound = 2
        case precondition = 3
        case busy = 4
    }

    public var kind: Kind
    public var description: String

    init(_ kind: Kind, _ sentence: String) {
        self.kind = kind
        description = sentence
    }
}

/// The controller: the owner of the shard map.
///
/// Every version of the map is kept (family "configs", by number), so that any can be asked for. The answers
/// of the last requests are kept by request id; a retry gets the first answer and changes nothing.
public struct ControllerMachine: StateMachine {
    public enum Reply: Sendable, Equatable {
        case map(ShardMap)
        case refused(ControllerRefusal)
    }

    /// Every version of the map, by number.
    public static let configsFamily = "configs"
    static let currentKey = Array("current".utf8)
    static let requestPrefix = Array("request/".utf8)
    static let requestOrderPrefix = Array("order/".utf8)
    /// Requests whose answers are kept.
    static let requestsKept: UInt64 = 1024

    /// The newest map; `nil` until the first leader has initialised it.
    public private(set) var map: ShardMap?
    /// While it is there, no move starts.
    public private(set) var hold: MoveHold?

    public init() {}

    public mutating func load(in context: inout ApplyContext) throws(EngineError) {
        map = nil
        hold = try context.stateRow(Self.holdKey).map { (row) throws(EngineError) in try Self.decodeHold(row) }
        guard let row = try context.stateRow(Self.currentKey) else { return }
        do throws(CodingError) { map = try ShardMap(encoded: row) } catch {
            throw .corruption(place: "controller: \(error.place)")
        }
    }

    public mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> Reply {
        let decoded: (requestID: [UInt8], command: ControllerCommand)
        do throws(CodingError) { decoded = try ControllerCommand.decode(entry.payload) } catch {
            return .refused(ControllerRefusal(.invalid, error.description))
        }
        // A hold that has ended is lifted before anything else happens.
        if let hold, let map, context.logTime >= hold.until {
            var held = HeldMap(map: map, hold: hold)
            held.lift()
            try record(held, in: &context)
        }
        if !decoded.requestID.isEmpty, let earlier = try earlierAnswer(decoded.requestID, in: context) {
            return earlier
        }
        let reply: Reply
        let (now, held) = (context.logTime, map.map { HeldMap(map: $0, hold: hold) })
        let result = Result { () throws(ControllerRefusal) in
            try Self.execute(decoded.command, on: held, at: now)
        }
        switch result {
        case .failure(let refusal): reply = .refused(refusal)
        case .success(nil):
            reply = .refused(ControllerRefusal(.busy, "the controller is not initialised yet; try again"))
        case .success(let next?): reply = .map(try record(next, in: &context))
        }
        // "Busy" asks for the same request again; it isn't the answer to it.
        if case .refused(let refusal) = reply, refusal.kind == .busy { return reply }
        if !decoded.requestID.isEmpty { try keepAnswer(reply, decoded.requestID, at: entry.index, in: &context) }
        return reply
    }

    /// Makes it the present state. A map that differs gets the next number.
    @discardableResult
    private mutating func record(_ next: HeldMap, in context: inout ApplyContext) throws(EngineError) -> ShardMap {
        if next.hold != hold {
            context.setStateRow(Self.holdKey, next.hold?.encoded)
            hold = next.hold
        }
        guard next.map != map else { return next.map }
        var changed = next.map
        changed.number = (map?.number).map { $0 + 1 } ?? 0
        let family: FamilyID
        if let mapped = context.families[Self.configsFamily] {
            family = mapped
        } else {
            family = try context.mapFamily(Self.configsFamily)
        }
        context.put(family, bigEndianBytes(changed.number), changed.encoded)
        context.setStateRow(Self.currentKey, changed.encoded)
        map = changed
        return changed
    }

    /// What follows from a command at a log time; `nil` before initialisation. Unchanged if the command asks for what
    /// is so already.
    static func execute(
        _ command: ControllerCommand, on held: HeldMap?, at now: Milliseconds
    ) throws(ControllerRefusal) -> HeldMap? {
        if case .initialize(let shardCount, let clusterID) = command {
            if let held { return held }
            guard (1...Limits.shardCountMax).contains(shardCount) else {
                throw ControllerRefusal(.invalid, "\(shardCount) shards; a cluster has 1 to \(Limits.shardCountMax)")
            }
            let rows = [ShardMap.Row](repeating: .init(gid: 0, epoch: 0), count: shardCount)
            return HeldMap(map: ShardMap(number: 0, clusterID: clusterID, groups: [:], shards: rows))
        }
        guard var next = held else { return nil }
        let isHeld = next.hold != nil
        switch command {
        case .initialize, .passTime: break
        case .join(let groups): try next.map.join(groups, isHeld: isHeld)
        case .leave(let gids): try next.map.leave(gids, isHeld: isHeld)
        case .move(let shard, let gid): try next.move(shard, to: gid)
        case .report(let shard, let epoch, let event): next.map.report(shard, epoch: epoch, event, isHeld: isHeld)
        case .relocate(let gid, let addresses, let index):
            try next.map.relocate(gid, addresses, membershipIndex: index)
        case .hold(let id, let holder, let lasts): try next.hold(id, holder, lasts: lasts, at: now)
        case .prolong(let id, let lasts): try next.prolong(id, lasts: lasts, at: now)
        case .release(let id): try next.release(id)
        }
        return next
    }

    // MARK: - Retries

    private func earlierAnswer(_ id: [UInt8], in context: ApplyContext) throws(EngineError) -> Reply? {
        guard let row = try context.stateRow(Self.requestPrefix + id) else { return nil }
        do throws(CodingError) {
            var reader = ByteReader(row, place: "controller answer")
            switch try reader.byte() {
            case 0:
                guard let map else { return nil }
                return .map(map)
            default:
                guard let kind = ControllerRefusal.Kind(rawValue: try reader.byte()) else { return nil }
                return .refused(ControllerRefusal(kind, try reader.string()))
            }
        } catch {
            throw .corruption(place: "controller: \(error.place)")
        }
    }

    private func keepAnswer(
        _ reply: Reply, _ id: [UInt8], at index: LogIndex, in context: inout ApplyContext
    ) throws(EngineError) {
        var writer = ByteWriter()
        switch reply {
        case .map: writer.byte(0)
        case .refused(let refusal):
            writer.byte(1)
            writer.byte(refusal.kind.rawValue)
            writer.string(refusal.description)
        }
        context.setStateRow(Self.requestPrefix + id, writer.bytes)
        context.setStateRow(Self.requestOrderPrefix + bigEndianBytes(index), id)
        let rows = try context.stateRows(prefix: Self.requestOrderPrefix)
        if rows.count > Int(Self.requestsKept) {
            for row in rows.prefix(rows.count - Int(Self.requestsKept)) {
                context.setStateRow(row.key, nil)
                context.setStateRow(Self.requestPrefix + row.value, nil)
            }
        }
    }

    /// The map of any number, read from a view of the engine.
    public static func map(
        number: UInt64?, layout: GroupLayout, in view: any ReadView
    ) throws(EngineError) -> ShardMap? {
        let row: [UInt8]?
        if let number {
            guard let family = try GroupStorageRows.load(layout, in: view).families[configsFamily] else { return nil }
            row = try view.get(family, key: bigEndianBytes(number))
        } else {
            row = try view.get(layout.meta, key: [GroupLayout.statePrefix] + currentKey)
        }
        guard let row else { return nil }
        do throws(CodingError) { return try ShardMap(encoded: row) } catch {
            throw .corruption(place: "controller: \(error.place)")
        }
    }
}

extension ShardMap {
    mutating func join(_ joining: [UInt64: [String]], isHeld: Bool) throws(ControllerRefusal) {
        guard !joining.isEmpty else { throw ControllerRefusal(.invalid, "join names no group") }
        for (gid, addresses) in joining.sorted(by: { $0.key < $1.key }) {
            guard gid != 0 else { throw ControllerRefusal(.invalid, "gid 0 means \"no group\"; choose another") }
            guard !addresses.isEmpty, addresses.allSatisfy({ !$0.isEmpty }) else {
                throw ControllerRefusal(.invalid, "group \(gid) names no address; give GID=HOST:PORT,…")
            }
            guard Set(addresses).count == addresses.count else {
                throw ControllerRefusal(.invalid, "group \(gid) names an address twice")
            }
            for (other, theirs) in joining.merging(groups.mapValues(\.addresses), uniquingKeysWith: { mine, _ in mine })
                .sorted(by: { $0.key < $1.key }) where other != gid
            {
                if let shared = addresses.first(where: theirs.contains) {
                    throw ControllerRefusal(
                        .precondition, "group \(gid) shares the address \(shared) with group \(other)")
                }
            }
            if let present = groups[gid], Set(present.addresses) != Set(addresses) {
                throw ControllerRefusal(
                    .precondition,
                    "group \(gid) has joined already with \(present.addresses.joined(separator: ",")); "
                        + "change its nodes with `group member`")
            }
        }
        let before = self
        for (gid, addresses) in joining {
            if groups[gid] == nil { groups[gid] = Group(addresses: addresses) } else { groups[gid]?.isLeaving = false }
        }
        if groups != before.groups { balance(isHeld: isHeld) }
    }

    mutating func relocate(
        _ gid: UInt64, _ addresses: [String], membershipIndex: UInt64
    ) throws(ControllerRefusal) {
        guard var group = groups[gid] else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        // A leader that was deposed meanwhile may come late.
        guard membershipIndex > group.membershipIndex, !addresses.isEmpty else { return }
        for (other, theirs) in groups.sorted(by: { $0.key < $1.key }) where other != gid {
            if let shared = addresses.first(where: theirs.addresses.contains) {
                throw ControllerRefusal(
                    .precondition, "group \(gid) shares the address \(shared) with group \(other)")
            }
        }
        group.addresses = addresses
        group.membershipIndex = membershipIndex
        groups[gid] = group
    }

    mutating func leave(_ gids: [UInt64], isHeld: Bool) throws(ControllerRefusal) {
        guard !gids.isEmpty else { throw ControllerRefusal(.invalid, "leave names no group") }
        for gid in gids where groups[gid] == nil {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        for gid in gids { groups[gid]?.isLeaving = true }
        if openGroups.isEmpty, shards.contains(where: { $0.gid != 0 }) {
            throw ControllerRefusal(
                .precondition, "group \(gids[0]) is the last one and holds data; join another group first")
        }
        balance(isHeld: isHeld)
        removeEmptiedGroups()
    }

    /// Spreads the shards, or leaves that for the end of the hold.
    private mutating func balance(isHeld: Bool) {
        if isHeld { isBalancePending = true } else { rebalance() }
    }

    mutating func move(_ shard: Int, to gid: UInt64) throws(ControllerRefusal) {
        guard shards.indices.contains(shard) else {
            throw ControllerRefusal(
                .invalid, "shard \(shard) is out of range; there are shards 0 to \(shards.count - 1)")
        }
        guard let group = groups[gid] else {
            throw ControllerRefusal(.notFound, "there is no group \(gid); `query` lists the groups")
        }
        if group.isLeaving { throw ControllerRefusal(.precondition, "group \(gid) is leaving") }
        let row = shards[shard]
        if destination(shard) == gid { return }
        if let move = row.move {
            throw ControllerRefusal(
                .busy, "shard \(shard) is on its way from group \(move.from) to group \(move.to); try again later")
        }
        send(shard, to: gid)
    }

    mutating func report(
        _ shard: Int, epoch: UInt64, _ event: ControllerCommand.MoveEvent, isHeld: Bool
    ) {
        // A report about anything but the move in progress is old news.
        guard shards.indices.contains(shard), var move = shards[shard].move, move.epoch == epoch else { return }
        switch (event, move.phase) {
        case (.activated, .moving):
            move.phase = .collecting
            shards[shard] = Row(gid: move.to, epoch: epoch, move: move)
        case (.rejected, .moving):
            move.phase = .rejected
            shards[shard].move = move
        case (.collected, .collecting): shards[shard].move = nil
        case (.collected, .rejected):
            // The epoch is used up: a next move must have a higher one.
            shards[shard] = Row(gid: move.from, epoch: epoch)
        default: return
        }
        guard shards[shard].move == nil else { return }
        // While moves are held the next ones wait, and only what is under way ends.
        if isHeld { removeEmptiedGroups() } else { settle() }
    }

    /// Starts what waited for others to arrive.
    mutating func settle() {
        if isBalancePending { rebalance() } else { placeOrphans() }
        removeEmptiedGroups()
    }
}
