internal import Bytes
public import Engines

/// A family that was loaded beside the log, waiting for an entry that maps it.
///
/// Its row is this replica's own: the log names what must be staged, each replica stages it by itself, and no
/// snapshot carries it. The row is on disk before anyone hears that the family is there.
public struct StagedFamily: Sendable, Equatable {
    /// None if there is nothing in it.
    public var family: FamilyID?
    /// What the state machine wants to know of it when it maps it.
    public var note: [UInt8]

    public init(family: FamilyID?, note: [UInt8]) {
        self.family = family
        self.note = note
    }

    var row: [UInt8] { bigEndianBytes(family?.rawValue ?? 0) + note }

    init(row: [UInt8], name: String) throws(EngineError) {
        guard row.count >= 8, let number = row.withUnsafeBytes({ bigEndianNumber($0) }) else {
            throw .corruption(place: "the row of the staged family \(name)")
        }
        family = number == 0 ? nil : FamilyID(number)
        note = Array(row.dropFirst(8))
    }
}

extension GroupLayout {
    /// What is staged in this directory.
    public func stagedFamilies(in view: any ReadView) throws(EngineError) -> [String: StagedFamily] {
        let prefix = [Self.stagedPrefix]
        var rows: [(name: String, row: [UInt8])] = []
        try view.scan(meta, lower: prefix, upper: successor(ofPrefix: prefix)) { key, value in
            rows.append((String(decoding: key.dropFirst(), as: UTF8.self), Array(value)))
            return true
        }
        var staged: [String: StagedFamily] = [:]
        for (name, row) in rows { staged[name] = try StagedFamily(row: row, name: name) }
        return staged
    }

    public func staged(_ name: String, in view: any ReadView) throws(EngineError) -> StagedFamily? {
        guard let row = try view.get(meta, key: Self.stagedKey(name)) else { return nil }
        return try StagedFamily(row: row, name: name)
    }

    /// Notes a staged family. The batch must be synced before anyone hears of it.
    public func putStaged(_ name: String, _ staged: StagedFamily, in batch: inout WriteBatch) {
        batch.put(meta, key: Self.stagedKey(name), value: staged.row)
    }

    public func deleteStaged(_ name: String, in batch: inout WriteBatch) {
        batch.delete(meta, key: Self.stagedKey(name))
    }
}
