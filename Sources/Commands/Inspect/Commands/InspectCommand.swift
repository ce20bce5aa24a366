public import ArgumentParser
internal import CommandSupport
internal import Inspect
internal import Keyspace

/// `flotilla snapshot inspect`.
public struct InspectCommand: ReadingCommand {
    public static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show what a snapshot, backup or stopped node's directory holds.",
        discussion: "Nothing under PATH changes. Shards are read whole, for their keys, bytes and hashes.")

    @OptionGroup var place: PathArgument
    @Flag(help: "Read the tables only, not the shards.") var quick = false
    @Option(help: "Values to list for each shard, the largest ones; 0 to 1000.") var biggest = 3
    @Option(help: "Only this group.") var group: GroupID?
    @OptionGroup var hex: HexOption
    @OptionGroup var format: FormatOption
    @OptionGroup var limits: ReadingLimits

    public init() {}

    public func validate() throws {
        try require("--biggest", biggest, in: 0...1000)
    }

    public func run() throws { try supervise() }

    func read(_ worker: Worker) throws {
        let store = try worker.open(place.path)
        var options = StoreReport.Options()
        options.readsContents = !quick
        options.biggest = biggest
        options.gid = group
        let report = try StoreReport.read(store, options, worker.progress)
        try worker.output.write(format.isJSON ? JSONText.pretty(report) : StoreText(report, hex: hex).text)
    }
}
