internal import Bytes
public import Engines

/// A batch under construction, and the state that it will make: the engine's snapshot overlaid with the
/// batch's own writes. Shared by all groups whose work goes into one engine write.
public struct StorageBatch {
    let view: any ReadView
    public private(set) var batch = WriteBatch()
    private var overlay: [FamilyID: [[UInt8]: [UInt8]?]] = [:]
    /// Families that hold nothing in `view` because they are younger than it.
    private var fresh: Set<FamilyID> = []
    /// Families that are no longer mapped once the batch is on disk.
    public internal(set) var unmapped: [FamilyID] = []
    /// Families were made for the batch.
    public var tookFamilies: Bool { !fresh.isEmpty }
    /// Everything in the batch must be on disk before anyone hears of it.
    public internal(set) var mustSync = false
    /// What is put or deleted as logged must be. The rest are effects of the log, here or in earlier batches, and may
    /// lag behind it (decision 0018).
    var mustLog = false
    public var durability: Durability { mustSync ? .synced : mustLog ? .logged : .buffered }
    /// A known defect that is put back, for the simulator to find.
    var plant: RaftCore.Plant?
    /// Gives a new, empty family that exists in the engine.
    private let newFamily: () throws(EngineError) -> FamilyID

    public init(view: any ReadView, newFamily: @escaping () throws(EngineError) -> FamilyID) {
        self.view = view
        self.newFamily = newFamily
        batch.mayLag = true
    }

    func get(_ family: FamilyID, _ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        if let rows = overlay[family], let written = rows[key] { return written }
        if fresh.contains(family) { return nil }
        return try view.get(family, key: key)
    }

    mutating func put(_ family: FamilyID, _ key: [UInt8], _ value: [UInt8]) {
        batch.put(family, key: key, value: value)
        overlay[family, default: [:]][key] = .some(.some(value))
    }

    mutating func delete(_ family: FamilyID, _ key: [UInt8]) {
        batch.delete(family, key: key)
        overlay[family, default: [:]][key] = .some(.none)
    }

    /// Writes of the log, and what Raft promises besides: durable before the effects, if not together with them.
    private mutating func logged(_ write: (inout WriteBatch) -> Void) {
        batch.mayLag = false
        write(&batch)
        batch.mayLag = true
    }

    mutating func putLogged(_ family: FamilyID, _ key: [UInt8], _ value: [UInt8]) {
        logged { $0.put(family, key: key, value: value) }
        overlay[family, default: [:]][key] = .some(.some(value))
    }

    /// An entry of the log, which nothing in this batch reads back.
    mutating func putLoggedUnseen(_ family: FamilyID, _ key: [UInt8], _ value: [UInt8]) {
        logged { $0.put(family, key: key, value: value) }
    }

    mutating func deleteRangeLoggedUnseen(_ family: FamilyID, from lower: [UInt8], to upper: [UInt8]?) {
        logged { $0.deleteRange(family, from: lower, to: upper) }
    }

    mutating func deleteRangeUnseen(_ family: FamilyID, from lower: [UInt8], to upper: [UInt8]?) {
        batch.deleteRange(family, from: lower, to: upper)
    }

    mutating func createFamily() throws(EngineError) -> FamilyID {
        let family = try newFamily()
        fresh.insert(family)
        return family
    }

    mutating func unmap(_ family: FamilyID) {
        unmapped.append(family)
        overlay[family] = nil
        // An engine family is dropped only after the batch that forgets it is on disk.
        if plant != .dropsBeforeDurable { mustSync = true }
    }

    /// Pairs of `lower..<upper` in order, at most `limit`, as the batch will leave them.
    func scan(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, limit: Int
    ) throws(EngineError) -> [(key: [UInt8], value: [UInt8])] {
        var found: [(key: [UInt8], value: [UInt8])] = []
        let rows = overlay[family] ?? [:]
        let written = rows.filter { row in
            !row.key.lexicographicallyPrecedes(lower) && (upper.map { row.key.lexicographicallyPrecedes($0) } ?? true)
        }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        var pending = written[...]
        func takePending(before key: [UInt8]?) {
            while found.count < limit, let first = pending.first {
                if let key, !first.key.lexicographicallyPrecedes(key) { break }
                pending.removeFirst()
                if let value = first.value { found.append((first.key, value)) }
            }
        }
        if !fresh.contains(family) {
            let cursor = try view.cursor(family, lower: lower, upper: upper, reverse: false)
            while found.count < limit, let (key, value) = try cursor.next({ (Array($0), Array($1)) }) {
                takePending(before: key)
                if found.count >= limit { break }
                if let first = pending.first, first.key == key {
                    pending.removeFirst()
                    if let replaced = first.value { found.append((key, replaced)) }
                } else {
                    found.append((key, value))
                }
            }
        }
        takePending(before: nil)
        return found
    }
}

