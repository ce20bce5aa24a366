internal import CommandSupport
internal import Inspect

/// Says on the terminal how far reading is.
final class ProgressBar {
    /// About how many bytes there are; 0 if that isn't known.
    var total: UInt64 = 0
    private let bar = TerminalBar()

    func show(_ progress: ReadProgress) {
        show("\(humanBytes(progress.bytes)), \(progress.records) records  \(progress.stage)", done: progress.bytes)
    }

    /// - Parameter done: of `total`.
    func show(_ text: String, done: UInt64) { bar.show(done, of: total, text) }

    func giveWay() { bar.giveWay() }
    func clear() { bar.clear() }
}
