import CommandSupport
import Dispatch
import Foundation
internal import Keyspace
import Synchronization

/// What a line of a batch came to.
struct BatchResult: Sendable {
    enum Outcome: Sendable {
        case value([UInt8])
        case length(Int)
        case done
        case absent
        case unequal
        case error(String)
    }

    var outcome: Outcome
    var exitCode: Int32

    var bytes: Int {
        if case .value(let value) = outcome { return value.count }
        return 0
    }
}

/// Takes lines from standard input, has them carried out, and hands over their results in the order of the lines.
final class BatchFeed: Sendable {
    /// How standard input ended.
    enum InputEnd { case end, failed(InputFailure) }

    private struct State {
        var window: BatchWindow<BatchResult>
        var inputEnd: InputEnd?
        var isStopped = false
    }

    private let state: Mutex<State>
    /// Raised whenever there may be room for another line.
    private let room = DispatchSemaphore(value: 0)
    /// Something has changed: results may be there, or all is over.
    let changes: AsyncStream<Void>
    private let change: AsyncStream<Void>.Continuation

    /// A key, two values and the words between them.
    private static let lineBytesMax = Limits.keyBytesMax + 2 * Limits.valueBytesMax + 64

    /// - Parameter runningMax: lines that are carried out at once.
    init(runningMax: Int) {
        state = Mutex(State(window: BatchWindow(runningMax: runningMax)))
        (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Reads to the end; on a thread of its own, since it blocks: for input, and while too many lines are under way.
    func read(_ carryOut: @escaping @Sendable (LineSplitter.Line) async -> BatchResult) {
        var splitter = LineSplitter(bytesMax: Self.lineBytesMax)
        var end = InputEnd.end
        do throws(InputFailure) {
            while true {
                while let line = splitter.next() {
                    guard begin(line, carryOut) else { return }
                }
                let piece = try StandardInput.read()
                if piece.isEmpty { break }
                splitter.take(piece)
            }
            if let line = splitter.last(), !begin(line, carryOut) { return }
        } catch { end = .failed(error) }
        state.withLock { $0.inputEnd = end }
        change.yield()
    }

    /// False once nothing is to begin any more.
    private func begin(
        _ line: LineSplitter.Line, _ carryOut: @escaping @Sendable (LineSplitter.Line) async -> BatchResult
    ) -> Bool {
        let bytes = if case .whole(let bytes) = line { bytes.count } else { 0 }
        while true {
            let (number, isStopped) = state.withLock { state in
                (!state.isStopped && state.window.hasRoom ? state.window.begin(bytes: bytes) : nil, state.isStopped)
            }
            if isStopped { return false }
            if let number {
                Task { finish(number, await carryOut(line)) }
                return true
            }
            room.wait()
        }
    }

    private func finish(_ number: Int, _ result: BatchResult) {
        state.withLock { $0.window.finish(number, result, bytes: result.bytes) }
        room.signal()
        change.yield()
    }

    /// The results that are next, and whether they are the last.
    func take() -> (results: [BatchResult], isOver: Bool) {
        let taken = state.withLock { state in
            let results = state.window.takeReady()
            return (results, (state.inputEnd != nil || state.isStopped) && state.window.isEmpty)
        }
        room.signal()
        return taken
    }

    /// Begins no line any more. Those that have begun go on to their end.
    func stop() {
        state.withLock { $0.isStopped = true }
        room.signal()
        change.yield()
    }

    /// How the input ended, if it has, and how many lines were begun.
    var ended: (inputEnd: InputEnd?, lines: Int) { state.withLock { ($0.inputEnd, $0.window.begun) } }
}