/// What a state machine sees while it applies: its group's rows and families.
public struct ApplyContext {
    public internal(set) var storage: StorageBatch
    let layout: GroupLayout
    /// The largest stamp of the log so far, in Unix milliseconds.
    public internal(set) var logTime: Milliseconds
    public internal(set) var membership: Membership
    /// Logical names of the group's families.
    public internal(set) var families: [String: FamilyID]
    /// What `wait(forStaged:)` was called with.
    package private(set) var waitsFor: String?

    // MARK: - State rows (small, all of them in every snapshot)

    public func stateRow(_ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        try storage.get(layout.meta, [GroupLayout.statePrefix] + key)
    }

    /// Writes a state row, or deletes it.
    public mutating func setStateRow(_ key: [UInt8], _ value: [UInt8]?) {
        let full = [GroupLayout.statePrefix] + key
        if let value { storage.put(layout.meta, full, value) } else { storage.delete(layout.meta, full) }
    }

    /// State rows whose key begins with `prefix`, without that prefix's end known: every one of them.
    public func stateRows(prefix: [UInt8]) throws(EngineError) -> [(key: [UInt8], value: [UInt8])] {
        let lower = [GroupLayout.statePrefix] + prefix
        return try storage.scan(layout.meta, lower: lower, upper: successor(ofPrefix: lower), limit: .max)
            .map { (Array($0.key.dropFirst()), $0.value) }
    }

    // MARK: - Families

    /// Maps `name` to a new, empty family.
    public mutating func mapFamily(_ name: String) throws(EngineError) -> FamilyID {
        let family = try storage.createFamily()
        families[name] = family
        storage.put(layout.meta, GroupLayout.familyKey(name), bigEndianBytes(family.rawValue))
        return family
    }

    /// Forgets `name`; the family's space comes back later.
    public mutating func unmapFamily(_ name: String) {
        guard let family = families.removeValue(forKey: name) else { return }
        storage.delete(layout.meta, GroupLayout.familyKey(name))
        storage.unmap(family)
    }

    // MARK: - Staged families (this replica's own, until an entry maps them)

    public func staged(_ name: String) throws(EngineError) -> StagedFamily? {
        guard let row = try storage.get(layout.meta, GroupLayout.stagedKey(name)) else { return nil }
        return try StagedFamily(row: row, name: name)
    }

    /// Maps what is staged as `name` to the logical name `other`; what that meant is unmapped.
    public mutating func mapStaged(_ name: String, as other: String) throws(EngineError) {
        guard let staged = try staged(name) else { return }
        storage.delete(layout.meta, GroupLayout.stagedKey(name))
        unmapFamily(other)
        guard let family = staged.family else { return }
        families[other] = family
        storage.put(layout.meta, GroupLayout.familyKey(other), bigEndianBytes(family.rawValue))
    }

    /// Forgets what is staged as `name`; the family's space comes back later.
    public mutating func discardStaged(_ name: String) throws(EngineError) {
        guard let staged = try staged(name) else { return }
        storage.delete(layout.meta, GroupLayout.stagedKey(name))
        if let family = staged.family { storage.unmap(family) }
    }

    /// The entry can't be applied here: other replicas have staged what it needs, this one hasn't. The machine must
    /// have changed nothing; its answer is ignored, and the replica applies nothing more until `name` is staged or a
    /// snapshot brings it beyond this entry.
    public mutating func wait(forStaged name: String) { waitsFor = name }

    // MARK: - Rows of families

    public func get(_ family: FamilyID, _ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        try storage.get(family, key)
    }

    public mutating func put(_ family: FamilyID, _ key: [UInt8], _ value: [UInt8]) { storage.put(family, key, value) }

    public mutating func delete(_ family: FamilyID, _ key: [UInt8]) { storage.delete(family, key) }

    public func scan(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, limit: Int
    ) throws(EngineError) -> [(key: [UInt8], value: [UInt8])] {
        try storage.scan(family, lower: lower, upper: upper, limit: limit)
    }
}
