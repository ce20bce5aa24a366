internal import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Inspect
internal import Keyspace
internal import Sharding

/// `flotilla snapshot restore --out`: a backup becomes the directories of a new cluster.
package struct NewClusterOptions: ParsableArguments {
    @Option(help: "The new directory; it must not exist, or be empty.", transform: ArgumentText.plain) var out: String?
    @Option(help: "rocksdb (the default), lmdb or sqlite; several in a list are taken in turn by each group's nodes.")
    var engine: String?
    @Option(help: "Addresses of the new controller nodes, HOST:PORT,…") var controllers: String?
    @Option(help: "Addresses of a group's new nodes, GID=HOST:PORT,…; once for each group of the backup.")
    var group: [String] = []

    package init() {}

    /// The first option that was given though `--out` wasn't.
    var stray: String? {
        if engine != nil { return "--engine" }
        if controllers != nil { return "--controllers" }
        return group.isEmpty ? nil : "--group"
    }

    /// What the options say, read but not compared with the backup.
    func target() throws -> RestoreTarget {
        guard let controllers else {
            throw ValidationError("Give --controllers HOST:PORT,…, the addresses of the new controller nodes.")
        }
        let engines = try (engine ?? "rocksdb").split(separator: ",").map { name in
            guard let kind = EngineKind(rawValue: String(name)), EngineKind.durable.contains(kind) else {
                throw ValidationError("--engine takes rocksdb, lmdb or sqlite, not \(name).")
            }
            return kind
        }
        var groups: [GroupID: [String]] = [:]
        for text in group {
            let parts = text.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let number = UInt64(parts[0]), number > 0, case let gid = GroupID(number) else {
                throw ValidationError("--group takes GID=HOST:PORT,HOST:PORT,…, not \(text).")
            }
            if groups.updateValue(try addressList(parts[1], "--group \(gid)"), forKey: gid) != nil {
                throw ValidationError("Group \(gid) is named twice.")
            }
        }
        return RestoreTarget(
            controllers: try addressList(controllers, "--controllers"), groups: groups, engines: engines)
    }

    func run(from path: String, to out: String) throws {
        let target = try target()
        let isTerminal = StandardError.isTerminal
        let (plan, done) = try reportEngine { () throws(EngineError) in
            let backup = try Backup(Archive(path))
            var random = SystemRandomNumberGenerator()
            let plan = try RestorePlan(backup, target, random: &random)
            for text in plan.notes { note("note: \(text)") }
            let done = try tidying({ Interruption.discardAll() }) { () throws(EngineError) in
                try Restore.run(backup, plan, to: out) { progress in
                    guard isTerminal else { return }
                    let line =
                        "\r\(progress.nodes) of \(progress.nodesTotal) nodes, \(progress.families) of "
                        + "\(progress.familiesTotal) families, \(progress.keys) keys "
                    StandardError.write(line)
                }
            }
            return (plan, done)
        }
        if isTerminal { note("") }
        let lines = [
            "\(out): \(done.nodes) nodes of cluster \(BytesText.hex(plan.clusterID)), config "
                + "\(plan.map.number); \(done.keys) keys, \(humanBytes(done.bytes)); content hashes agree",
            "Start them with:",
        ]
        try StandardOutput.confirm(
            (lines + plan.nodes.map { "  \(plan.command($0, in: out))" }).joined(separator: "\n"))
    }
}
