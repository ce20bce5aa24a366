internal import Bytes
public import Engines

/// The writing half of a replica: turns the driver's requests into one engine batch.
///
/// Pure as the driver: it reads from the batch's view and writes into the batch. The shell (or the simulator)
/// writes the batch and reports the outcomes, in order.
public struct GroupStorage<Machine: StateMachine>: Sendable {
    public let layout: GroupLayout
    public private(set) var machine: Machine
    public private(set) var applied: AppliedState
    public private(set) var membership: Membership
    public private(set) var families: [String: FamilyID]
    /// A known defect that is put back, for the simulator to find.
    package var plant: RaftCore.Plant?
    /// The entry after `applied` waits for this to be staged here; until then nothing is applied.
    private var waitsFor: String?

    /// What became of one request.
    public struct Outcome: Sendable {
        public var completion: WriteCompletion
        public var replies: [(token: UInt64, position: LogPosition, reply: Machine.Reply)]
        /// Commands that were not applied, because one before them, or they themselves, must wait.
        public var abandoned: [UInt64] = []
    }

    /// Opens what is on disk. The second half is what the driver needs to go on.
    public static func open(
        _ layout: GroupLayout, machine: Machine, in view: any ReadView
    ) throws(EngineError) -> (storage: GroupStorage, state: RestoredState) {
        let rows = try GroupStorageRows.load(layout, in: view)
        let (stored, unapplied) = try rows.log(layout, in: view)
        var storage = GroupStorage(
            layout: layout, machine: machine, applied: rows.applied, membership: rows.membership,
            families: rows.families)
        let batch = StorageBatch(view: view) { () throws(EngineError) -> FamilyID in
            throw .unsupported("creating families while opening")
        }
        var context = storage.context(batch)
        try storage.machine.load(in: &context)
        let state = RestoredState(
            hardState: rows.hardState, base: rows.base, stored: stored, unapplied: unapplied,
            applied: rows.applied.position, logTime: rows.applied.logTime, membership: rows.membership)
        return (storage, state)
    }

    private func context(_ batch: StorageBatch) -> ApplyContext {
        ApplyContext(
            storage: batch, layout: layout, logTime: applied.logTime, membership: membership, families: families)
    }

    /// Adds the request's writes to `batch`.
    public mutating func execute(
        _ request: WriteRequest, in batch: inout StorageBatch
    ) throws(EngineError) -> Outcome {
        batch.plant = plant
        if request.needsSync { batch.mustLog = true }
        if let hardState = request.hardState {
            batch.putLogged(layout.meta, GroupLayout.hardStateKey, hardState.encoded)
        }
        if let install = request.install {
            try flip(install, in: &batch)
        }
        append(request, in: &batch)
        var outcome = Outcome(completion: WriteCompletion(serial: request.serial), replies: [])
        if let waitsFor, let first = request.commands.first, first.entry.index != applied.position.index + 1 {
            // Issued before the driver heard that one before them waits.
            outcome.abandoned = request.commands.compactMap(\.token)
            outcome.completion.applied = applied.position
            outcome.completion.waitsFor = waitsFor
        } else if !request.commands.isEmpty {
            try apply(request.commands, in: &batch, outcome: &outcome)
        }
        if let position = request.compactThrough {
            batch.deleteRangeUnseen(layout.log, from: [0], to: GroupLayout.logKey(position.index + 1))
            batch.put(layout.meta, GroupLayout.baseKey, AppliedState(position: position, logTime: 0).encoded)
        }
        return outcome
    }

    private func append(_ request: WriteRequest, in batch: inout StorageBatch) {
        guard let first = request.entries.first else { return }
        if request.truncatesLog {
            batch.deleteRangeLoggedUnseen(layout.log, from: GroupLayout.logKey(first.index), to: nil)
        }
        for entry in request.entries {
            batch.putLoggedUnseen(layout.log, GroupLayout.logKey(entry.index), layout.logValue(entry))
        }
    }

