internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What the controller's nodes do by themselves: `ControllerDesk` without threads.
extension World {
    /// What the node sees of itself.
    mutating func step(_ node: Int) throws {
        // In the end nothing is proposed any more, so that replicas can be compared.
        guard let shell = nodes[node].shell, !isEnding else { return }
        let leads = shell.driver.core.isLeader && shell.driver.core.hasCommittedInTerm
        try act(on: node) { $0.observe(leads: leads) }
        guard let wakeAt = nodes[node].controller?.wakeAt, wakeAt <= now else { return }
        try act(on: node) { [now = self.now] in $0.woken(now: now) }
    }

    mutating func act(on node: Int, _ input: (inout ControllerCore) -> [ControllerCore.Step]) throws {
        guard nodes[node].controller != nil,
            let steps = nodes[node].controller.map({ core in
                var core = core
                let steps = input(&core)
                nodes[node].controller = core
                return steps
            })
        else { return }
        for step in steps { try carryOut(step, on: node) }
    }

    private mutating func carryOut(_ step: ControllerCore.Step, on node: Int) throws {
        switch step {
        case .release(let number): release(number, on: node)
        case .look:
            // As of all that was committed before: a new leader has not applied it yet.
            read(on: node) { world, result in
                let now = world.now
                guard case .success(let view) = result, let layout = world.nodes[node].layout else {
                    return try world.act(on: node) { $0.sawNothing(now: now) }
                }
                let sight = try ControllerCore.Sight(layout, in: view)
                let clusterID = world.groups[0].identity
                try world.act(on: node) { $0.looked(sight, clusterID: clusterID, now: now) }
            }
        case .propose(let command):
            guard !isEnding else { return }
            propose(command.encoded(requestID: []), on: node) { world, _ in
                let now = world.now
                try world.act(on: node) { $0.proposed(now: now) }
            }
        }
    }
}
