internal import CommandSupport
internal import Inspect

/// Says on the terminal how far reading is.
final class ProgressBar {
    /// About how many bytes there are; 0 if that isn't known.
    var total: UInt64 = 0
    private let bar = TerminalBar()

    func show(_ progress: ReadProgress) {
        bar.show(
            progress.bytes, of: total,
            "\(humanBytes(progress.bytes)), \(progress.records) records  \(progress.stage)")
    }

    func giveWay() { bar.giveWay() }
    func clear() { bar.clear() }
}
