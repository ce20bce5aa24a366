internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// How processes come to life: carries out what a `NodeCore` says, as `Node` does.
extension World {
    private static let identifyPatience: UInt64 = 1_000

    /// A process starts on what the node's disk holds.
    mutating func start(_ node: Int) throws {
        let group = groups[nodes[node].group]
        nodes[node].life += 1
        nodes[node].hasStranger = false
        nodes[node].pausedUntil = 0
        nodes[node].core = NodeCore(
            NodeCore.Configuration(
                id: nodes[node].id, incarnation: nodes[node].incarnation, gid: group.gid, address: nodes[node].address,
                founders: group.nodes.prefix(group.founders).map { nodes[$0].address },
                controllers: group.isController ? [] : controllerAddresses, directory: nodes[node].name))
        try nodes[node].disk.open()
        let engine = nodes[node].engine
        let layout = try FamilyTable(engine: engine).layout(of: group.gid.rawValue)
        let view = try engine.snapshot()
        defer { view.close() }
        let holdings = NodeCore.Holdings(
            record: try layout.bootstrapRecord(in: view),
            membership: try GroupStorageRows.load(layout, in: view).membership,
            recoveries: try layout.recoveries(in: view), cluster: nodes[node].directory.cluster,
            hasJoined: nodes[node].directory.hasJoined)
        try live(node) { [now = self.now] in $0.begin(holdings, now: now) }
    }

    /// Tells a process's core something, and carries out what it says.
    mutating func live(_ node: Int, _ input: (inout NodeCore) -> [NodeCore.Step]) throws {
        guard
            let steps = nodes[node].core.map({ core in
                var core = core
                let steps = input(&core)
                nodes[node].core = core
                return steps
            })
        else { return }
        let life = nodes[node].life
        for step in steps {
            // A process may be killed between any two of them.
            if step != .run, !isCalm, now > 0, chance(1), nodes[node].shell == nil {
                note(node, "dies before it has begun")
                nodes[node].forget()
                queue.schedule(.restart(node: node), at: now + delay(500))
            }
            guard nodes[node].isUp, nodes[node].life == life else { return }
            try carryOut(step, on: node)
        }
        guard let wakeAt = nodes[node].core?.wakeAt, nodes[node].coreAlarm <= now || wakeAt < nodes[node].coreAlarm
        else { return }
        nodes[node].coreAlarm = max(wakeAt, now + 1)
        after(max(wakeAt, now + 1) - now, on: node) { world in
            // Later, if the process stood still; not at all, if the alarm was put off.
            guard world.nodes[node].coreAlarm <= world.now else { return }
            let now = world.now
            try world.live(node) { $0.woken(now: now) }
        }
    }

    private mutating func carryOut(_ step: NodeCore.Step, on node: Int) throws {
        switch step {
        case .askController:
            try askLeader(
                .map(newerThan: nil), of: controllerAddresses, first: nil, by: node, within: 5_000
            ) { world, result, _ in
                var cluster: [UInt8]?
                if case .success(.map(let map)) = result { cluster = map.clusterID }
                let now = world.now
                try world.live(node) { $0.heardOfCluster(cluster, now: now) }
            }
        case .ask(let founder, let address):
            guard let place = nodesByAddress[address] else { return }
            let question = PeerQuestion.identify(groups[nodes[node].group].gid, from: nodes[node].id)
            ask(question, at: place, by: node, within: Self.identifyPatience, isWatched: false) { world, result in
                var found: NodeCore.Identified?
                if case .success(.identified(let identified)) = result { found = identified }
                let now = world.now
                try world.live(node) { $0.heard(found, from: founder, now: now) }
            }
        case .write(let record, let founds):
            if record != groups[nodes[node].group].record {
                try violate("\(nodes[node].name) takes a record that isn't that of its group's founders")
            }
            let layout = try FamilyTable(engine: nodes[node].engine).layout(of: record.gid)
            var batch = WriteBatch()
            if founds { record.write(to: layout, in: &batch) } else { record.writeAlone(to: layout, in: &batch) }
            try nodes[node].engine.write(batch, durability: .synced)
        case .recordCluster(let id):
            if id != groups[0].identity {
                try violate("\(nodes[node].name) takes itself for a node of another cluster")
            }
            nodes[node].directory.cluster = id
        case .recordJoined: nodes[node].directory.hasJoined = true
        case .run: try run(node)
        case .say(let note): self.note(node, "\(note)")
        case .fail(let error): try violate("\(nodes[node].name) can't start: \(error)")
        case .handOver, .dismissWaiters, .endListening, .close: return
        }
    }

    /// What a process says of itself to whoever looks for its group.
    func identify(_ node: Int) -> NodeCore.Identified? {
        nodes[node].core.map {
            NodeCore.Identified(
                id: nodes[node].id, cluster: $0.spelledFounders,
                answer: BootstrapCore.Answer(incarnation: nodes[node].incarnation, record: $0.record))
        }
    }

    /// The replica starts.
    private mutating func run(_ node: Int) throws {
        let (engine, group) = (nodes[node].engine, groups[nodes[node].group])
        let (id, incarnation, seed) = (nodes[node].id, nodes[node].incarnation, random.next())
        let shell: ReplicaShell
        if group.isController {
            var machine = ControllerMachine()
            machine.plant = options.plant?.inController
            shell = try SimulatedReplica(
                gid: group.gid.rawValue, engine: engine, machine: machine, id: id, incarnation: incarnation,
                configuration: knobs.driver, seed: seed, now: now
            ) { .controller($0) }
        } else {
            var machine = GroupMachine()
            machine.plant = options.plant?.inGroup
            shell = try SimulatedReplica(
                gid: group.gid.rawValue, engine: engine, machine: machine, id: id, incarnation: incarnation,
                configuration: knobs.driver, seed: seed, now: now
            ) { .group($0) }
        }
        nodes[node].shell = shell
        nodes[node].layout = shell.layout
        try checkFound(node)
        let life = nodes[node].life
        queue.schedule(.tick(node: node, life: life), at: now + 1)
        if group.isController {
            nodes[node].controller = ControllerCore(shardCount: knobs.shardCount)
            queue.schedule(.step(node: node, life: life), at: now + delay(knobs.stepInterval))
        } else {
            nodes[node].driver = newDriver(node, shell)
            try pump(node)
        }
    }

    /// The core hears of snapshots that are on the disk, and of members.
    mutating func followMembers(_ node: Int, _ shell: ReplicaShell) throws {
        if shell.driver.snapshotsInstalled != nodes[node].installsSeen {
            nodes[node].installsSeen = shell.driver.snapshotsInstalled
            try live(node) { $0.installedSnapshot() }
        }
        let membership = shell.driver.core.membership
        guard membership.index != nodes[node].membersSeen else { return }
        nodes[node].membersSeen = membership.index
        try live(node) { $0.observe(membership) }
    }
}
