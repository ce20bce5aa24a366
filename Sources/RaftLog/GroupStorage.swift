public import Bytes
public import Engines

/// One piece of work for a replica's disk, in the order in which the driver issued it.
public struct WriteRequest: Sendable {
    public struct Command: Sendable {
        public var entry: Entry
        /// Set in the replica that proposed the entry and still owes an answer.
        public var token: UInt64?

        public init(entry: Entry, token: UInt64? = nil) {
            self.entry = entry
            self.token = token
        }
    }

    /// Completions come back with it, in order.
    public var serial: UInt64
    public var hardState: HardState?
    /// Entries to append. If they replace others, `truncatesLog` is set and everything from the first on goes.
    public var entries: [Entry] = []
    public var truncatesLog = false
    /// Committed entries to apply.
    public var commands: [Command] = []
    /// The log up to here is no longer needed.
    public var compactThrough: LogPosition?
    public var install: SnapshotInstall?

    public init(serial: UInt64) { self.serial = serial }

    /// A promise depends on it: it must be on disk before its completion is reported.
    public var needsSync: Bool { hardState != nil || !entries.isEmpty || install != nil }
}

/// A snapshot whose families are loaded and durable, ready to be flipped in.
public struct SnapshotInstall: Sendable {
    public var header: SnapshotHeader
    /// The families of `header`, in its order, as loaded here.
    public var families: [FamilyID]
    /// The log here holds the snapshot's position, and what comes after it stays. The driver decides.
    public var keepsLog = false
    /// The last index of the log that is kept, where the disk may hold more.
    public var logEnd: LogIndex?

    public init(header: SnapshotHeader, families: [FamilyID]) {
        self.header = header
        self.families = families
    }
}

/// What a snapshot is, apart from its families' contents.
public struct SnapshotHeader: Sendable, Equatable {
    public var applied: AppliedState
    public var membership: Membership
    /// The state machine's rows.
    public var stateRows: [Row]
    /// Logical names of the families that follow.
    public var families: [String]

    public struct Row: Sendable, Equatable {
        public var key: [UInt8]
        public var value: [UInt8]

        public init(key: [UInt8], value: [UInt8]) {
            self.key = key
            self.value = value
        }
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.byte(1)
        writer.blob(applied.encoded)
        writer.blob(membership.encoded)
        writer.varint(stateRows.count)
        for row in stateRows {
            writer.blob(row.key)
            writer.blob(row.value)
        }
        writer.varint(families.count)
        for name in families { writer.string(name) }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "snapshot header")
        guard try reader.byte() == 1 else { throw CodingError("snapshot header (unknown version)") }
        applied = try AppliedState(encoded: try reader.blob())
        membership = try Membership(encoded: try reader.blob())
        stateRows = []
        for _ in 0..<(try reader.count()) { stateRows.append(Row(key: try reader.blob(), value: try reader.blob())) }
        families = []
        for _ in 0..<(try reader.count()) { families.append(try reader.string()) }
        try reader.finish()
    }

    /// Reads the header of a snapshot as `view` sees the group, and the physical families that belong to it.
    public static func read(
        _ layout: GroupLayout, in view: any ReadView
    ) throws(EngineError) -> (header: SnapshotHeader, families: [FamilyID]) {
        let loaded = try GroupStorageRows.load(layout, in: view)
        var rows: [Row] = []
        let cursor = try view.cursor(
            layout.meta, lower: [GroupLayout.statePrefix], upper: [GroupLayout.statePrefix + 1], reverse: false)
        while let row = try cursor.next({ Row(key: Array($0), value: Array($1)) }) { rows.append(row) }
        let named = loaded.families.sorted { $0.key < $1.key }
        let header = SnapshotHeader(
            applied: loaded.applied, membership: loaded.membership, stateRows: rows, families: named.map(\.key))
        return (header, named.map(\.value))
    }

    /// The replicated rows of a meta family that holds this, in order of their keys. `families`: a number for each name.
    public func metaRows(families numbers: [FamilyID]) -> [(key: [UInt8], value: [UInt8])] {
        var rows = [
            (key: GroupLayout.appliedKey, value: applied.encoded),
            (key: GroupLayout.membershipKey, value: membership.encoded),
        ]
        for (name, number) in zip(families, numbers) {
            rows.append((GroupLayout.familyKey(name), bigEndianBytes(number.rawValue)))
        }
        for row in stateRows { rows.append((row.key, row.value)) }
        return rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }
    }

    public init(applied: AppliedState, membership: Membership, stateRows: [Row], families: [String]) {
        self.applied = applied
        self.membership = membership
        self.stateRows = stateRows
        self.families = families
    }
}

