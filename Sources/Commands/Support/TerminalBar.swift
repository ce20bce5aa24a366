internal import Foundation

/// A line on the terminal that says how far something is; nothing where standard error is no terminal.
package final class TerminalBar {
    private var isShown = isatty(2) == 1
    private var isOnScreen = false
    private static let width = 24
    private static let lineMax = 110

    package init() {}

    /// - Parameter total: 0 if it isn't known.
    package func show(_ done: UInt64, of total: UInt64, _ text: @autoclosure () -> String) {
        guard isShown else { return }
        var line = text()
        if total > 0 {
            let share = min(1, Double(done) / Double(total))
            let full = Int(share * Double(Self.width))
            let bar = String(repeating: "#", count: full) + String(repeating: ".", count: Self.width - full)
            line = "[\(bar)] \(Int(share * 100)) %  " + line
        }
        FileHandle.standardError.write(Data("\r\u{1b}[K\(line.prefix(Self.lineMax))".utf8))
        isOnScreen = true
    }

    /// Data follows on standard output. On the same terminal a bar would wipe out the end of it.
    package func giveWay() {
        clear()
        if isatty(1) == 1 { isShown = false }
    }

    package func clear() {
        guard isOnScreen else { return }
        FileHandle.standardError.write(Data("\r\u{1b}[K".utf8))
        isOnScreen = false
    }
}
