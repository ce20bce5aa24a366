internal import Engines
internal import RaftLog
internal import Sharding

/// What a machine of the cluster has answered.
enum MachineReply: Equatable {
    case controller(ControllerMachine.Reply)
    case group(GroupReply)
}

/// A shell with its machine.
final class SimulatedReplica<Machine: StateMachine>: ReplicaShell where Machine.Reply: Equatable {
    private(set) var storage: GroupStorage<ObservedMachine<Machine>>
    private let wrap: (Machine.Reply) -> MachineReply

    var machine: Machine { storage.machine.inner }

    /// Opens what is on the engine, as a process does when it starts.
    init(
        gid: UInt64, engine: MemoryEngine, machine: Machine, id: ReplicaID, incarnation: Incarnation,
        configuration: ReplicaDriver.Configuration, seed: UInt64, now: Milliseconds,
        wrap: @escaping (Machine.Reply) -> MachineReply
    ) throws(EngineError) {
        // As every engine does when it is opened.
        try engine.sync()
        let table = try FamilyTable(engine: engine)
        let layout = try table.layout(of: gid)
        let view = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: ObservedMachine(machine), in: view)
        view.close()
        try table.sweepUnmapped()
        storage = opened.storage
        self.wrap = wrap
        let driver = ReplicaDriver(
            id: id, incarnation: incarnation, configuration: configuration, state: opened.state, seed: seed, now: now)
        super.init(layout: layout, engine: engine, familyTable: table, driver: driver)
    }

    override func execute(
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

    override var applied: AppliedState { storage.applied }
    override var families: [String: FamilyID] { storage.families }
}
