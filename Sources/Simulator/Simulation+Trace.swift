internal import RaftLog

/// How events and states are written down.
extension Simulation {
    /// A node's state, for the end of a trace.
    func summary(_ node: Int) -> String {
        guard let shell = nodes[node].shell else { return "down" }
        let core = shell.driver.core
        let members = core.membership.members.map { "n\($0.id) \($0.standing)" }.joined(separator: ", ")
        return "\(core.role) in t\(core.term), log to \(core.lastPosition), commit \(core.commit), applied "
            + "\(shell.applied.position.index); members as of \(core.membership.index): \(members)"
            + (core.unappliedMemberships.isEmpty ? "" : "; unapplied changes \(core.unappliedMemberships)")
            + (shell.driver.waitsFor.map { "; waits for \($0)" } ?? "")
            + (nodes[node].pausedUntil > now ? "; paused" : "") + (shell.isWriting ? "; writing" : "")
    }

    func describe(_ message: Message) -> String {
        "n\(message.from)->n\(message.to) t\(message.term) " + Self.describe(message.body)
    }

    static func describe(_ body: Message.Body) -> String {
        switch body {
        case .requestVote(let last, let isPreVote, let force):
            return (isPreVote ? "pre-vote? " : "vote? ") + "last \(last)" + (force ? " forced" : "")
        case .vote(let granted, let isPreVote):
            return (isPreVote ? "pre-vote " : "vote ") + (granted ? "granted" : "refused")
        case .append(let previous, let entries, let commit):
            return "append \(entries.count) after \(previous) commit \(commit)"
        case .appended(let match): return "appended \(match)"
        case .appendRejected(let previous, let hint): return "rejected \(previous), try \(hint)"
        case .heartbeat(let commit, let round): return "heartbeat commit \(commit) round \(round)"
        case .heartbeatReply(let round): return "heartbeat-reply round \(round)"
        case .timeoutNow: return "timeout-now"
        }
    }

    static func describe(_ request: WriteRequest) -> String {
        var parts: [String] = []
        if let state = request.hardState {
            parts.append("term \(state.term) vote \(state.vote.map { "n\($0)" } ?? "-")")
        }
        if let install = request.install { parts.append("snapshot \(install.header.applied.position)") }
        if let first = request.entries.first, let last = request.entries.last {
            parts.append(
                (request.truncatesLog ? "replace from " : "append ") + "\(first.index)...\(last.index)@\(last.term)")
        }
        if let first = request.commands.first, let last = request.commands.last {
            parts.append("apply \(first.entry.index)...\(last.entry.index)")
        }
        if let position = request.compactThrough { parts.append("compact \(position)") }
        return parts.joined(separator: ", ")
    }
}
