internal import ClientCore
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Whoever runs the cluster: has the groups join, and holds moves now and then.
struct Administrator {
    var controllers = ControllerState(seed: 0)
    var joining: [GroupID] = []
    var isCalling = false
    /// The command that is to be carried out, under its id, until its outcome is known.
    var command: [UInt8]?
    var isJoined = false
    var hold: [UInt8]?

    mutating func ended(_ result: Result<ShardMap, CallFailure>) {
        isCalling = false
        switch result {
        case .success(let map):
            command = nil
            isJoined = joining.allSatisfy { map.groups[$0] != nil }
        case .failure(let failure):
            // The same again, under the same id: it is carried out once.
            if failure.code != .outcomeUnknown, failure.code != .unavailable { command = nil }
        }
    }
}

extension World {
    mutating func administrate() throws {
        queue.schedule(.administrator, at: now + (administrator.isJoined ? 400 : 40))
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
        case .hold(_, _, let lasts): "hold moves for \(lasts) ms"
        case .release: "release the hold"
        default: "\(command)"
        }
    }

    private mutating func nextCommand() -> ControllerCommand? {
        guard administrator.isJoined else {
            var groups: [GroupID: [String]] = [:]
            for group in self.groups where !group.isController {
                groups[group.gid] = group.nodes.prefix(group.founders).map { nodes[$0].address }
            }
            return .join(groups)
        }
        guard !isHealed, chance(30) else { return nil }
        if let hold = administrator.hold {
            administrator.hold = nil
            return chance(60) ? .release(id: hold) : nil
        }
        var id: [UInt8] = []
        for _ in 0..<2 { withUnsafeBytes(of: random.next()) { id += $0 } }
        administrator.hold = id
        return .hold(id: id, holder: "administrator", lasts: 500 + delay(2_000))
    }
}
