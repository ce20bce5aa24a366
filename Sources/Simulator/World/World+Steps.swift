internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What nodes do by themselves, again and again.
extension World {
    mutating func step(_ node: Int) throws {
        // In the end nothing is proposed any more, so that replicas can be compared.
        guard let shell = nodes[node].shell, now + 1_000 < options.faultyTime + options.healingTime else { return }
        if groups[nodes[node].group].isController {
            try stepController(node, shell)
        } else {
            try stepGroup(node, shell)
        }
    }

    /// The first leader writes the first map; later ones let time pass when a hold is due to end.
    private mutating func stepController(_ node: Int, _ shell: ReplicaShell) throws {
        guard shell.driver.core.isLeader, shell.driver.core.hasCommittedInTerm else { return }
        let view = try shell.engine.snapshot()
        defer { view.close() }
        if try ControllerMachine.map(number: nil, layout: shell.layout, in: view) == nil {
            let command = ControllerCommand.initialize(
                shardCount: knobs.shardCount, clusterID: groups[0].identity)
            post(.propose(command.encoded(requestID: []), token: nil), to: node)
        } else if let hold = try ControllerMachine.hold(layout: shell.layout, in: view), hold.until <= wall(node) {
            post(.propose(ControllerCommand.passTime.encoded(requestID: []), token: nil), to: node)
        }
    }

    private mutating func stepGroup(_ node: Int, _ shell: ReplicaShell) throws {
        let isLeading = shell.driver.core.isLeader && shell.driver.core.hasCommittedInTerm
        let life = nodes[node].life
        if !nodes[node].isAskingForMap, now >= nodes[node].mapAskedAt + (isLeading ? 200 : 1_000) {
            nodes[node].isAskingForMap = true
            nodes[node].mapAskedAt = now
            try call(.query, changes: false, within: .milliseconds(3_000), .nodeMap(node: node, life: life))
        }
        guard isLeading, let map = nodes[node].map else { return }
        let group = groups[nodes[node].group]
        let view = try shell.engine.snapshot()
        defer { view.close() }
        let reader = GroupReader(shell.layout, in: view)
        let records = try reader.records()
        let membership = shell.driver.core.membership
        for act in nodes[node].mover.acts(
            on: map, own: group.gid, identity: group.identity, records: records, membership)
        {
            switch act {
            case .propose(let command): post(.propose(command.encoded, token: nil), to: node)
            case .report(let addresses, let index, let identity):
                guard !nodes[node].isReporting else { continue }
                nodes[node].isReporting = true
                note(node, "reports \(addresses.count) addresses as of \(index)")
                let command = ControllerCommand.relocate(
                    group.gid, addresses, membershipIndex: index, identity: identity)
                try call(
                    .command(command.encoded(requestID: [])), changes: true, within: .milliseconds(2_000),
                    .nodeReport(node: node, life: life, membershipIndex: index))
            }
        }
        guard chance(5) else { return }
        // As every 10 s: sessions that have ended go without waiting for a write.
        for (shard, record) in records.sorted(by: { $0.key < $1.key }) where record.state == .serving {
            if let end = try reader.firstSessionEnd(shard), end <= wall(node) {
                return post(.propose(GroupCommand.passTime.encoded, token: nil), to: node)
            }
        }
    }
}
