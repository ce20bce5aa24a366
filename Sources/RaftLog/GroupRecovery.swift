public import Bytes
public import Engines

/// A stopped replica of a group that has lost its quorum for good, and how it goes on alone. Pure.
///
/// Raft can't continue such a group: what a majority has acknowledged may lie only with those who are lost. Going on with
/// one survivor gives that up, knowingly. It is done once, by an operator, in one batch:
///  - Everything in the survivor's log counts as committed and is applied as any replica would, so that what the lost
///    majority had committed, and the survivor has, has the effect that it had there. Changes of members among it
///    are applied like the rest and then overruled.
///  - An entry of a new term ends the log, as if the survivor had been elected by itself. At its index the survivor
///    becomes the only member, so that whoever compares indexes of memberships takes this one for the newest.
///  - The survivor gets a new incarnation. Members of the old group that come back speak to the old one, and so aren't
///    heard; nothing that they say can take back what the survivor did.
///
/// Two of three that come back with their old directories are still a majority of the old group. Nothing here can stop
/// them from electing a leader: their directories must be wiped.
public struct GroupRecovery: Sendable {
    public let layout: GroupLayout
    public let id: ReplicaID
    public let incarnation: Incarnation
    public let rows: GroupStorageRows
    /// In the log and not known here to be committed.
    public let unapplied: [Entry]

    /// Reads the replica of a directory; nothing is changed.
    public init(
        _ layout: GroupLayout, id: ReplicaID, incarnation: Incarnation, in view: any ReadView
    ) throws(EngineError) {
        self.layout = layout
        self.id = id
        self.incarnation = incarnation
        rows = try GroupStorageRows.load(layout, in: view)
        unapplied = try rows.log(layout, in: view).unapplied
    }

    /// The log's end.
    public var last: LogPosition {
        unapplied.last.map { LogPosition(index: $0.index, term: $0.term) } ?? rows.applied.position
    }

    /// Changes of members in the log that are not applied here.
    public var pendingChanges: [(index: LogIndex, change: MembershipChange)] {
        unapplied.filter { $0.kind == .membership }.compactMap { entry in
            (try? MembershipChange(encoded: entry.payload)).map { (entry.index, $0) }
        }
    }

    /// The members at the end of the log.
    public var finalMembership: Membership {
        pendingChanges.reduce(rows.membership) { members, pending in
            (try? members.applying(pending.change, at: pending.index)) ?? members
        }
    }

    /// Who will be thrown out: everyone else who is a member now or at the end of the log.
    public var lost: [Member] {
        let current = rows.membership.members.filter { $0.id != id }
        let later = finalMembership.members.filter { member in
            member.id != id && !current.contains { $0.id == member.id && $0.incarnation == member.incarnation }
        }
        return (current + later).sorted { ($0.id, $0.address) < ($1.id, $1.address) }
    }

    /// This replica as a member: now, or at the end of the log.
    private var own: Member? {
        [rows.membership, finalMembership].compactMap { $0[id] }
            .first { $0.standing == .voter && $0.incarnation == incarnation }
    }

    /// What speaks against a recovery.
    public enum Obstacle: Sendable, Equatable {
        /// The directory holds no member's rows.
        case nothingHere
        case notVoter
        /// It decides alone already: it only needs to be started.
        case onlyVoter
    }

    public var obstacle: Obstacle? {
        if rows.membership.members.isEmpty { return .nothingHere }
        if own == nil { return .notVoter }
        if rows.membership.voters == [id], pendingChanges.isEmpty { return .onlyVoter }
        return nil
    }

    /// Executes the whole log in `batch`, which may be thrown away afterwards.
    ///
    /// - Returns: what is not staged here although entries map it. They are void, unless this replica isn't recovered.
    public func rehearse<Machine: StateMachine>(
        _ machine: Machine, in batch: inout StorageBatch
    ) throws(EngineError) -> [String] {
        try applyAll(machine, life: Incarnation(high: 0, low: 0), in: &batch).missing
    }

    /// The one batch of a recovery; it must be synced. Call it only if there is no `obstacle`. The directory's identity
    /// takes the new incarnation after that (`RecoveryNote.isUnfinished` says if it didn't come to it).
    ///
    /// - Parameters:
    ///   - life: the survivor's new incarnation, never used before.
    ///   - time: Unix milliseconds, for the note alone.
    public func recover<Machine: StateMachine>(
        _ machine: Machine, life: Incarnation, time: Milliseconds, in batch: inout StorageBatch
    ) throws(EngineError) -> RecoveryNote {
        var (storage, missing) = try applyAll(machine, life: life, in: &batch)
        let term = max(rows.hardState.term, last.term) + 1
        let opening = Entry(index: last.index + 1, term: term, kind: .opening, stamp: 0, payload: [])
        var request = WriteRequest(serial: 0)
        request.hardState = HardState(term: term, vote: id)
        request.entries = [opening]
        request.commands = [.init(entry: opening, token: nil)]
        _ = try storage.execute(request, in: &batch)
        storage.force(alone(life, at: opening.index), in: &batch)
        batch.mustSync = true
        let note = RecoveryNote(
            time: time, index: opening.index, applied: rows.applied.position, last: last, before: rows.membership,
            oldLife: incarnation, life: life, missing: missing)
        batch.put(layout.meta, note.key, note.encoded)
        return note
    }

