/// A small map from families to what an engine keeps for them. Every read goes through one, so it costs a multiplication
/// and a look, where a dictionary would hash with care for hostile keys; these numbers are ours.
struct FamilyMap<Value: Sendable>: Sendable {
    private enum Slot: Sendable {
        case empty
        case full(FamilyID, Value)
    }

    private var slots: [Slot] = Array(repeating: .empty, count: 16)
    private(set) var count = 0

    init() {}

    @inline(__always)
    private static func start(_ family: FamilyID, _ mask: Int) -> Int {
        Int(truncatingIfNeeded: (family.rawValue &* 0x9e37_79b9_7f4a_7c15) >> 40) & mask
    }

    subscript(family: FamilyID) -> Value? {
        @inline(__always)
        get {
            let mask = slots.count - 1
            var at = Self.start(family, mask)
            while case .full(let key, let value) = slots[at] {
                if key == family { return value }
                at = (at + 1) & mask
            }
            return nil
        }
        set {
            var pairs = pairs.filter { $0.0 != family }
            if let newValue { pairs.append((family, newValue)) }
            rebuild(pairs)
        }
    }

    /// Changes are as rare as families; a new table each time keeps looking things up simple.
    private mutating func rebuild(_ pairs: [(FamilyID, Value)]) {
        var size = 16
        while size < pairs.count * 3 { size *= 2 }
        slots = Array(repeating: .empty, count: size)
        count = pairs.count
        for (family, value) in pairs {
            var at = Self.start(family, size - 1)
            while case .full = slots[at] { at = (at + 1) & (size - 1) }
            slots[at] = .full(family, value)
        }
    }

    @discardableResult
    mutating func removeValue(forKey family: FamilyID) -> Value? {
        let value = self[family]
        if value != nil { self[family] = nil }
        return value
    }

    /// In order.
    var families: [FamilyID] { pairs.map(\.0).sorted() }

    private var pairs: [(FamilyID, Value)] {
        slots.compactMap { slot in if case .full(let family, let value) = slot { (family, value) } else { nil } }
    }
}
