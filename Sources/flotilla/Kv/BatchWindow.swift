/// The lines of a batch that are being carried out, or wait until those before them can be printed.
///
/// Lines end in any order and are printed in theirs. A line that ends makes room for another one to begin, whatever became
/// of those before it: one shard that doesn't answer holds up the printing, and the lines of the others are carried out.
/// How many may wait has a limit, in lines and in bytes.
package struct BatchWindow<Result> {
    private struct Entry {
        /// Of the line; then of its result.
        var bytes: Int
        /// `nil` while it is being carried out.
        var result: Result?
    }

    /// Enough for what comes in seconds while one line waits for its deadline.
    static var linesMax: Int { 16_384 }
    package static var bytesMax: Int { 64 << 20 }

    private let runningMax: Int
    private var entries: [Entry] = []
    /// The number of the first entry.
    private var first = 0
    private var running = 0
    private var bytes = 0

    /// - Parameter runningMax: lines that are carried out at once.
    package init(runningMax: Int) { self.runningMax = runningMax }

    /// Lines that were begun, in all.
    package var begun: Int { first + entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    package var hasRoom: Bool {
        running < runningMax && entries.count < Self.linesMax && bytes < Self.bytesMax
    }

    /// Begins a line; the number is for its result.
    package mutating func begin(bytes lineBytes: Int) -> Int {
        entries.append(Entry(bytes: lineBytes))
        bytes += lineBytes
        running += 1
        return first + entries.count - 1
    }

    package mutating func finish(_ number: Int, _ result: Result, bytes resultBytes: Int) {
        let place = number - first
        guard entries.indices.contains(place), entries[place].result == nil else { return }
        running -= 1
        bytes += resultBytes - entries[place].bytes
        entries[place] = Entry(bytes: resultBytes, result: result)
    }

    /// The results that are next to be printed.
    package mutating func takeReady() -> [Result] {
        var ready: [Result] = []
        while ready.count < entries.count, let result = entries[ready.count].result {
            bytes -= entries[ready.count].bytes
            ready.append(result)
        }
        entries.removeFirst(ready.count)
        first += ready.count
        return ready
    }
}
