internal import Bytes
public import Engines

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

/// What the driver starts from.
public struct RestoredState: Sendable {
    public var hardState: HardState
    public var base: LogPosition
    public var stored: [LogPosition]
    public var unapplied: [Entry]
    public var applied: LogPosition
    /// The latest stamp up to `applied`.
    public var logTime: Milliseconds
    public var membership: Membership

    package init(
        hardState: HardState, base: LogPosition, stored: [LogPosition], unapplied: [Entry], applied: LogPosition,
        logTime: Milliseconds = 0, membership: Membership
    ) {
        self.logTime = logTime
        self.hardState = hardState
        self.base = base
        self.stored = stored
        self.unapplied = unapplied
        self.applied = applied
        self.membership = membership
    }
}
