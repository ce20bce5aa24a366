public import Bytes
public import Engines

/// What a snapshot is, apart from its families' contents.
public struct SnapshotHeader: Sendable, Equatable {
    public var applied: AppliedState
    /// The term of the replica that made it, which is not below that of `applied`: what it holds was committed in this
    /// term or before, so leaders of earlier ones may lack it.
    public var term: Term
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
        let namesTerm = term > applied.position.term
        writer.byte(namesTerm ? 2 : 1)
        writer.blob(applied.encoded)
        writer.blob(membership.encoded)
        if namesTerm { writer.varint(term) }
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
        let version = try reader.byte()
        guard version == 1 || version == 2 else { throw CodingError("snapshot header (unknown version)") }
        applied = try AppliedState(encoded: try reader.blob())
        membership = try Membership(encoded: try reader.blob())
        term = applied.position.term
        if version == 2 { term = max(term, try reader.varint()) }
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
            applied: loaded.applied, membership: loaded.membership, stateRows: rows, families: named.map(\.key),
            term: loaded.hardState.term)
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

    /// - Parameter term: of who made it; counts if it is above that of `applied`.
    public init(
        applied: AppliedState, membership: Membership, stateRows: [Row], families: [String], term: Term = 0
    ) {
        self.applied = applied
        self.term = max(term, applied.position.term)
        self.membership = membership
        self.stateRows = stateRows
        self.families = families
    }
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
