internal import Bytes
public import Engines
internal import Synchronization

/// Hands out a directory's families: which groups live here, and physical numbers that are never used twice.
///
/// Row "next" of the node family is the lowest number that was never handed out; it grows in steps, ahead of
/// use, so that a number that was given and lost in a crash is not given again.
public final class FamilyTable: Sendable {
    /// The family of the table itself.
    public static let node = FamilyID(1)
    private static let nextKey = Array("next".utf8)
    private static let step: UInt64 = 64
    /// Spares that a sweep keeps.
    private static let sparesMax = 16

    private struct State {
        var next: UInt64
        var limit: UInt64
        var spares: [FamilyID] = []
    }

    private let engine: any StorageEngine
    private let state: Mutex<State>

    public init(engine: any StorageEngine) throws(EngineError) {
        self.engine = engine
        try engine.createFamily(Self.node)
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        var next = Self.node.rawValue + 1
        if let row = try snapshot.get(Self.node, key: Self.nextKey) {
            guard let stored = row.withUnsafeBytes({ bigEndianNumber($0) }) else {
                throw .corruption(place: "family table")
            }
            next = stored
        }
        state = Mutex(State(next: next, limit: next))
    }

    private static func groupKey(_ gid: UInt64) -> [UInt8] { Array("group/".utf8) + bigEndianBytes(gid) }

    /// The group's layout; made, durably, if it doesn't exist.
    public func layout(of gid: UInt64) throws(EngineError) -> GroupLayout {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        if let present = try Self.layout(of: gid, in: snapshot) { return present }
        let layout = GroupLayout(gid: gid, log: try take(), meta: try take())
        var batch = WriteBatch()
        batch.put(
            Self.node, key: Self.groupKey(gid),
            value: bigEndianBytes(layout.log.rawValue) + bigEndianBytes(layout.meta.rawValue))
        try engine.write(batch, durability: .synced)
        return layout
    }

    /// The layout of a group that a directory holds, read without changing anything; `nil` if it holds none.
    public static func layout(of gid: UInt64, in view: any ReadView) throws(EngineError) -> GroupLayout? {
        guard let row = try view.get(node, key: groupKey(gid)) else { return nil }
        return try layout(gid, row)
    }

    private static func layout(_ gid: UInt64, _ row: [UInt8]) throws(EngineError) -> GroupLayout {
        let numbers = row.withUnsafeBytes { bytes in
            (bigEndianNumber(bytes), bigEndianNumber(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(8))))
        }
        guard let log = numbers.0, let meta = numbers.1 else { throw .corruption(place: "family table") }
        return GroupLayout(gid: gid, log: FamilyID(log), meta: FamilyID(meta))
    }

    /// The groups of a directory, ordered by gid.
    public static func layouts(in view: any ReadView) throws(EngineError) -> [GroupLayout] {
        let prefix = Array("group/".utf8)
        var rows: [(gid: UInt64, row: [UInt8])] = []
        try view.scan(node, lower: prefix, upper: successor(ofPrefix: prefix)) { key, value in
            let gid = bigEndianNumber(UnsafeRawBufferPointer(rebasing: key.dropFirst(prefix.count)))
            if let gid { rows.append((gid, Array(value))) }
            return true
        }
        var layouts: [GroupLayout] = []
        for (gid, row) in rows { layouts.append(try layout(gid, row)) }
        return layouts
    }

    /// The lowest number that was never handed out; `nil` in a directory that has handed out none.
    public static func nextNumber(in view: any ReadView) throws(EngineError) -> UInt64? {
        guard let row = try view.get(node, key: nextKey) else { return nil }
        guard row.count == 8, let next = row.withUnsafeBytes({ bigEndianNumber($0) }) else {
            throw .corruption(place: "family table")
        }
        return next
    }

    /// A new, empty family that exists in the engine.
    public func take() throws(EngineError) -> FamilyID {
        if let spare = state.withLock({ $0.spares.popLast() }) { return spare }
        return try create()
    }

    /// Makes families ahead of need: some engines take tens of milliseconds for one.
    public func stock(_ count: Int) throws(EngineError) {
        while state.withLock({ $0.spares.count }) < count {
            let family = try create()
            state.withLock { $0.spares.append(family) }
        }
    }

    private func create() throws(EngineError) -> FamilyID {
        // The lock is held while the reservation is written: nobody may use a number that it covers before it is
        // on disk, and one that failed must be made again.
        let number = try state.withLock { (state) throws(EngineError) -> UInt64 in
            if state.next >= state.limit {
                let limit = state.next + Self.step
                var batch = WriteBatch()
                batch.put(Self.node, key: Self.nextKey, value: bigEndianBytes(limit))
                try engine.write(batch, durability: .synced)
                state.limit = limit
            }
            state.next += 1
            return state.next - 1
        }
        let family = FamilyID(number)
        try engine.createFamily(family)
        return family
    }

    /// Removes every family that no group of this directory maps. Once after opening, before any host starts; empty
    /// ones stay as spares.
    public func sweepUnmapped() throws(EngineError) { try sweepUnmapped(plant: nil) }

    package func sweepUnmapped(plant: RaftCore.Plant?) throws(EngineError) {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        var mapped: Set<FamilyID> = []
        for layout in try Self.layouts(in: snapshot) {
            mapped.formUnion([layout.log, layout.meta])
            let rows = try GroupStorageRows.load(layout, in: snapshot)
            mapped.formUnion(rows.families.values)
            if plant != .sweepsStaged { mapped.formUnion(rows.staged.values.compactMap(\.family)) }
        }
        for family in try engine.families() where family != Self.node && !mapped.contains(family) {
            let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false, reading: .keys)
            let isEmpty = try cursor.next { _, _ in true } == nil
            if isEmpty, state.withLock({ $0.spares.count }) < Self.sparesMax {
                state.withLock { $0.spares.append(family) }
            } else {
                try engine.dropFamily(family)
            }
        }
    }

    /// Removes every family that nothing maps: what a crash left between creating and mapping, or between
    /// unmapping and dropping. Only while opening.
    package func sweep(mapped: Set<FamilyID>) throws(EngineError) {
        for family in try engine.families() where family != Self.node && !mapped.contains(family) {
            try engine.dropFamily(family)
        }
    }
}
