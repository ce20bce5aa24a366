#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Compares keys as unsigned bytes, the shorter first where one begins the other.
func compareKeys(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let common = min(left.count, right.count)
    if common > 0, let leftBase = left.baseAddress, let rightBase = right.baseAddress {
        let order = memcmp(leftBase, rightBase, common)
        if order != 0 { return Int(order) }
    }
    return left.count - right.count
}

func compareKeys(_ left: [UInt8], _ right: UnsafeRawBufferPointer) -> Int {
    left.withUnsafeBytes { compareKeys($0, right) }
}

func compareKeys(_ left: [UInt8], _ right: [UInt8]) -> Int {
    left.withUnsafeBytes { left in right.withUnsafeBytes { compareKeys(left, $0) } }
}

/// A sorted map of byte keys with value semantics. The memory engine is made of it.
struct SortedMap<Value: Sendable>: Sendable {
    struct Pair: Sendable {
        var key: [UInt8]
        var value: Value
    }
    typealias Position = SortedRuns<Pair>.Position

    private var pairs = SortedRuns<Pair>()
    private(set) var count = 0

    /// All pairs, in order.
    var joined: FlattenSequence<[[Pair]]> { pairs.runs.joined() }
    var end: Position { pairs.end }

    private func search(_ key: [UInt8]) -> (position: Position, isFound: Bool) {
        key.withUnsafeBytes { key in
            pairs.search { pair in pair.key.withUnsafeBytes { compareKeys($0, key) } }
        }
    }

    /// The first position whose key is not below `key`.
    func lowerBound(_ key: [UInt8]) -> Position { search(key).position }

    subscript(position: Position) -> Pair? { pairs.holds(position) ? pairs[position] : nil }

    subscript(key: [UInt8]) -> Value? {
        let (position, isFound) = search(key)
        return isFound ? pairs[position].value : nil
    }

    func position(after position: Position) -> Position { pairs.position(after: position) }
    func position(before position: Position) -> Position? { pairs.position(before: position) }

    mutating func set(_ key: [UInt8], _ value: Value) {
        let (position, isFound) = search(key)
        if isFound {
            pairs[position].value = value
        } else {
            pairs.insert(Pair(key: key, value: value), at: position)
            count += 1
        }
    }

    mutating func remove(_ key: [UInt8]) {
        let (position, isFound) = search(key)
        if isFound {
            count -= pairs.remove(from: position, to: Position(run: position.run, offset: position.offset + 1))
        }
    }

    /// Removes `lower..<upper`, to the end without `upper`.
    mutating func remove(from lower: [UInt8], to upper: [UInt8]?) {
        if let upper, compareKeys(lower, upper) >= 0 { return }
        count -= pairs.remove(from: lowerBound(lower), to: upper.map { lowerBound($0) } ?? pairs.end)
    }
}
