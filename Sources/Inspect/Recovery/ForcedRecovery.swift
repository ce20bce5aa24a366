public import Engines
internal import Keyspace
public import RaftLog
internal import Sharding

/// A stopped node whose group has lost its quorum for good: what it holds, and how it goes on as the only member.
///
/// Locks the directory for as long as it lives.
public final class ForcedRecovery {
    public let directory: NodeDirectory
    public let group: GroupRecovery
    /// Earlier recoveries of this directory.
    public let notes: [RecoveryNote]
    /// What is not staged here although entries of the log map it.
    public let missing: [String]
    /// Shards by state, in words; empty for a controller.
    public let shards: [String]

    public var identity: DirectoryIdentity { directory.identity }

    /// Looks at a stopped node's directory; changes nothing in it.
    public init(_ path: String) throws(EngineError) {
        directory = try NodeDirectory.openStopped(path)
        let identity = directory.identity
        if let place = identity.movedTo { throw .mismatch("the node of \(path) lives in \(place) now; recover that") }
        if identity.isCopy == true {
            throw .mismatch(
                "\(path) is a copy of \(identity.summary), which may have voted and written since; recover the original"
            )
        }
        guard let incarnation = Incarnation(hex: identity.incarnation) else {
            throw .corruption(place: "\(path)/FLOTILLA: incarnation")
        }
        let engine = try identity.engine.open(directory.enginePath, readOnly: true)
        let view = try engine.snapshot()
        defer { view.close() }
        guard let layout = try FamilyTable.layout(of: identity.groupId, in: view) else {
            throw .mismatch("\(path) holds nothing of \(identity.summary): it has never been a member")
        }
        group = try GroupRecovery(layout, id: ReplicaID(identity.nodeId), incarnation: incarnation, in: view)
        notes = try layout.recoveries(in: view)
        if group.obstacle == nil {
            // Families that the entries would make get numbers that no family has.
            var number = (try engine.families().map(\.rawValue).max() ?? 0) + 1
            var batch = StorageBatch(view: view) { () throws(EngineError) -> FamilyID in
                number += 1
                return FamilyID(number)
            }
            missing =
                identity.role == "controller"
                ? try group.rehearse(ControllerMachine(), in: &batch) : try group.rehearse(GroupMachine(), in: &batch)
        } else {
            missing = []
        }
        shards = identity.role == "controller" ? [] : try Self.describe(GroupReader(layout, in: view))
        view.close()
        try engine.close()
    }

    private static func describe(_ reader: GroupReader) throws(EngineError) -> [String] {
        let records = try reader.records().sorted { $0.key < $1.key }
        var lines: [String] = []
        let serving = records.filter { $0.value.state == .serving }.map { "\($0.key)" }
        lines.append("serving \(serving.isEmpty ? "none" : serving.joined(separator: ", "))")
        for (shard, record) in records {
            if case .frozen(let target, let epoch) = record.state {
                lines.append("\(shard) frozen for group \(target) under epoch \(epoch)")
            }
        }
        for staged in try reader.stagedShards().sorted(by: { ($0.shard, $0.epoch) < ($1.shard, $1.epoch) }) {
            lines.append("\(staged.shard) staged under epoch \(staged.epoch)")
        }
        return lines
    }

    /// A recovery that a crash has left between its two steps.
    public var unfinished: RecoveryNote? {
        notes.last { $0.isUnfinished(in: group.rows.membership, id: group.id, incarnation: group.incarnation) }
    }

    /// Why this node can't be recovered, in a sentence with the remedy; `nil` if it can.
    public var refusal: String? {
        if unfinished != nil { return nil }
        let who = identity.summary
        switch group.obstacle {
        case nil: return nil
        case .nothingHere?:
            return "\(directory.path) holds no rows of \(who): it was never a member; recover another node of the group"
        case .notVoter?:
            return "\(who) has no vote in its group, and its log may lack what was acknowledged; recover a voter"
        case .onlyVoter?: return "\(who) is the only voter of its group already; start it"
        }
    }

    /// Makes the node the only member. Durable when it returns; called again after a crash it finishes what was begun.
    ///
    /// - Parameters:
    ///   - life: a new incarnation, drawn for this.
    ///   - time: Unix milliseconds.
    public func force(life: Incarnation, time: Milliseconds) throws(EngineError) -> RecoveryNote {
        if let refusal { throw .mismatch(refusal) }
        if let unfinished {
            try directory.renew(incarnation: unfinished.life.description)
            return unfinished
        }
        let engine = try directory.openEngine()
        let families = try FamilyTable(engine: engine)
        let view = try engine.snapshot()
        defer { view.close() }
        var batch = StorageBatch(view: view) { () throws(EngineError) in try families.take() }
        let note =
            identity.role == "controller"
            ? try group.recover(ControllerMachine(), life: life, time: time, in: &batch)
            : try group.recover(GroupMachine(), life: life, time: time, in: &batch)
        try engine.write(batch.batch, durability: .synced)
        view.close()
        // Families that the batch unmapped are swept when the node starts.
        try engine.close()
        try directory.renew(incarnation: life.description)
        return note
    }
}
