public import ArgumentParser
internal import CommandSupport
internal import Inspect
internal import Keyspace

/// `flotilla snapshot log`.
public struct LogCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Show the entries of a group's log, decoded.",
        discussion: "Of a stopped node's directory; snapshots and backups hold no log.")

    @OptionGroup var place: PathArgument
    @Option(help: "The first index.") var from: UInt64 = 0
    @Option(help: "The last index.") var to: UInt64 = .max
    @Option(help: "The group, where the node hosts several.") var group: GroupID?
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    public init() {}

    public func validate() throws {
        guard from <= to else { throw ValidationError("--from \(from) is behind --to \(to).") }
    }

    public func run() throws { try supervise() }

    func read(_ worker: Worker) throws {
        let store = try worker.open(place.path)
        let groups = try store.groups(group)
        guard groups.count < 2 else {
            let gids = groups.map { "\($0.gid)" }.joined(separator: ", ")
            throw Failure("\(place.path) holds several groups; choose one with --group: \(gids)")
        }
        guard let group = groups.first else { throw Failure("\(place.path) holds no group") }
        var isFirst = true
        var failure: (any Error)?
        try EntryReport.scan(group, from: from, through: to, worker.progress) { entry in
            do {
                if isFirst, !format.isJSON { try worker.output.write("INDEX\tTERM\tSTAMP\tACTION\tWHAT\n") }
                isFirst = false
                try worker.output.write(format.isJSON ? JSONText.line(entry) : line(entry))
            } catch { failure = error }
            return failure == nil
        }
        if let failure { throw failure }
        if isFirst {
            let end = to == .max ? "on" : "to \(to)"
            worker.note("flotilla: the log of \(group.title) has no entry from \(from) \(end)")
        }
    }

    private func line(_ entry: EntryReport) -> String {
        var what: [String] = []
        if let key = entry.key { what.append(hex.text(key)) }
        if let bytes = entry.valueBytes { what.append("\(bytes) bytes") }
        if let shard = entry.shard { what.append("shard \(shard)") }
        if let epoch = entry.epoch { what.append("epoch \(epoch)") }
        if let session = entry.session { what.append("session \(session) #\(entry.sequence.map { "\($0)" } ?? "?")") }
        if let detail = entry.detail { what.append(detail) }
        let stamp = entry.stampMs == 0 ? "-" : StoreText.time(entry.stampMs)
        return "\(entry.index)\t\(entry.term)\t\(stamp)\t\(entry.action)\t\(what.joined(separator: ", "))\n"
    }
}