    private mutating func apply(
        _ commands: [WriteRequest.Command], in batch: inout StorageBatch, outcome: inout Outcome
    ) throws(EngineError) {
        var context = context(batch)
        // The context owns the batch while it applies; a second reference would copy its tables.
        batch = StorageBatch(view: batch.view) { () throws(EngineError) -> FamilyID in throw .closed }
        outcome.replies.reserveCapacity(commands.count)
        waitsFor = nil
        for (number, command) in commands.enumerated() {
            let entry = command.entry
            let before = applied
            invariant(
                entry.index == applied.position.index + 1,
                "group \(layout.gid): entry \(entry.index) after applied \(applied.position)")
            applied.logTime = plant == .logTimeBackwards ? entry.stamp : max(applied.logTime, entry.stamp)
            applied.position = LogPosition(index: entry.index, term: entry.term)
            context.logTime = applied.logTime
            switch entry.kind {
            case .opening: break
            case .membership:
                if let changed = changedMembership(entry) {
                    membership = changed
                    context.membership = changed
                    context.storage.put(layout.meta, GroupLayout.membershipKey, changed.encoded)
                    // Quorums of members that are one change apart share a node. A replica that came back with
                    // members of several changes ago could elect a leader among those alone.
                    if plant != .membershipUnsynced { context.storage.mustSync = true }
                    outcome.completion.membership = changed
                }
            case .command:
                let reply = try machine.apply(entry, in: &context)
                if let name = context.waitsFor {
                    applied = before
                    waitsFor = name
                    outcome.completion.waitsFor = name
                    outcome.abandoned = commands[number...].compactMap(\.token)
                    break
                }
                if let token = command.token {
                    outcome.replies.append((token, applied.position, reply))
                }
            }
            if waitsFor != nil { break }
        }
        try machine.flush(in: &context)
        families = context.families
        context.storage.put(layout.meta, GroupLayout.appliedKey, applied.encoded)
        outcome.completion.applied = applied.position
        batch = context.storage
    }

    /// Recovery of a group that lost its quorum for good: these are the members, whatever the log says. What an entry
    /// waited for is waited for no more.
    mutating func force(_ members: Membership, in batch: inout StorageBatch) {
        membership = members
        waitsFor = nil
        batch.put(layout.meta, GroupLayout.membershipKey, members.encoded)
    }

    /// A change that no longer makes sense (made twice by two leaders) changes nothing, on every replica alike.
    private func changedMembership(_ entry: Entry) -> Membership? {
        guard let change = try? MembershipChange(encoded: entry.payload) else { return nil }
        return try? membership.applying(change, at: entry.index)
    }

    /// The one flip of a snapshot: replicated rows, family table, position and log, all in this batch.
    private mutating func flip(_ install: SnapshotInstall, in batch: inout StorageBatch) throws(EngineError) {
        let header = install.header
        invariant(header.families.count == install.families.count, "snapshot families don't match their header")
        for family in families.values.sorted() { batch.unmap(family) }
        let old = try batch.scan(layout.meta, lower: GroupLayout.replicatedLower, upper: nil, limit: .max)
        for row in old { batch.delete(layout.meta, row.key) }
        families = [:]
        for (name, family) in zip(header.families, install.families) {
            families[name] = family
            batch.put(layout.meta, GroupLayout.familyKey(name), bigEndianBytes(family.rawValue))
        }
        for row in header.stateRows { batch.put(layout.meta, row.key, row.value) }
        applied = header.applied
        membership = header.membership
        batch.put(layout.meta, GroupLayout.appliedKey, applied.encoded)
        batch.put(layout.meta, GroupLayout.membershipKey, membership.encoded)
        batch.put(
            layout.meta, GroupLayout.baseKey, AppliedState(position: applied.position, logTime: 0).encoded)
        let keepsRows = install.keepsLog || plant == .keepsOldLogRows
        batch.deleteRangeUnseen(
            layout.log, from: [0], to: keepsRows ? GroupLayout.logKey(applied.position.index + 1) : nil)
        if plant == .snapshotForgetsVote {
            batch.putLogged(layout.meta, GroupLayout.hardStateKey, HardState(term: header.term).encoded)
        }
        if install.keepsLog, let end = install.logEnd {
            batch.deleteRangeUnseen(
                layout.log, from: GroupLayout.logKey(max(end, applied.position.index) + 1), to: nil)
        }
        batch.mustSync = true
        waitsFor = nil
        var context = context(batch)
        try machine.load(in: &context)
    }
}
