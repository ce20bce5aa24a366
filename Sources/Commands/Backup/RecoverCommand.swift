public import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect
internal import RaftLog

/// `flotilla group recover`.
public struct RecoverCommand: ParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "recover",
        abstract: "Go on with one node of a group (or of the controller) whose quorum is lost for good.",
        discussion: """
            Without --force-new-membership it changes nothing and shows what the stopped node holds and what may be lost.

            With it the node becomes the only member: what its log holds is committed, what only the lost nodes had is \
            gone. Start it as before, and add new nodes with `flotilla group member add`. The directories of the other \
            nodes must be removed before any of them is started again: with them the old group could elect a leader of \
            its own.
            """)

    @Option(help: "The stopped node's directory.", transform: ArgumentText.plain) var db: String
    @Flag(help: "Make the node the only member. Acknowledged writes may be lost.") var forceNewMembership = false

    public init() {}

    public func run() throws {
        let recovery = try reportEngine { () throws(EngineError) in
            let recovery = try ForcedRecovery(db)
            if let refusal = recovery.refusal { throw EngineError.mismatch(refusal) }
            return recovery
        }
        // Before anything is changed: what may be lost must have been said.
        if recovery.unfinished == nil {
            try StandardOutput.writeLine(RecoveryText.report(recovery).joined(separator: "\n"))
        }
        guard forceNewMembership else {
            note("flotilla: nothing was changed; to go on with this node alone, repeat with --force-new-membership")
            throw Exit.failed
        }
        let done = try reportEngine { () throws(EngineError) in
            var random = SystemRandomNumberGenerator()
            return try recovery.force(
                life: Incarnation(high: random.next(), low: random.next()),
                time: Milliseconds(Date().timeIntervalSince1970 * 1000))
        }
        try StandardOutput.confirm(RecoveryText.done(recovery, done).joined(separator: "\n"))
    }
}

/// What an operator reads before and after a recovery.
enum RecoveryText {
    static func report(_ recovery: ForcedRecovery) -> [String] {
        let group = recovery.group
        let rows = group.rows
        var lines = ["\(recovery.directory.path): \(recovery.identity.summary)"]
        lines.append("  applied      \(rows.applied.position) (index@term)")
        lines.append("  log          from \(rows.base.index + 1) to \(group.last)")
        let vote = rows.hardState.vote.map { ", voted for node \($0)" } ?? ", no vote"
        lines.append("  term         \(rows.hardState.term)\(vote)")
        lines.append("  members      \(rows.membership.members.map(describe).joined(separator: "; "))")
        for pending in group.pendingChanges {
            lines.append("  in the log   at \(pending.index), not applied here: \(describe(pending.change))")
        }
        for (number, shards) in recovery.shards.enumerated() {
            lines.append("  \(number == 0 ? "shards      " : "            ") \(shards)")
        }
        lines.append("  thrown out   \(group.lost.map(describe).joined(separator: "; "))")
        for note in recovery.notes {
            lines.append("  recovered    before, at index \(note.index), \(describe(time: note.time))")
        }
        return lines + losses(recovery)
    }

    private static func losses(_ recovery: ForcedRecovery) -> [String] {
        let group = recovery.group
        let nodes = group.lost.map { "\($0.id)" }.joined(separator: ", ")
        var lines = [
            "What may be lost, or come back:",
            "  - What nodes \(nodes) acknowledged among themselves and this node never received is gone. Nobody can say "
                + "how much that is.",
        ]
        if group.unapplied.isEmpty {
            lines.append("  - The log holds nothing beyond what is known to be committed.")
        } else {
            let commands = group.unapplied.count { $0.kind == .command }
            lines.append(
                "  - \(group.unapplied.count) entries, \(commands) of them commands, from "
                    + "\(group.unapplied[0].index) on, are in the log and not known to be committed. They take effect, "
                    + "though their callers may have heard that the outcome is unknown.")
        }
        for name in recovery.missing {
            lines.append(
                "  - The log serves \(name) (shard/NUMBER/EPOCH), and its data is not here. The shard is not served; if "
                    + "another node is left that has it, recover that one.")
        }
        if recovery.identity.role == "group" {
            lines.append(
                "  - A step of a move that only the lost nodes knew of is forgotten. Compare the shards above with "
                    + "`flotilla controller query` before clients write.")
        } else {
            lines.append("  - Config numbers above this node's may have been seen by groups and clients already.")
        }
        lines.append(
            "If another node of the group is left, recover the one whose log ends last (by term, then index), and only "
                + "one.")
        return lines
    }

    static func done(_ recovery: ForcedRecovery, _ note: RecoveryNote) -> [String] {
        let member = recovery.group.rows.membership[recovery.group.id]
        // Of an interrupted recovery only the note still knows them.
        let others =
            recovery.unfinished == nil
            ? recovery.group.lost : note.before.members.filter { $0.id != recovery.group.id }
        return [
            "\(recovery.directory.path) is the only member of its group now, from index \(note.index) on; its "
                + "incarnation is \(note.life).",
            "Remove the directories of \(others.map(describe).joined(separator: "; ")) before any of them is started "
                + "again: with them the old group could elect a leader of its own and take writes.",
            "Start this node with the options that it had. Then add nodes with new directories, one at a time: flotilla "
                + "group member add ID HOST:PORT --node \(member?.address ?? "HOST:PORT")",
        ]
    }

    private static func describe(_ member: Member) -> String {
        "node \(member.id) at \(member.address) (\(member.standing))"
    }

    private static func describe(_ change: MembershipChange) -> String {
        switch change {
        case .add(let id, let address, _): "add node \(id) at \(address)"
        case .remove(let id): "remove node \(id)"
        case .replace(let id, let address, _): "replace node \(id) at \(address)"
        case .promote(let id, _): "give node \(id) a vote"
        }
    }

    private static func describe(time: Milliseconds) -> String {
        ISO8601DateFormatter().string(from: Date(timeIntervalSince1970: Double(time) / 1000))
    }
}
