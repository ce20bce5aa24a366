internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

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
    package static let requestPrefix = Array("request/".utf8)
    static let requestOrderPrefix = Array("order/".utf8)
    /// Requests whose answers are kept.
    package static let requestsKept: UInt64 = 1024

    /// The newest map; `nil` until the first leader has initialised it.
    public private(set) var map: ShardMap?
    /// While it is there, no move starts.
    public private(set) var hold: MoveHold?

    /// A known defect that is put back, for the simulator to find.
    package var plant: Plant?

    package enum Plant: Sendable {
        /// The epoch of a move is not used up by it.
        case reusesEpochs
        /// Nothing ends a hold but its holder.
        case outlivesHolds
        /// Moves begin while they are held.
        case ignoresHolds
    }

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
        // It becomes part of a row's key, and answers are kept under it.
        guard decoded.requestID.count <= Limits.requestIDBytesMax else {
            return .refused(
                ControllerRefusal(
                    .invalid,
                    "the request's id has \(decoded.requestID.count) bytes; it has at most \(Limits.requestIDBytesMax)")
            )
        }
        // A hold that has ended is lifted before anything else happens.
        if let hold, let map, context.logTime >= hold.until, plant != .outlivesHolds {
            var held = HeldMap(map: map, hold: hold)
            held.lift()
            try record(held, in: &context)
        }
        if !decoded.requestID.isEmpty, let earlier = try earlierAnswer(decoded.requestID, in: context) {
            return earlier
        }
        let reply: Reply
        let (now, held) = (context.logTime, map.map { HeldMap(map: $0, hold: hold) })
        let plant = plant
        let result = Result { () throws(ControllerRefusal) in
            try Self.execute(decoded.command, on: held, at: now, plant)
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
        invariant(
            map == nil || (map?.shardCount == changed.shardCount && map?.clusterID == changed.clusterID),
            "map \(changed.number) would be another cluster's: \(changed.shardCount) shards")
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
        _ command: ControllerCommand, on held: HeldMap?, at now: Milliseconds, _ plant: Plant? = nil
    ) throws(ControllerRefusal) -> HeldMap? {
        if case .initialize(let shardCount, let clusterID) = command {
            if let held { return held }
            guard (1...Limits.shardCountMax).contains(shardCount) else {
                throw ControllerRefusal(.invalid, "\(shardCount) shards; a cluster has 1 to \(Limits.shardCountMax)")
            }
            guard clusterID.count <= Limits.clusterIDBytesMax else {
                throw ControllerRefusal(.invalid, "a cluster's id has at most \(Limits.clusterIDBytesMax) bytes")
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
        case .move(let shard, let gid) where plant == .ignoresHolds: try next.map.move(shard, to: gid)
        case .move(let shard, let gid): try next.move(shard, to: gid)
        case .report(let shard, let epoch, let event):
            let before = next.map.row(shard)
            next.map.report(shard, epoch: epoch, event, isHeld: isHeld)
            if plant == .reusesEpochs, event == .activated, let before { next.map[shard].epoch = before.epoch }
        case .relocate(let gid, let addresses, let index, let identity):
            try next.map.relocate(gid, addresses, membershipIndex: index, identity: identity)
        case .abort(let shard, let isForced): try next.abort(shard, isForced: isForced)
        case .giveUp(let gid): try next.map.giveUp(gid, isHeld: isHeld)
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
