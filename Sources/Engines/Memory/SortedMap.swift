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

/// A sorted map of byte keys with value semantics: a copy costs nothing until one side is written, and then
/// only the runs that are touched. The memory engine is made of it, and LMDB's overlay of buffered writes.
struct SortedMap<Value: Sendable>: Sendable {
    struct Pair: Sendable {
        var key: [UInt8]
        var value: Value
    }

    /// Where a pair is: run, then place in the run.
    struct Position: Equatable, Sendable {
        var run: Int
        var offset: Int
    }

    private static var runMax: Int { 256 }
    private(set) var runs: [[Pair]] = []
    private(set) var count = 0

    /// The first position whose key is not below `key`.
    func lowerBound(_ key: [UInt8]) -> Position {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            // Runs are never empty.
            if compareKeys(runs[middle][runs[middle].count - 1].key, key) < 0 {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < runs.count else { return Position(run: runs.count, offset: 0) }
        var first = 0
        var last = runs[low].count
        while first < last {
            let middle = (first + last) / 2
            if compareKeys(runs[low][middle].key, key) < 0 { first = middle + 1 } else { last = middle }
        }
        return Position(run: low, offset: first)
    }

    subscript(position: Position) -> Pair? {
        guard position.run < runs.count, position.offset < runs[position.run].count else { return nil }
        return runs[position.run][position.offset]
    }

    subscript(key: [UInt8]) -> Value? {
        guard let pair = self[lowerBound(key)], pair.key == key else { return nil }
        return pair.value
    }

    func position(after position: Position) -> Position {
        position.offset + 1 < runs[position.run].count
            ? Position(run: position.run, offset: position.offset + 1) : Position(run: position.run + 1, offset: 0)
    }

    func position(before position: Position) -> Position? {
        if position.offset > 0 { return Position(run: position.run, offset: position.offset - 1) }
        guard position.run > 0 else { return nil }
        return Position(run: position.run - 1, offset: runs[position.run - 1].count - 1)
    }

    mutating func set(_ key: [UInt8], _ value: Value) {
        var position = lowerBound(key)
        if let pair = self[position], pair.key == key {
            runs[position.run][position.offset].value = value
            return
        }
        count += 1
        if runs.isEmpty {
            runs.append([Pair(key: key, value: value)])
            return
        }
        if position.run == runs.count {
            position = Position(run: runs.count - 1, offset: runs[runs.count - 1].count)
        }
        runs[position.run].insert(Pair(key: key, value: value), at: position.offset)
        if runs[position.run].count > Self.runMax {
            let half = runs[position.run].count / 2
            let tail = Array(runs[position.run][half...])
            runs[position.run].removeSubrange(half...)
            runs.insert(tail, at: position.run + 1)
        }
    }

    mutating func remove(_ key: [UInt8]) {
        let position = lowerBound(key)
        guard let pair = self[position], pair.key == key else { return }
        count -= 1
        runs[position.run].remove(at: position.offset)
        if runs[position.run].isEmpty { runs.remove(at: position.run) }
    }

    /// Removes `lower..<upper`, to the end without `upper`.
    mutating func remove(from lower: [UInt8], to upper: [UInt8]?) {
        if let upper, compareKeys(lower, upper) >= 0 { return }
        let start = lowerBound(lower)
        while start.run < runs.count {
            let run = runs[start.run]
            var end = start.offset
            while end < run.count {
                if let upper, compareKeys(run[end].key, upper) >= 0 { break }
                end += 1
            }
            let reachedEnd = end == run.count
            count -= end - start.offset
            if start.offset == 0, reachedEnd {
                runs.remove(at: start.run)
            } else {
                runs[start.run].removeSubrange(start.offset..<end)
                if !reachedEnd { return }
                // The rest of this run stays; go on at the next, from its beginning.
                return remove(fromRun: start.run + 1, to: upper)
            }
            if !reachedEnd { return }
        }
    }

    private mutating func remove(fromRun first: Int, to upper: [UInt8]?) {
        while first < runs.count {
            let run = runs[first]
            var end = 0
            while end < run.count {
                if let upper, compareKeys(run[end].key, upper) >= 0 { break }
                end += 1
            }
            count -= end
            if end == run.count {
                runs.remove(at: first)
            } else {
                runs[first].removeSubrange(..<end)
                return
            }
        }
    }
}
