internal import Bytes
internal import DequeModule

/// What the core remembers of the log: the term of every index that is not compacted, and the newest entries.
///
/// Entries that are not yet applied are always here; older ones may have been let go and are read from the
/// engine when a slow follower needs them.
package struct LogTail: Sendable {
    /// The last compacted position; everything above it is on disk or in `entries`.
    package private(set) var base: LogPosition
    /// Terms as runs: index `first` and all after it, up to the next run, have this term.
    private var runs: [(first: LogIndex, term: Term)] = []
    private var entries: Deque<Entry> = []
    package private(set) var bytes = 0
    package private(set) var last: LogPosition

    package init(base: LogPosition) {
        self.base = base
        self.last = base
    }

    /// The lowest index that is held in memory, or one past the end.
    package var firstInMemory: LogIndex { last.index + 1 - LogIndex(entries.count) }

    /// The term at `index`, or `nil` if it is compacted or past the end.
    package func term(at index: LogIndex) -> Term? {
        if index == base.index { return base.term }
        guard index > base.index, index <= last.index else { return nil }
        // Runs are few (one per election), and the newest is asked for most.
        return runs.last { $0.first <= index }?.term
    }

    /// The newest position at or before `index` whose term is at most `term`: where a conflict search goes on.
    package func newestPosition(atMost index: LogIndex, term: Term) -> LogPosition {
        var candidate = min(index, last.index)
        while candidate > base.index {
            guard let run = runs.last(where: { $0.first <= candidate }) else { break }
            if run.term <= term { return LogPosition(index: candidate, term: run.term) }
            candidate = run.first - 1
        }
        return base
    }

    package mutating func append(_ entry: Entry) {
        invariant(entry.index == last.index + 1, "log gap: \(entry.index) after \(last.index)")
        invariant(entry.term >= last.term, "log term goes back: \(entry.term) after \(last)")
        noteTerm(entry.term, at: entry.index)
        entries.append(entry)
        bytes += entry.size
        last = LogPosition(index: entry.index, term: entry.term)
    }

    /// Takes note of an entry that stays on disk only (when a log is opened).
    mutating func noteStored(_ position: LogPosition) {
        invariant(entries.isEmpty && position.index == last.index + 1, "stored log gap at \(position)")
        noteTerm(position.term, at: position.index)
        last = position
    }

    private mutating func noteTerm(_ term: Term, at index: LogIndex) {
        if runs.last?.term != term { runs.append((first: index, term: term)) }
    }

    /// Removes every entry after `index`.
    package mutating func truncate(after index: LogIndex) {
        invariant(index >= base.index, "truncation at \(index) below the base \(base)")
        while let entry = entries.last, entry.index > index {
            bytes -= entry.size
            entries.removeLast()
        }
        while let run = runs.last, run.first > index { runs.removeLast() }
        if index < last.index {
            last = LogPosition(index: index, term: index == base.index ? base.term : runs.last?.term ?? base.term)
        }
    }

    /// Entries `lower...upper` that fit into `bytesMax` (at least one), or `nil` if memory no longer has them.
    package func entries(from lower: LogIndex, through upper: LogIndex, bytesMax: Int) -> [Entry]? {
        guard lower >= firstInMemory else { return nil }
        guard lower <= upper, upper <= last.index else { return [] }
        let offset = Int(lower - firstInMemory)
        var found: [Entry] = []
        var size = 0
        for position in offset...Int(upper - firstInMemory) {
            let entry = entries[position]
            size += entry.size
            if !found.isEmpty, size > bytesMax { break }
            found.append(entry)
        }
        return found
    }

    /// Lets go of entries in memory up to `index`, oldest first, while more than `bytesMax` are held.
    package mutating func evict(through index: LogIndex, bytesMax: Int) {
        while bytes > bytesMax, let entry = entries.first, entry.index <= index {
            bytes -= entry.size
            entries.removeFirst()
        }
    }

    /// Forgets everything up to `index`, which is applied and no longer needed.
    package mutating func compact(through index: LogIndex) {
        guard index > base.index, let term = term(at: index) else { return }
        base = LogPosition(index: index, term: term)
        while let entry = entries.first, entry.index <= index {
            bytes -= entry.size
            entries.removeFirst()
        }
        while runs.count > 1, runs[1].first <= index + 1 { runs.removeFirst() }
        if last.index == index { runs = [] }
    }

    /// Replaces the whole log by a snapshot's position.
    package mutating func reset(to position: LogPosition) {
        self = LogTail(base: position)
    }
}
