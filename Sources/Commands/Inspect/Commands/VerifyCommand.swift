public import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Inspect

/// `flotilla snapshot verify`.
public struct VerifyCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read everything, and say whether it is whole and agrees with itself.",
        discussion: """
            A snapshot or backup is good or damaged: its seal covers every byte. A directory is damaged or readable: \
            nothing vouches for rows that are missing without a trace. Exit code 0 if it is good, or readable; 2 if \
            it is damaged, and with --strict also if it is not sealed.
            """)

    @OptionGroup var place: PathArgument
    @Flag(help: "Take what is not sealed for damaged.") var strict = false
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    public init() {}

    public func run() throws {
        if let worker = Worker.current(limits) {
            try Self.finish(worker) { try read(worker) }
            return
        }
        var supervisor = Supervisor(limits)
        var told = VerifyReport(path: place.path, isSealed: true)
        var finished: VerifyReport?
        var records: UInt64 = 0
        let end = try Self.reporting {
            try supervisor.run { message in
                if let finding = message.finding { told.add(damage: finding) }
                if let report = message.report { finished = report }
                if let said = message.records { records = said }
            }
        }
        switch end {
        case .crashed, .stalled:
            // A report that was complete before the end doesn't help: closing damaged files went wrong.
            var report = finished ?? told
            if finished == nil { report.records = records }
            report.add(damage: .init(place: supervisor.stage, problem: supervisor.problem(end)))
            try show(report)
            throw Exit.notFound
        case .exited(0):
            guard let finished else { throw Exit.failed }
            try show(finished)
            if finished.verdict == .damaged || (strict && finished.verdict == .unsealed) { throw Exit.notFound }
        case .exited, .interrupted: try Self.explain(end, supervisor)
        }
    }

    func read(_ worker: Worker) throws {
        worker.expect(bytes: 0)
        let report = try StoreVerifier.verify(place.path, worker.progress) { finding in
            worker.send(WorkerMessage(finding: finding))
        }
        worker.clearBar()
        worker.send(WorkerMessage(report: report))
    }

    private func show(_ report: VerifyReport) throws {
        let text = format.isJSON ? try JSONText.pretty(report) : Self.text(report)
        try StandardOutput.write(text)
        if report.verdict == .unsealed {
            note(
                "flotilla: \(report.path) is a directory without a seal: rows that are missing without a trace can't "
                    + "be found out; compare it with another replica (flotilla snapshot diff)")
        }
    }

    static func text(_ report: VerifyReport) -> String {
        var text = ""
        for finding in report.damage { text += "damaged  \(finding.place): \(finding.problem)\n" }
        if report.furtherDamage > 0 { text += "damaged  and \(report.furtherDamage) more findings\n" }
        for finding in report.warnings { text += "warning  \(finding.place): \(finding.problem)\n" }
        let read = "\(report.records) records, \(humanBytes(report.bytes)) read"
        switch report.verdict {
        case .good: text += "\(report.path): good; \(read)\n"
        case .unsealed: text += "\(report.path): readable, not sealed; \(read)\n"
        case .damaged:
            text += "\(report.path): damaged; \(report.damage.count + report.furtherDamage) findings; \(read)\n"
        }
        return text
    }
}
