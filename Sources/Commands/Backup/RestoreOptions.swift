package import ArgumentParser
internal import CommandSupport

/// `flotilla snapshot restore`, in both its forms.
package struct RestoreOptions: ParsableArguments {
    package static let abstract = "Make a new cluster from a backup, or put its keys into a live one."
    package static let discussion = """
        With --out: the data directories of a new cluster. One directory for each address: DIR/controller-0, \
        DIR/group-100-0, …, all of them or none. Bring each to its machine and start it with the command that is \
        printed. As many nodes as there are addresses, on any engines, whatever the backed-up cluster had. The new \
        cluster has an identity of its own. Keys, sessions and the history of the shard map are the backup's: a write \
        that its client repeats in its session still executes once.

        With --into: every key of the backup, or of a snapshot of one group, is put into a live cluster with --prefix \
        before it. Keys alone: no sessions. No key is deleted. Everything is verified once before the first key is \
        written; an interrupted restore goes on when the command is repeated.
        """

    @Option(help: "The backup; with --into also a snapshot of one group.", transform: ArgumentText.plain) var from:
        String
    @OptionGroup(title: "A new cluster") package var new: NewClusterOptions
    @OptionGroup(title: "Into a live cluster") package var into: IntoOptions

    package init() {}

    package func validate() throws {
        switch (new.out, into.into) {
        case (nil, nil):
            throw ValidationError(
                "Give --out DIR for the directories of a new cluster, or --into HOST:PORT,… for a live one.")
        case (_?, _?): throw ValidationError("Give --out or --into, not both.")
        case (_?, nil):
            if let stray = into.stray { throw ValidationError("\(stray) goes with --into, not with --out.") }
            _ = try new.target()
        case (nil, _?):
            if let stray = new.stray { throw ValidationError("\(stray) goes with --out, not with --into.") }
        }
    }

    /// - Parameter connect: makes the way to the cluster whose controllers have these addresses.
    package func run(_ connect: ([String]) throws -> any KeyDestination) async throws {
        if let out = new.out { return try new.run(from: from, to: out) }
        try await into.run(from: from, try connect(into.endpoints))
    }
}
