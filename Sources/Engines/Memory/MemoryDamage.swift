/// Rows of an engine in memory of which a bit has flipped at rest.
struct MemoryDamage: Sendable {
    private var rows: [FamilyID: Set<[UInt8]>] = [:]

    var isEmpty: Bool { rows.isEmpty }
    var count: Int { rows.values.reduce(0) { $0 + $1.count } }

    mutating func add(_ family: FamilyID, _ key: [UInt8]) { rows[family, default: []].insert(key) }

    mutating func drop(_ family: FamilyID) { rows[family] = nil }

    /// What is written or deleted is whole again.
    mutating func write(_ batch: WriteBatch) {
        batch.forEachOperation { (operation, key, value) throws(Never) in
            guard let damaged = rows[operation.family] else { return }
            let key = Array(key)
            let left: Set<[UInt8]>
            switch operation.kind {
            case .put, .delete: left = damaged.subtracting([key])
            case .deleteRange:
                let end = Array(value)
                left = damaged.filter { compareKeys($0, key) < 0 || compareKeys($0, end) >= 0 }
            case .deleteToEnd: left = damaged.filter { compareKeys($0, key) < 0 }
            }
            rows[operation.family] = left.isEmpty ? nil : left
        }
    }

    func check(_ family: FamilyID, _ key: [UInt8]) throws(EngineError) {
        guard !rows.isEmpty, rows[family]?.contains(key) == true else { return }
        throw .corruption(place: "\(family): the value of a key fails its checksum")
    }
}

extension MemoryEngine {
    /// A bit flips in a row, the number of which is drawn from all.
    ///
    /// - Returns: Where; `nil`: there is no row.
    package func damageRow(_ draw: (Int) -> Int) throws(EngineError) -> String? {
        let view = undamagedSnapshot()
        var rows: [(family: FamilyID, key: [UInt8])] = []
        for family in try families() {
            try view.scan(family) { key, _ in
                rows.append((family, Array(key)))
                return true
            }
        }
        guard !rows.isEmpty else { return nil }
        let row = rows[draw(rows.count)]
        damage(row.family, key: row.key)
        return "\(row.family), key \(row.key)"
    }
}
