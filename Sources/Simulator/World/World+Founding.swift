internal import ClientCore
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// How the cluster begins.
extension World {
    /// When a run begins, in Unix milliseconds.
    static let epoch: Int64 = 1_700_000_000_000

    /// The nodes have empty directories, and are started one after another; spare ones later. No group is known to the
    /// controller yet.
    mutating func found() throws {
        for number in 0...knobs.groups {
            let gid = GroupID(UInt64(number))
            let founders = number == 0 ? knobs.controllers : Knobs.replicas(&random)
            try found(gid, founders: founders, spares: knobs.changesMembers ? 1 : 0)
        }
        // The others join in the middle of the run.
        let late = options.scenario == nil && groups.count > 2 && chance(50) ? 1 : 0
        administrator.founders = groups.filter { !$0.isController }.dropLast(late).map(\.gid)
        administrator.controllers = ControllerState(seed: random.next())
        for number in 0..<knobs.clients { clients.append(newClient(number, life: 1)) }
        report.nodes = nodes.count
        note(
            nil,
            "start \(nodes.count) nodes, \(knobs.controllers) controllers, \(knobs.groups) groups, \(knobs.shardCount) "
                + "shards, \(knobs.clients) clients, \(knobs.keys) keys, seed \(options.seed)")
    }

    private mutating func found(_ gid: GroupID, founders: Int, spares: Int) throws {
        let number = groups.count
        var group = WorldGroup(gid: gid, founders: founders)
        for replica in 0..<founders + spares {
            let name = gid == .controller ? "c\(replica)" : "g\(gid)n\(replica)"
            group.nodes.append(nodes.count)
            nodesByAddress["\(name):1"] = nodes.count
            let disk =
                try options.disks.map { try SimulatedDisk($0.engine, at: "\($0.path)/\(options.seed)-\(name)") }
                ?? SimulatedDisk()
            nodes.append(
                WorldNode(
                    group: number, id: ReplicaID(UInt64(replica)), address: "\(name):1",
                    incarnation: Incarnation(high: random.next(), low: random.next()), name: name, disk: disk))
        }
        let members = group.nodes.prefix(founders).map { node in
            Member(
                id: nodes[node].id, address: nodes[node].address, incarnation: nodes[node].incarnation, standing: .voter
            )
        }
        let clusterID = gid == .controller ? [] : groups[0].identity
        let record = BootstrapRecord(
            clusterID: clusterID, gid: gid.rawValue, membership: Membership(members: Array(members)))
        group.identity = record.hash
        group.record = record
        groups.append(group)
        for node in groups[number].nodes.prefix(founders) {
            queue.schedule(.restart(node: node), at: delay(200))
        }
    }

    /// What a node's clock shows.
    func wall(_ node: Int) -> UInt64 { UInt64(Self.epoch + Int64(now) + nodes[node].clockOffset) }

    var controllerAddresses: [String] { groups[0].nodes.map { nodes[$0].address } }

    /// A node's state, for the end of a trace.
    func summary(_ node: Int) -> String {
        guard let shell = nodes[node].shell else { return "down" }
        let core = shell.driver.core
        let members = core.membership.members.map { "\($0.id) \($0.standing)" }.joined(separator: ", ")
        return "\(core.role) in t\(core.term), log to \(core.lastPosition), commit \(core.commit), applied "
            + "\(shell.applied.position.index); members as of \(core.membership.index): \(members)"
            + (nodes[node].pausedUntil > now ? "; paused" : "") + (shell.isWriting ? "; writing" : "")
    }
}