    private func alone(_ life: Incarnation, at index: LogIndex) -> Membership {
        let address = own?.address ?? ""
        return Membership(
            members: [Member(id: id, address: address, incarnation: life, standing: .voter)], index: index)
    }

    private func applyAll<Machine: StateMachine>(
        _ machine: Machine, life: Incarnation, in batch: inout StorageBatch
    ) throws(EngineError) -> (storage: GroupStorage<Machine>, missing: [String]) {
        var (storage, _) = try GroupStorage.open(layout, machine: machine, in: batch.view)
        var missing: [String] = []
        var rest = unapplied[...]
        while !rest.isEmpty {
            var request = WriteRequest(serial: 0)
            request.commands = rest.map { .init(entry: missing.isEmpty ? $0 : $0.withoutChange, token: nil) }
            guard let name = try storage.execute(request, in: &batch).completion.waitsFor else { break }
            // Nobody is left to bring it. Before a membership of this new life alone the entry is void, and so the
            // machine says the same on whoever joins later; changes of members after it must not bring the others back.
            missing.append(name)
            let position = storage.applied.position.index
            if storage.membership == alone(life, at: position) {
                throw .unsupported(
                    "going on without \(name), which entry \(position + 1) needs whoever the members are")
            }
            rest = rest.drop { $0.index <= position }
            storage.force(alone(life, at: position), in: &batch)
        }
        return (storage, missing)
    }
}

extension Entry {
    /// The entry as it counts once the members are decided by force.
    fileprivate var withoutChange: Entry {
        var entry = self
        if kind == .membership {
            entry.kind = .opening
            entry.payload = []
        }
        return entry
    }
}

/// That a membership was made by force, in the survivor's own rows for ever (docs/formats.md, "Recovery note").
public struct RecoveryNote: Sendable, Equatable {
    /// Unix milliseconds.
    public var time: Milliseconds
    /// The index at which the survivor became the only member.
    public var index: LogIndex
    /// What was known to be committed.
    public var applied: LogPosition
    /// Where the log ended.
    public var last: LogPosition
    /// The members as they were applied.
    public var before: Membership
    public var oldLife: Incarnation
    public var life: Incarnation
    /// What entries mapped and was not staged here.
    public var missing: [String]

    var key: [UInt8] { [GroupLayout.recoveryPrefix] + bigEndianBytes(index) }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.byte(1)
        writer.varint(time)
        writer.varint(index)
        for position in [applied, last] {
            writer.varint(position.index)
            writer.varint(position.term)
        }
        writer.blob(before.encoded)
        writer.bytes += oldLife.bytes + life.bytes
        writer.varint(missing.count)
        for name in missing { writer.string(name) }
        return writer.bytes
    }

    public init(
        time: Milliseconds, index: LogIndex, applied: LogPosition, last: LogPosition, before: Membership,
        oldLife: Incarnation, life: Incarnation, missing: [String]
    ) {
        self.time = time
        self.index = index
        self.applied = applied
        self.last = last
        self.before = before
        self.oldLife = oldLife
        self.life = life
        self.missing = missing
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "recovery note")
        guard try reader.byte() == 1 else { throw CodingError("recovery note (unknown version)") }
        time = try reader.varint()
        index = try reader.varint()
        applied = LogPosition(index: try reader.varint(), term: try reader.varint())
        last = LogPosition(index: try reader.varint(), term: try reader.varint())
        before = try Membership(encoded: try reader.blob())
        oldLife = try Incarnation(from: &reader)
        life = try Incarnation(from: &reader)
        missing = []
        for _ in 0..<(try reader.count()) { missing.append(try reader.string()) }
        try reader.finish()
    }

    /// The directory still goes by the life before: the crash that left it so came between the batch and the identity.
    public func isUnfinished(in membership: Membership, id: ReplicaID, incarnation: Incarnation) -> Bool {
        incarnation == oldLife && membership[id]?.incarnation == life
    }
}

extension GroupLayout {
    /// Every recovery by force of this replica, the oldest first.
    public func recoveries(in view: any ReadView) throws(EngineError) -> [RecoveryNote] {
        let prefix = [Self.recoveryPrefix]
        var values: [[UInt8]] = []
        try view.scan(meta, lower: prefix, upper: successor(ofPrefix: prefix)) { _, value in
            values.append(Array(value))
            return true
        }
        var notes: [RecoveryNote] = []
        for value in values {
            do throws(CodingError) { notes.append(try RecoveryNote(encoded: value)) } catch {
                throw .corruption(place: "meta of group \(gid): \(error.place)")
            }
        }
        return notes
    }
}
