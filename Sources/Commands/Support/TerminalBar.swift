/// A line on the terminal that says how far something is; nothing where standard error is no terminal.
package final class TerminalBar {
    private var isShown = StandardError.isTerminal
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
        StandardError.write("\r\u{1b}[K\(line.prefix(Self.lineMax))")
        isOnScreen = true
    }

    /// Data follows on standard output. On the same terminal a bar would wipe out the end of it.
    package func giveWay() {
        clear()
        if StandardOutput.isTerminal { isShown = false }
    }

    package func clear() {
        guard isOnScreen else { return }
        StandardError.write("\r\u{1b}[K")
        isOnScreen = false
    }
}
