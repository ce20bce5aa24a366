internal import Bytes
internal import Keyspace

/// The last things that have happened, a thousand at most.
struct EventLog: Sendable, Equatable {
    static let eventsMax = 1000

    /// Oldest first.
    private var events: [Answer.Event] = []
    private var lastID: UInt64 = 0
    /// Unix milliseconds, of what is added.
    private var now = ""

    init() {}

    /// What is added from here on happened then, in Unix milliseconds.
    mutating func begin(at now: UInt64) { self.now = Timestamp.text(unixMilliseconds: now) }

    mutating func add(
        _ kind: Answer.Event.Kind, _ severity: Answer.Event.Severity, group: GroupID? = nil, node: UInt64? = nil,
        shard: ShardID? = nil, _ text: String
    ) {
        lastID += 1
        events.append(
            Answer.Event(
                id: lastID, at: now, kind: kind, severity: severity, groupId: group, nodeId: node, shardId: shard,
                text: text))
        // In steps, so that it is not moved for each.
        if events.count >= 2 * Self.eventsMax { events.removeFirst(events.count - Self.eventsMax) }
    }

    func newest(_ limit: Int) -> [Answer.Event] {
        events.suffix(min(max(limit, 0), Self.eventsMax)).reversed()
    }
}

extension EventLog {
    /// What differs in a node.
    mutating func compare(_ before: NodeTrack?, _ after: NodeTrack) {
        let name = "node \(after.id) of \(GroupState.name(after.gid))"
        if let error = after.error, before?.error == nil {
            add(.nodeLost, .warning, group: after.gid, node: after.id, "\(name) doesn't answer: \(error)")
        }
        guard after.answers, let report = after.report else { return }
        if before?.error != nil {
            add(.nodeFound, .info, group: after.gid, node: after.id, "\(name) answers")
        }
        if after.hasRestarted {
            add(.nodeRestarted, .warning, group: after.gid, node: after.id, "\(name) was started anew")
        }
        let condition = before?.report?.condition ?? ""
        if report.condition != condition {
            if report.condition.isEmpty {
                add(.condition, .info, group: after.gid, node: after.id, "\(name) takes part again")
            } else {
                add(.condition, .warning, group: after.gid, node: after.id, "\(name): \(report.condition)")
            }
        }
        if report.isShortOfSpace != before?.report?.isShortOfSpace ?? false {
            if report.isShortOfSpace {
                add(
                    .space, .error, group: after.gid, node: after.id,
                    "\(name) is short of space and refuses new values")
            } else {
                add(.space, .info, group: after.gid, node: after.id, "\(name) has space again")
            }
        }
    }

    /// What differs in who leads.
    mutating func compare(_ before: GroupState?, _ after: GroupState) {
        guard let before, before.leader != after.leader else { return }
        if let leader = after.leader {
            add(
                .leader, .info, group: after.gid, node: leader.id,
                "node \(leader.id) of \(after.name) leads in term \(leader.term)")
        } else {
            add(.leader, .error, group: after.gid, "\(after.name) has no leader")
        }
    }

    /// What differs in the shard map, except for moves.
    mutating func compare(_ before: HeldMap?, _ after: HeldMap) {
        guard let before else { return }
        if before.map.clusterID != after.map.clusterID {
            add(
                .config, .warning,
                "the controller answers for another cluster, \(after.map.clusterID.hexadecimal); it was \(before.map.clusterID.hexadecimal)"
            )
            return
        }
        let config = "config \(after.map.number)"
        for (gid, group) in after.map.groups.sorted(by: { $0.key < $1.key }) {
            let name = "\(config): group \(gid)"
            guard let earlier = before.map.groups[gid] else {
                add(.config, .info, group: gid, "\(name) joined")
                continue
            }
            if group.isLeaving != earlier.isLeaving {
                add(.config, .info, group: gid, group.isLeaving ? "\(name) is leaving" : "\(name) stays")
            }
            if group.addresses != earlier.addresses {
                add(
                    .config, .info, group: gid,
                    "\(name) is now at \(group.addresses.joined(separator: ", "))".clipped)
            }
        }
        for gid in before.map.groups.keys.sorted() where after.map.groups[gid] == nil {
            add(.config, .info, group: gid, "\(config): group \(gid) left")
        }
        switch (before.hold, after.hold) {
        case (nil, let hold?): add(.config, .info, "moves are held by \(hold.holder.clipped)")
        case (_?, nil): add(.config, .info, "moves are no longer held")
        default: break
        }
    }
}
