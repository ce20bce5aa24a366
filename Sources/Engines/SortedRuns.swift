/// Elements in the order of their keys, in runs of a few hundred, with value semantics: a copy costs nothing until one
/// side is written, and then only the runs that are touched.
///
/// Where an element's key lies is its owner's business: every search is given the order of an element to what is sought.
struct SortedRuns<Element: Sendable>: Sendable {
    /// Where an element is: run, then place in the run.
    struct Position: Equatable, Sendable {
        var run: Int
        var offset: Int
    }

    private static var runMax: Int { 256 }
    /// Never empty, any of them.
    private(set) var runs: [[Element]] = []

    var isEmpty: Bool { runs.isEmpty }
    var end: Position { Position(run: runs.count, offset: 0) }

    /// Is there an element at this position, and not the end?
    func holds(_ position: Position) -> Bool {
        position.run < runs.count && position.offset < runs[position.run].count
    }

    /// An element at a position that holds one.
    subscript(position: Position) -> Element {
        get { runs[position.run][position.offset] }
        set { runs[position.run][position.offset] = newValue }
    }

    /// The first position whose key is not below the sought one, and whether it is that key.
    ///
    /// - Parameter order: of an element's key to the sought one: negative, zero, positive.
    @inline(__always)
    func search(_ order: (borrowing Element) -> Int) -> (position: Position, isFound: Bool) {
        // Through pointers: looking at a run would otherwise hold on to each one that it passes.
        runs.withUnsafeBufferPointer { runs in
            var low = 0
            var high = runs.count
            while low < high {
                let middle = (low + high) / 2
                let last = runs[middle].withUnsafeBufferPointer { order($0[$0.count - 1]) }
                if last < 0 { low = middle + 1 } else { high = middle }
            }
            guard low < runs.count else { return (Position(run: runs.count, offset: 0), false) }
            return runs[low].withUnsafeBufferPointer { elements in
                var first = 0
                var last = elements.count
                var isFound = false
                while first < last {
                    let middle = (first + last) / 2
                    let found = order(elements[middle])
                    if found < 0 {
                        first = middle + 1
                    } else {
                        last = middle
                        isFound = found == 0
                    }
                }
                return (Position(run: low, offset: first), isFound)
            }
        }
    }

    /// Puts an element where `search` has found that it belongs.
    mutating func insert(_ element: Element, at found: Position) {
        var position = found
        if position.run == runs.count {
            guard let last = runs.indices.last else {
                runs.append([element])
                return
            }
            position = Position(run: last, offset: runs[last].count)
        }
        runs[position.run].insert(element, at: position.offset)
        if runs[position.run].count > Self.runMax {
            let half = runs[position.run].count / 2
            let tail = Array(runs[position.run][half...])
            runs[position.run].removeSubrange(half...)
            runs.insert(tail, at: position.run + 1)
        }
    }

    /// Changes every element; their order must stay.
    mutating func updateAll(_ body: (inout Element) -> Void) {
        for run in runs.indices {
            for offset in runs[run].indices { body(&runs[run][offset]) }
        }
    }

    /// Removes `start..<end` and returns how many that were.
    mutating func remove(from start: Position, to end: Position) -> Int {
        guard start.run < runs.count, start != end else { return 0 }
        if start.run == end.run {
            runs[start.run].removeSubrange(start.offset..<end.offset)
            if runs[start.run].isEmpty { runs.remove(at: start.run) }
            return end.offset - start.offset
        }
        var removed = runs[start.run].count - start.offset
        for run in runs[(start.run + 1)..<end.run] { removed += run.count }
        if end.run < runs.count {
            runs[end.run].removeSubrange(..<end.offset)
            removed += end.offset
        }
        runs[start.run].removeSubrange(start.offset...)
        runs.removeSubrange((start.run + 1)..<end.run)
        if runs[start.run].isEmpty { runs.remove(at: start.run) }
        return removed
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
}
