internal import CommandSupport
internal import Foundation
internal import Inspect

/// A line on the terminal that says how far reading is; nothing where standard error is no terminal.
final class ProgressBar {
    /// About how many bytes there are; 0 if that isn't known.
    var total: UInt64 = 0
    private var isShown = isatty(2) == 1
    private var isOnScreen = false
    private static let width = 24

    func show(_ progress: ReadProgress) {
        show("\(humanBytes(progress.bytes)), \(progress.records) records  \(progress.stage)", done: progress.bytes)
    }

    /// - Parameter done: of `total`.
    func show(_ text: String, done: UInt64) {
        guard isShown else { return }
        var line = text
        if total > 0 {
            let share = min(1, Double(done) / Double(total))
            let full = Int(share * Double(Self.width))
            let bar = String(repeating: "#", count: full) + String(repeating: ".", count: Self.width - full)
            line = "[\(bar)] \(Int(share * 100)) %  " + line
        }
        FileHandle.standardError.write(Data("\r\u{1b}[K\(line.prefix(110))".utf8))
        isOnScreen = true
    }

    /// Data follows on standard output. On the same terminal a bar would wipe out the end of it.
    func giveWay() {
        clear()
        if isatty(1) == 1 { isShown = false }
    }

    func clear() {
        guard isOnScreen else { return }
        FileHandle.standardError.write(Data("\r\u{1b}[K".utf8))
        isOnScreen = false
    }
}
