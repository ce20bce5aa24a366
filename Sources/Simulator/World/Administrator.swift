internal import ClientCore
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Whoever runs the cluster: has groups join and leave, moves shards, and holds moves now and then.
struct Administrator {
    var controllers = ControllerState(seed: 0)
    /// Those that are to join first.
    var founders: [GroupID] = []
    var isCalling = false
    /// The command that is to be carried out, under its id, until its outcome is known.
    var command: [UInt8]?
    /// The newest map that it has seen.
    var map: ShardMap?
    var isJoined = false
    var hold: [UInt8]?
    var actions = 0

    mutating func ended(_ result: Result<ShardMap, CallFailure>) {
        isCalling = false
        switch result {
        case .success(let map):
            command = nil
            self.map = map
            isJoined = isJoined || founders.allSatisfy { map.groups[$0] != nil }
        case .failure(let failure):
            // The same again, under the same id: it is carried out once.
            if failure.code != .outcomeUnknown, failure.code != .unavailable { command = nil }
        }
    }
}

extension World {
    mutating func administrate() throws {
        queue.schedule(
            .administrator, at: now + (administrator.isJoined ? delay(knobs.administratorPace) : 40))
        guard !administrator.isCalling else { return }
        if administrator.command == nil {
            guard let command = nextCommand() else { return }
            var id: [UInt8] = []
            withUnsafeBytes(of: random.next()) { id += $0 }
            administrator.command = command.encoded(requestID: id)
            note(nil, "administrator: \(Self.describe(command))")
        }
        guard let command = administrator.command else { return }
        administrator.isCalling = true
        try call(.command(command), changes: true, within: .milliseconds(2_000), .administrator)
    }

    private static func describe(_ command: ControllerCommand) -> String {
        switch command {
        case .join(let groups): "join " + groups.keys.sorted().map(\.description).joined(separator: ", ")
        case .leave(let gids): "leave " + gids.map(\.description).joined(separator: ", ")
        case .move(let shard, let gid): "move shard \(shard) to group \(gid)"
        case .abort(let shard, _): "abort the move of shard \(shard)"
        case .hold(_, _, let lasts): "hold moves for \(lasts) ms"
        case .prolong(_, let lasts): "hold moves for \(lasts) ms more"
        case .release: "release the hold"
        default: "\(command)"
        }
    }

    private func join(_ gids: [GroupID]) -> ControllerCommand {
        var joining: [GroupID: [String]] = [:]
        for group in groups where gids.contains(group.gid) {
            // Those that its members are known by: its map's, or the ones that it was founded with.
            joining[group.gid] =
                administrator.map?.groups[group.gid]?.addresses
                ?? group.nodes.prefix(group.founders).map { nodes[$0].address }
        }
        return .join(joining)
    }

    private mutating func nextCommand() -> ControllerCommand? {
        guard administrator.isJoined else { return join(administrator.founders) }
        guard !isHealed, administrator.actions < options.actionsMax, let map = administrator.map else { return nil }
        administrator.actions += 1
        if options.scenario == .hotShard {
            // As soon as it has arrived, it goes back.
            guard let row = maps.last?.row(0), row.move == nil,
                let gid = map.groups.keys.sorted().first(where: { $0 != row.gid })
            else { return nil }
            return .move(shard: 0, to: gid)
        }
        if chance(10), let shard = (maps.last?.moves ?? []).randomElement(using: &random)?.shard {
            return .abort(shard: shard, isForced: false)
        }
        let known = map.groups.keys.sorted()
        let open = known.filter { map.groups[$0]?.isLeaving == false }
        let away = groups.map(\.gid).filter { $0 != .controller && !open.contains($0) }
        switch UInt64.random(in: 0..<100, using: &random) {
        case 0..<46:
            guard let shard = map.shardIDs.randomElement(using: &random),
                let gid = known.filter({ $0 != map.destination(shard) }).randomElement(using: &random)
            else { return nil }
            return .move(shard: shard, to: gid)
        case 46..<58: return open.count > 1 ? open.randomElement(using: &random).map { .leave([$0]) } : nil
        case 58..<84: return away.randomElement(using: &random).map { join([$0]) }
        default: return nextHold()
        }
    }

    /// As a backup does: it holds moves, prolongs the hold while it copies, and releases it, unless it was killed.
    private mutating func nextHold() -> ControllerCommand {
        guard let hold = administrator.hold else {
            var id: [UInt8] = []
            for _ in 0..<2 { withUnsafeBytes(of: random.next()) { id += $0 } }
            administrator.hold = id
            return .hold(id: id, holder: "administrator", lasts: 200 + delay(1_500))
        }
        guard !chance(25) else { return .prolong(id: hold, lasts: delay(1_000)) }
        administrator.hold = nil
        return .release(id: hold)
    }
}
