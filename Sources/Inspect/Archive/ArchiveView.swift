public import Engines
internal import Keyspace
public import RaftLog

/// A group of an archive under the same protocol as an engine's snapshot, so that whatever reads a group reads both.
///
/// An archive has no log, no vote and no staged shards; the meta family is put together from the header.
public final class ArchiveView: ReadView {
    public let layout: GroupLayout
    public let header: SnapshotHeader
    /// In order.
    private let meta: [(key: [UInt8], value: [UInt8])]
    private let families: [FamilyID: PortableFamily]

    private static let log = FamilyID(2)
    private static let metaFamily = FamilyID(3)
    private static let firstFamily: UInt64 = 16

    init(_ archive: Archive, _ group: ArchiveManifest.Group) throws(EngineError) {
        layout = GroupLayout(gid: group.gid.rawValue, log: Self.log, meta: Self.metaFamily)
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
        case Self.metaFamily:
            let at = lowerBound(key)
            return at < meta.count && meta[at].key == key ? meta[at].value : nil
        default: return try portable(family).get(key)
        }
    }

    public func cursor(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents
    ) throws(EngineError) -> any Cursor {
        switch family {
        case Self.log: return RowsCursor([], contents)
        case Self.metaFamily:
            let (first, end) = (lowerBound(lower), upper.map { lowerBound($0) } ?? meta.count)
            let rows = Array(meta[first..<max(first, end)])
            return RowsCursor(reverse ? rows.reversed() : rows, contents)
        default: return try portable(family).cursor(lower: lower, upper: upper, reverse: reverse, reading: contents)
        }
    }

    /// The first row of the meta family whose key is not below `key`.
    private func lowerBound(_ key: [UInt8]) -> Int {
        var (low, high) = (0, meta.count)
        while low < high {
            let middle = (low + high) / 2
            if meta[middle].key.lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func portable(_ family: FamilyID) throws(EngineError) -> PortableFamily {
        guard let found = families[family] else { throw .familyMissing(family) }
        return found
    }
}

private final class RowsCursor: Cursor {
    private var rows: ArraySlice<(key: [UInt8], value: [UInt8])>

    private let contents: CursorContents
    /// The header is in memory.
    var valueBytesRead: Int { 0 }

    init(_ rows: [(key: [UInt8], value: [UInt8])], _ contents: CursorContents) {
        self.rows = rows[...]
        self.contents = contents
    }

    func next<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
    ) throws(EngineError) -> Result? {
        guard let row = rows.popFirst() else { return nil }
        return row.key.withUnsafeBytes { key in
            contents == .pairs ? row.value.withUnsafeBytes { body(key, $0) } : body(key, .noValue)
        }
    }
}
