internal import CommandSupport

/// Divides what comes in pieces into lines. A line feed ends one, a carriage return before it is a part of the end, and the
/// last line needs none.
package struct LineSplitter {
    package enum Line: Equatable {
        case whole([UInt8])
        /// Its bytes were thrown away.
        case tooLong
    }

    private let bytesMax: Int
    private var pending: [UInt8] = []
    /// Where the next line begins.
    private var start = 0
    /// No line feed is before it.
    private var searched = 0
    /// What comes is the rest of a line that is too long.
    private var isTooLong = false

    /// - Parameter bytesMax: of a line, so that one without an end doesn't fill the memory.
    package init(bytesMax: Int) { self.bytesMax = bytesMax }

    package mutating func take(_ piece: [UInt8]) {
        pending.removeFirst(start)
        searched -= start
        start = 0
        pending += piece
    }

    /// The next line that has come whole.
    package mutating func next() -> Line? {
        guard let end = pending[searched...].firstIndex(of: 10) else {
            searched = pending.count
            if pending.count - start > bytesMax {
                isTooLong = true
                start = pending.count
            }
            return nil
        }
        return line(until: end)
    }

    /// What was begun and not ended, once nothing more comes.
    package mutating func last() -> Line? {
        start < pending.count || isTooLong ? line(until: pending.count) : nil
    }

    private mutating func line(until end: Int) -> Line {
        defer {
            start = min(end + 1, pending.count)
            searched = start
            isTooLong = false
        }
        guard !isTooLong, end - start <= bytesMax else { return .tooLong }
        var bytes = pending[start..<end]
        if bytes.last == 13 { bytes.removeLast() }
        return .whole(Array(bytes))
    }
}

/// What a line of `kv batch` asks for.
package enum BatchOperation: Equatable, Sendable {
    case get([UInt8])
    case put([UInt8], [UInt8])
    case append([UInt8], [UInt8])
    case delete([UInt8])
    case compareAndSet([UInt8], expected: [UInt8], value: [UInt8])

    /// Why a line asks for nothing.
    package struct Mistake: Error, Equatable, Sendable {
        package var sentence: String
    }

    private static let forms =
        "lines are get KEY, put KEY VALUE, append KEY VALUE, delete KEY, or cas KEY EXPECTED VALUE"
    /// Of a line in a sentence.
    private static let shownMax = 60

    package init(_ line: [UInt8]) throws(Mistake) {
        guard !line.isEmpty else { throw Mistake(sentence: "the line is empty; \(Self.forms)") }
        let space = UInt8(ascii: " ")
        let words = line.split(separator: space, maxSplits: 2, omittingEmptySubsequences: false).map(Array.init)
        switch (String(decoding: words[0], as: UTF8.self), words.count) {
        case ("get", 2): self = .get(words[1])
        case ("put", 3): self = .put(words[1], words[2])
        case ("append", 3): self = .append(words[1], words[2])
        case ("delete", 2): self = .delete(words[1])
        case ("cas", 3):
            let values = words[2].split(separator: space, maxSplits: 1, omittingEmptySubsequences: false)
            guard values.count == 2 else { fallthrough }
            self = .compareAndSet(words[1], expected: Array(values[0]), value: Array(values[1]))
        default:
            let shown = String(decoding: TerminalText.escape(Array(line.prefix(Self.shownMax))), as: UTF8.self)
            throw Mistake(sentence: "\"\(shown)\" is no operation; \(Self.forms)")
        }
    }
}
