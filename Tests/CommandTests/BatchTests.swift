import Testing
import flotilla

/// Lines of `kv batch`, and how they wait for each other.
@Suite struct BatchTests {
    private func lines(_ pieces: [String], bytesMax: Int = 100) -> [LineSplitter.Line] {
        var splitter = LineSplitter(bytesMax: bytesMax)
        var lines: [LineSplitter.Line] = []
        for piece in pieces {
            splitter.take(Array(piece.utf8))
            while let line = splitter.next() { lines.append(line) }
        }
        if let line = splitter.last() { lines.append(line) }
        #expect(splitter.last() == nil)
        return lines
    }

    private func whole(_ lines: String...) -> [LineSplitter.Line] { lines.map { .whole(Array($0.utf8)) } }

    @Test func everyLineCountsHoweverItEnds() {
        #expect(lines([]) == [])
        #expect(lines(["a\nb\n"]) == whole("a", "b"))
        #expect(lines(["a\nb"]) == whole("a", "b"))
        #expect(lines(["a\r\nb\r\n\r\n"]) == whole("a", "b", ""))
        #expect(lines(["\n\n"]) == whole("", ""))
        #expect(lines(["put k v\r\r\n"]) == whole("put k v\r"))
    }

    @Test func linesComeInPieces() {
        #expect(lines(["pu", "t k", " v\nget", " k\n"]) == whole("put k v", "get k"))
        #expect(lines(["a\r", "\nb"]) == whole("a", "b"))
    }

    @Test func aLineWithoutAnEndFillsNoMemory() {
        #expect(lines(["12345\n123456\n1\n"], bytesMax: 5) == whole("12345") + [.tooLong] + whole("1"))
        #expect(lines(["123456", "789", "0\nb\n"], bytesMax: 5) == [.tooLong] + whole("b"))
        #expect(lines(["123456", "789"], bytesMax: 5) == [.tooLong])
    }

    private func operation(_ line: String) throws(BatchOperation.Mistake) -> BatchOperation {
        try BatchOperation(Array(line.utf8))
    }

    @Test func theValueIsTheRestOfTheLine() throws {
        let key = Array("k".utf8)
        #expect(try operation("get k") == .get(key))
        #expect(try operation("put k a  b ") == .put(key, Array("a  b ".utf8)))
        #expect(try operation("put k ") == .put(key, []))
        #expect(try operation("append k v") == .append(key, Array("v".utf8)))
        #expect(try operation("delete k") == .delete(key))
        #expect(
            try operation("cas k a b c") == .compareAndSet(key, expected: Array("a".utf8), value: Array("b c".utf8)))
        #expect(try operation("cas k  b") == .compareAndSet(key, expected: [], value: Array("b".utf8)))
    }

    @Test func whatIsNoOperationSaysWhichThereAre() {
        for line in [
            "", "get", "get a b", "put k", "cas k a", "PUT k v", "\u{1b}[2J", String(repeating: "x", count: 500),
        ] {
            do throws(BatchOperation.Mistake) {
                let operation = try operation(line)
                Issue.record("\(line) is \(operation)")
            } catch {
                #expect(error.sentence.contains("put KEY VALUE"))
                #expect(!error.sentence.contains("\u{1b}") && error.sentence.utf8.count < 200)
            }
        }
    }

    @Test func resultsComeInTheOrderOfTheLines() {
        var window = BatchWindow<String>(runningMax: 3)
        let numbers = (0..<3).map { _ in window.begin(bytes: 1) }
        window.finish(numbers[2], "c", bytes: 1)
        #expect(window.takeReady() == [])
        window.finish(numbers[0], "a", bytes: 1)
        #expect(window.takeReady() == ["a"])
        window.finish(numbers[1], "b", bytes: 1)
        #expect(window.takeReady() == ["b", "c"])
        #expect(window.isEmpty && window.begun == 3)
    }

    @Test func aLineThatHangsHoldsUpNoOther() {
        var window = BatchWindow<Int>(runningMax: 2)
        let hanging = window.begin(bytes: 1)
        for number in 0..<1_000 {
            #expect(window.hasRoom)
            window.finish(window.begin(bytes: 1), number, bytes: 1)
        }
        #expect(window.takeReady() == [])
        let other = window.begin(bytes: 1)
        #expect(!window.hasRoom)
        window.finish(other, 1_000, bytes: 1)
        window.finish(hanging, -1, bytes: 1)
        #expect(window.takeReady() == Array(-1...1_000))
    }

    @Test func whatWaitsToBePrintedHasALimit() {
        var window = BatchWindow<Int>(runningMax: 4)
        let hanging = window.begin(bytes: 1)
        window.finish(window.begin(bytes: 1), 0, bytes: BatchWindow<Int>.bytesMax)
        #expect(!window.hasRoom)
        window.finish(hanging, -1, bytes: 0)
        #expect(window.takeReady() == [-1, 0])
        #expect(window.hasRoom)
        let first = window.begin(bytes: 0)
        var begun = 1
        while window.hasRoom {
            window.finish(window.begin(bytes: 0), begun, bytes: 0)
            begun += 1
        }
        #expect(begun < 100_000)
        window.finish(first, 0, bytes: 0)
        #expect(window.takeReady().count == begun)
    }
}

/// What `kv scan` asks for.
@Suite struct ScanRangeTests {
    private func range(_ start: String, _ end: String, _ prefix: String) -> (String, String) {
        let range = ScanRange(start: Array(start.utf8), end: Array(end.utf8), prefix: Array(prefix.utf8))
        return (String(decoding: range.start, as: UTF8.self), String(decoding: range.end, as: UTF8.self))
    }

    @Test func thePrefixNarrowsTheBounds() {
        #expect(range("", "", "") == ("", ""))
        #expect(range("b", "d", "") == ("b", "d"))
        #expect(range("", "", "key") == ("key", "kez"))
        #expect(range("key3", "", "key") == ("key3", "kez"))
        #expect(range("", "key5", "key") == ("key", "key5"))
        #expect(range("key3", "key5", "key") == ("key3", "key5"))
        #expect(range("a", "z", "key") == ("key", "kez"))
    }

    @Test func nothingIsInWhatExcludesItself() {
        #expect(ScanRange(start: Array("z".utf8), prefix: Array("key".utf8)).isEmpty)
        #expect(ScanRange(end: Array("a".utf8), prefix: Array("key".utf8)).isEmpty)
        #expect(!ScanRange(start: Array("key".utf8), prefix: [0xff]).isEmpty)
        #expect(ScanRange(prefix: [0xff]).end == [])
    }
}
