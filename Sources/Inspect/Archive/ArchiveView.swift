public import Engines
public import RaftLog

/// A group of an archive under the same protocol as an engine's snapshot, so that whatever reads a group reads both.
///
/// An archive has no log, no vote and no staged shards; the meta family is put together from the header.
public final class ArchiveView: ReadView {
    public let layout: GroupLayout
    public let header: SnapshotHeader
    private let meta: [(key: [UInt8], value: [UInt8])]
    private let families: [FamilyID: PortableFamily]

    private static let log = FamilyID(2)
    private static let metaFamily = FamilyID(3)
    private static let firstFamily: UInt64 = 16

    init(_ archive: Archive, _ group: ArchiveManifest.Group) throws(EngineError) {
        layout = GroupLayout(gid: group.gid, log: Self.log, meta: Self.metaFamily)
        header = try archive.header(of: group)
        var numbers: [FamilyID] = []
        var opened: [FamilyID: PortableFamily] = [:]
        for (number, family) in group.families.enumerated() {
            let id = FamilyID(Self.firstFamily + UInt64(number))
            numbers.append(id)
            opened[id] = try PortableFamily(family.manifest, in: archive.directory(of: family, in: group))
        }
        families = opened
        meta = header.metaRows(families: numbers)
    }

    public func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]? {
        switch family {
        case Self.log: return nil
        case Self.metaFamily: return meta.first { $0.key == key }?.value
        default: return try portable(family).get(key)
        }
    }

    public func cursor(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool
    ) throws(EngineError) -> any Cursor {
        switch family {
        case Self.log: return RowsCursor([])
        case Self.metaFamily:
            let rows = meta.filter { row in
                !row.key.lexicographicallyPrecedes(lower) && upper.map { row.key.lexicographicallyPrecedes($0) } ?? true
            }
            return RowsCursor(reverse ? rows.reversed() : rows)
        default: return try portable(family).cursor(lower: lower, upper: upper, reverse: reverse)
        }
    }

    private func portable(_ family: FamilyID) throws(EngineError) -> PortableFamily {
        guard let found = families[family] else { throw .familyMissing(family) }
        return found
    }
}

private final class RowsCursor: Cursor {
    private var rows: ArraySlice<(key: [UInt8], value: [UInt8])>

    init(_ rows: [(key: [UInt8], value: [UInt8])]) { self.rows = rows[...] }

    func next<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
    ) throws(EngineError) -> Result? {
        guard let row = rows.popFirst() else { return nil }
        return row.key.withUnsafeBytes { key in row.value.withUnsafeBytes { body(key, $0) } }
    }
}
