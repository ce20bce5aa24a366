internal import CommandSupport

/// One line on the terminal that says where a run is; nothing where standard error is a file.
package final class ProgressLine {
    private let isTerminal = StandardError.isTerminal
    private let start = nanosecondsNow()
    private var width = 0

    func show(_ progress: Conductor.Progress) {
        guard isTerminal else { return }
        let within = Double(progress.round) / Double(progress.rounds + 1)
        let share = (Double(progress.cellNumber - 1) + within) / Double(progress.cells)
        write(Self.text(progress, elapsed: Double(nanosecondsNow() - start) / 1_000_000_000, share: share))
    }

    func clear() {
        guard isTerminal, width > 0 else { return }
        write("")
        StandardError.write("\r")
    }

    package static func text(_ progress: Conductor.Progress, elapsed: Double, share: Double) -> String {
        let round = progress.round == 0 ? "getting ready" : "round \(progress.round) of \(progress.rounds)"
        var text =
            "\(progress.cellNumber)/\(progress.cells) \(progress.cell.description): \(progress.subject), \(round)"
        // Before that the estimate would only be a guess.
        if share > 0.05 {
            let left = Int(elapsed / share * (1 - share))
            text += left >= 60 ? ", about \(left / 60 + 1) min left" : ", about \(left) s left"
        }
        return text
    }

    private func write(_ text: String) {
        let padding = String(repeating: " ", count: max(0, width - text.count))
        StandardError.write("\r\(text)\(padding)")
        width = text.count
    }
}