/// A group's rows apart from its log, as an engine holds them.
public struct GroupStorageRows: Sendable {
    public var hardState = HardState()
    public var base = LogPosition.zero
    public var applied = AppliedState(position: .zero, logTime: 0)
    public var membership = Membership.none
    public var families: [String: FamilyID] = [:]
    /// Families that are staged here, by name; the group's state doesn't know them.
    public var staged: [String: StagedFamily] = [:]
    public var bootstrap: [UInt8]?

    /// Those of a group that has none yet.
    public init() {}

    public static func load(_ layout: GroupLayout, in view: any ReadView) throws(EngineError) -> GroupStorageRows {
        var rows = GroupStorageRows()
        func row<Value>(
            _ key: [UInt8], _ decode: ([UInt8]) throws(CodingError) -> Value
        ) throws(EngineError) -> Value? {
            guard let bytes = try view.get(layout.meta, key: key) else { return nil }
            do { return try decode(bytes) } catch {
                throw .corruption(place: "meta of group \(layout.gid): \(error.place)")
            }
        }
        if let hard = try row(GroupLayout.hardStateKey, HardState.init(encoded:)) { rows.hardState = hard }
        if let base = try row(GroupLayout.baseKey, AppliedState.init(encoded:)) { rows.base = base.position }
        if let applied = try row(GroupLayout.appliedKey, AppliedState.init(encoded:)) { rows.applied = applied }
        if let members = try row(GroupLayout.membershipKey, Membership.init(encoded:)) { rows.membership = members }
        rows.bootstrap = try view.get(layout.meta, key: GroupLayout.bootstrapKey)
        let prefix = [GroupLayout.familyPrefix]
        let cursor = try view.cursor(layout.meta, lower: prefix, upper: successor(ofPrefix: prefix), reverse: false)
        while let (name, number) = try cursor.next({ (Array($0.dropFirst()), bigEndianNumber($1)) }) {
            guard let name = String(validating: name, as: UTF8.self), let number else {
                throw .corruption(place: "family table of group \(layout.gid)")
            }
            rows.families[name] = FamilyID(number)
        }
        rows.staged = try layout.stagedFamilies(in: view)
        return rows
    }

    /// The log above the base: positions of what is applied, and the entries that are not. A gap, or an end before what
    /// is applied, is damage.
    func log(
        _ layout: GroupLayout, in view: any ReadView
    ) throws(EngineError) -> (stored: [LogPosition], unapplied: [Entry]) {
        var stored: [LogPosition] = []
        var unapplied: [Entry] = []
        let cursor = try view.cursor(
            layout.log, lower: GroupLayout.logKey(base.index + 1), upper: nil, reverse: false)
        while let (index, value) = try cursor.next({ (bigEndianNumber($0) ?? 0, Array($1)) }) {
            let expected = base.index + LogIndex(stored.count + unapplied.count) + 1
            guard index == expected else {
                throw .corruption(place: "log of group \(layout.gid): entry \(expected) is missing")
            }
            let entry = try layout.decode(index, value)
            if index <= applied.position.index {
                stored.append(LogPosition(index: index, term: entry.term))
            } else {
                unapplied.append(entry)
            }
        }
        let last = base.index + LogIndex(stored.count + unapplied.count)
        guard applied.position.index <= last, applied.position.index >= base.index else {
            throw .corruption(
                place: "group \(layout.gid): applied \(applied.position), but the log is \(base)...\(last)")
        }
        return (stored, unapplied)
    }
}

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
            applied: rows.applied.position, membership: rows.membership)
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
            precondition(
                entry.index == applied.position.index + 1,
                "group \(layout.gid): entry \(entry.index) after applied \(applied.position)")
            applied.logTime = max(applied.logTime, entry.stamp)
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
                    context.storage.mustSync = true
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
        precondition(header.families.count == install.families.count, "snapshot families don't match their header")
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
        batch.deleteRangeUnseen(
            layout.log, from: [0], to: install.keepsLog ? GroupLayout.logKey(applied.position.index + 1) : nil)
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

/// What the driver starts from.
public struct RestoredState: Sendable {
    public var hardState: HardState
    public var base: LogPosition
    public var stored: [LogPosition]
    public var unapplied: [Entry]
    public var applied: LogPosition
    public var membership: Membership

    package init(
        hardState: HardState, base: LogPosition, stored: [LogPosition], unapplied: [Entry], applied: LogPosition,
        membership: Membership
    ) {
        self.hardState = hardState
        self.base = base
        self.stored = stored
        self.unapplied = unapplied
        self.applied = applied
        self.membership = membership
    }
}

/// What the driver hears of a request that has been written.
public struct WriteCompletion: Sendable {
    public var serial: UInt64
    public var applied: LogPosition?
    public var membership: Membership?
    /// The entry after `applied` can't be applied: this isn't staged here.
    public var waitsFor: String?

    package init(serial: UInt64, applied: LogPosition? = nil, membership: Membership? = nil, waitsFor: String? = nil) {
        self.serial = serial
        self.applied = applied
        self.membership = membership
        self.waitsFor = waitsFor
    }
}
