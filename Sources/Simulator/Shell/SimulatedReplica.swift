package import Engines
package import RaftLog
package import Sharding

/// What a machine has answered: one of the cluster, or one that was made to be looked at.
package enum MachineReply: Equatable {
    case controller(ControllerMachine.Reply)
    case group(GroupReply)
    case bytes([UInt8])
}

/// A shell with its machine.
package final class SimulatedReplica<Machine: StateMachine>: ReplicaShell where Machine.Reply: Equatable {
    private(set) var storage: GroupStorage<ObservedMachine<Machine>>
    private let wrap: (Machine.Reply) -> MachineReply

    package var machine: Machine { storage.machine.inner }

    /// Opens what is on the engine, as a process does when it starts.
    ///
    /// - Parameter isSynced: what is found counts as durable, so it is made so, as every engine does when it is opened.
    package init(
        gid: UInt64, engine: any StorageEngine, machine: Machine, id: ReplicaID, incarnation: Incarnation,
        configuration: ReplicaDriver.Configuration, seed: UInt64, now: Milliseconds,
        isSynced: Bool = true, wrap: @escaping (Machine.Reply) -> MachineReply
    ) throws(EngineError) {
        if isSynced { try engine.sync() }
        let table = try FamilyTable(engine: engine)
        let layout = try table.layout(of: gid)
        let view = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: ObservedMachine(machine), in: view)
        view.close()
        try table.sweepUnmapped(plant: configuration.core.plant)
        storage = opened.storage
        storage.plant = configuration.core.plant
        self.wrap = wrap
        let driver = ReplicaDriver(
            id: id, incarnation: incarnation, configuration: configuration, state: opened.state, seed: seed, now: now)
        super.init(layout: layout, engine: engine, familyTable: table, driver: driver)
    }

    package override func execute(
        _ request: WriteRequest, in batch: inout StorageBatch, _ written: inout Written
    ) throws(EngineError) {
        let outcome = try storage.execute(request, in: &batch)
        written.completions.append(outcome.completion)
        for answer in outcome.replies { written.answers.append((answer.token, wrap(answer.reply))) }
        written.abandoned += outcome.abandoned
        guard !request.commands.isEmpty else { return }
        let reached = storage.applied.position.index
        var replies = storage.machine.replies[...]
        for command in request.commands where command.entry.index <= reached {
            var reply: MachineReply?
            if let first = replies.first, first.index == command.entry.index {
                reply = wrap(first.reply)
                replies.removeFirst()
            }
            written.applied.append((command.entry, reply))
        }
    }

    package override var applied: AppliedState { storage.applied }
    package override var families: [String: FamilyID] { storage.families }
}
