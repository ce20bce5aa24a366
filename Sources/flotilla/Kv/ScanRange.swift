internal import Bytes

/// The keys that a scan is asked for: those from `start` on that come before `end`, where an empty `end` is none.
package struct ScanRange: Equatable {
    package var start: [UInt8]
    package var end: [UInt8]

    /// Keys must satisfy all that is asked: the prefix narrows what `start` and `end` leave.
    package init(start: [UInt8] = [], end: [UInt8] = [], prefix: [UInt8] = []) {
        self.start = start.lexicographicallyPrecedes(prefix) ? prefix : start
        self.end = end
        if let behind = successor(ofPrefix: prefix), end.isEmpty || behind.lexicographicallyPrecedes(end) {
            self.end = behind
        }
    }

    /// No key can be in it.
    package var isEmpty: Bool { !end.isEmpty && !start.lexicographicallyPrecedes(end) }
}
