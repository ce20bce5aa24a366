import Engines
import RaftLog
import Simulator

/// A group of replicas whose network, disks and clock stand still until a transcript moves them: the simulator's shells,
/// with nobody but the transcript to say when a round is, and when a disk is done.
///
/// Messages wait in `network`, write requests in each shell's queue. There is one clock for all nodes.
final class TranscriptGroup {
    /// Keeps every command in order, so that a state can be shown as a line.
    struct ListMachine: StateMachine {
        static let key = Array("list".utf8)
        static let family = "list"

        mutating func load(in context: inout ApplyContext) throws(EngineError) {}

        mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> [UInt8] {
            let family: FamilyID
            if let mapped = context.families[Self.family] {
                family = mapped
            } else {
                family = try context.mapFamily(Self.family)
            }
            let old = try context.get(family, Self.key) ?? []
            context.put(family, Self.key, old + (old.isEmpty ? [] : [UInt8(ascii: " ")]) + entry.payload)
            return entry.payload
        }
    }

    typealias Shell = SimulatedReplica<ListMachine>

    struct Node {
        let id: ReplicaID
        var incarnation: Incarnation
        var engine: MemoryEngine
        var shell: Shell
        var isUp = true

        var driver: ReplicaDriver { shell.driver }
        var hasToWrite: Bool { isUp && shell.hasToWrite }
    }

    let configuration: ReplicaDriver.Configuration
    var nodes: [ReplicaID: Node] = [:]
    var network: [Message] = []
    /// Copies that come once more, much later.
    var late: [Message] = []
    /// Snapshots on their way, by whom they are for.
    private var parcels: [ReplicaID: (from: ReplicaID, SnapshotHeader, [[(key: [UInt8], value: [UInt8])]])] = [:]
    var now: Milliseconds = 0
    /// Messages to and from these are lost.
    var isolated: Set<ReplicaID> = []
    /// What has happened since the transcript last looked.
    var lines: [String] = []
    static let gid: UInt64 = 7

    init(configuration: ReplicaDriver.Configuration) { self.configuration = configuration }

    static func incarnation(_ id: ReplicaID, life: UInt64 = 1) -> Incarnation {
        Incarnation(high: id.rawValue, low: life)
    }

    var ids: [ReplicaID] { nodes.keys.sorted() }

    // MARK: - Nodes

    /// Adds a founder whose log continues the bootstrap position 1@1 with entries of these terms.
    func found(_ id: ReplicaID, members: [ReplicaID], logTerms: [Term], term: Term) throws {
        let engine = MemoryEngine()
        let families = try FamilyTable(engine: engine)
        let layout = try families.layout(of: Self.gid)
        let record = BootstrapRecord(
            clusterID: [1], gid: Self.gid,
            membership: Membership(
                members: members.map {
                    Member(id: $0, address: "n\($0)", incarnation: Self.incarnation($0), standing: .voter)
                }))
        var batch = WriteBatch()
        record.write(to: layout, in: &batch)
        for (offset, entryTerm) in logTerms.enumerated() {
            let index = BootstrapRecord.position.index + 1 + LogIndex(offset)
            let entry = Entry(
                index: index, term: entryTerm, kind: .command, stamp: 0, payload: Array("\(index)@\(entryTerm)".utf8))
            batch.put(layout.log, key: GroupLayout.logKey(index), value: layout.logValue(entry))
        }
        batch.put(
            layout.meta, key: GroupLayout.hardStateKey,
            value: HardState(term: max(term, logTerms.last ?? 1)).encoded)
        try engine.write(batch, durability: .synced)
        nodes[id] = try open(id, Self.incarnation(id), engine)
    }

    /// Adds a node that belongs to no membership yet.
    func addBlank(_ id: ReplicaID, life: UInt64 = 1) throws {
        nodes[id] = try open(id, Self.incarnation(id, life: life), MemoryEngine())
    }

    private func open(_ id: ReplicaID, _ incarnation: Incarnation, _ engine: MemoryEngine) throws -> Node {
        let shell = try Shell(
            gid: Self.gid, engine: engine, machine: ListMachine(), id: id, incarnation: incarnation,
            configuration: configuration, seed: id.rawValue, now: now
        ) { .bytes($0) }
        return Node(id: id, incarnation: incarnation, engine: engine, shell: shell)
    }

    /// The process dies with everything that isn't synced, and its messages that nobody has read yet stay.
    func crash(_ id: ReplicaID) {
        nodes[id]?.engine.crash(keepingUnsynced: 0)
        nodes[id]?.isUp = false
    }

    func restart(_ id: ReplicaID) throws {
        guard let node = nodes[id] else { return }
        nodes[id] = try open(id, node.incarnation, node.engine)
    }

    // MARK: - Moving on

    /// Gives a replica something to do, and carries out what its driver says until it is quiet.
    func give(_ input: ReplicaShell.Input?, to id: ReplicaID) throws {
        guard let node = nodes[id], node.isUp else { return }
        let shell = node.shell
        if let input { shell.post(input) }
        repeat {
            let role = shell.driver.core.role
            var isFirst = true
            // Without a wall clock, so that stamps don't depend on when a transcript was run.
            _ = try shell.round(now: now, wall: 0, tickInterval: nil) { effects in
                if isFirst {
                    for verdict in shell.verdicts { note(verdict, id) }
                    if shell.driver.core.role != role {
                        lines.append("\(id) becomes \(shell.driver.core.role) in term \(shell.driver.core.term)")
                    }
                }
                isFirst = false
                try carryOut(effects, shell, id)
            }
        } while shell.hasInput
    }

    private func note(_ verdict: ReplicaShell.Verdict, _ id: ReplicaID) {
        switch verdict {
        case .proposal(let token?, .success(let position)): lines.append("proposal \(token) is \(position)")
        case .proposal(let token?, .failure(let error)): lines.append("proposal \(token) is refused: \(error.refusal)")
        case .change(_, .success(let position)): lines.append("the change is \(position)")
        case .change(_, .failure(let refusal)): lines.append("the change is refused: \(refusal)")
        case .read(_, isTaken: false): lines.append("\(id) refuses the read")
        case .transfer(isTaken: false): lines.append("\(id) refuses to hand over")
        case .proposal, .read, .transfer: return
        }
    }

    private func carryOut(_ effects: ReplicaDriver.Effects, _ shell: Shell, _ id: ReplicaID) throws {
        for message in effects.messages {
            let isLost = isolated.contains(message.from) || isolated.contains(message.to)
            if !isLost { network.append(message) }
            lines.append((isLost ? "lost " : "") + Self.describe(message))
        }
        if let write = effects.write {
            shell.enqueue(write)
            lines.append("\(id) disk: \(Self.describe(write))")
        }
        for token in effects.readyReads { lines.append("\(id) read \(token) may be answered: \(try list(id))") }
        for token in effects.failedReads { lines.append("\(id) read \(token) failed") }
        for token in effects.unknownProposals { lines.append("\(id) proposal \(token): outcome unknown") }
        for needed in effects.neededEntries {
            lines.append("\(id) reads entries \(needed.from)...\(needed.through) for \(needed.peer)")
            let entries = try shell.layout.readEntries(
                from: needed.from, through: needed.through, bytesMax: configuration.core.appendBytesMax,
                in: shell.engine.snapshot())
            shell.post(.entries(entries, to: needed.peer))
        }
        for member in effects.neededSnapshots { lines.append("\(id) must send a snapshot to \(member.id)") }
        for family in effects.discardedFamilies { lines.append("\(id) discards \(family)") }
    }

    func deliver(_ message: Message) throws { try give(.message(message), to: message.to) }

    /// The disk finishes everything that it was given: one batch, one sync.
    func flushDisk(_ id: ReplicaID) throws {
        guard let node = nodes[id], node.isUp, node.shell.beginWriting() else { return }
        try finishWriting(id)
    }

    /// The disk begins with everything that has queued; what comes then waits for the next write.
    func beginWriting(_ id: ReplicaID) {
        if let node = nodes[id], node.isUp { _ = node.shell.beginWriting() }
    }

    func finishWriting(_ id: ReplicaID) throws {
        guard let node = nodes[id], node.isUp, node.shell.isWriting else { return }
        let written = try node.shell.write()
        for answer in written.answers {
            guard case .bytes(let text) = answer.reply else { continue }
            let position = written.applied.first { $0.entry.payload == text }
                .map { LogPosition(index: $0.entry.index, term: $0.entry.term) }
            lines.append(
                "\(id) answers proposal \(answer.token): \(String(decoding: text, as: UTF8.self)) at \(position ?? .zero)"
            )
        }
        for completion in written.completions { node.shell.post(.completed(completion)) }
        try give(nil, to: id)
    }

    /// Makes a snapshot as the state is now; it is on its way until it arrives or is lost.
    func beginSnapshot(from: ReplicaID, to: ReplicaID) throws {
        guard let source = nodes[from] else { return }
        let (header, contents) = try source.shell.snapshot()
        parcels[to] = (from, header, contents)
        lines.append("a snapshot at \(header.applied.position) is on its way to \(to)")
        try give(.snapshotStarted(to: to, header.applied.position.index), to: from)
    }

    func endSnapshot(to: ReplicaID, arrives: Bool) throws {
        guard let (from, header, contents) = parcels.removeValue(forKey: to), let target = nodes[to] else { return }
        if arrives {
            let install = try target.shell.load(header, contents)
            try give(.install(install), to: to)
        }
        try give(.snapshotEnded(to: to, arrives ? header.applied.position.index : nil), to: from)
    }

    /// A leader tells with its next tick what is committed and went out with no append.
    private func hasCommitToAnnounce(_ id: ReplicaID) -> Bool {
        guard let node = nodes[id], node.isUp, node.driver.core.isLeader else { return false }
        let core = node.driver.core
        return core.progress.values.contains {
            $0.state == .replicate && $0.announcedCommit < core.commit && $0.match >= core.commit
        }
    }

    /// Delivers and writes until nothing moves any more.
    func stabilize(_ only: Set<ReplicaID>? = nil) throws {
        func takesPart(_ id: ReplicaID) -> Bool { only?.contains(id) ?? true }
        while true {
            if let next = network.firstIndex(where: { takesPart($0.to) && takesPart($0.from) }) {
                try deliver(network.remove(at: next))
            } else if let id = ids.first(where: { takesPart($0) && nodes[$0]?.hasToWrite == true }) {
                try flushDisk(id)
            } else if let id = ids.first(where: { takesPart($0) && hasCommitToAnnounce($0) }) {
                try give(.tick, to: id)
            } else {
                return
            }
        }
    }

    // MARK: - Showing

    /// What the machine of a node has applied.
    func list(_ id: ReplicaID) throws -> String {
        guard let node = nodes[id], let family = node.shell.families[ListMachine.family] else { return "[]" }
        let row = try node.engine.snapshot().get(family, key: ListMachine.key) ?? []
        return "[\(String(decoding: row, as: UTF8.self))]"
    }

    /// The terms of a log, as in the figures of the paper; `…` for what is compacted.
    func log(_ id: ReplicaID) -> String {
        guard let core = nodes[id]?.driver.core else { return "" }
        let terms = (core.firstIndex..<core.lastPosition.index + 1).map { index in
            core.termOfLog(at: index).map(String.init) ?? "?"
        }
        let base =
            core.firstIndex == 1 ? "" : "…\(core.firstIndex - 1)@\(core.termOfLog(at: core.firstIndex - 1) ?? 0) "
        return base + terms.joined(separator: " ")
    }

    static func describe(_ write: WriteRequest) -> String {
        var parts: [String] = []
        if let state = write.hardState { parts.append("term \(state.term) vote \(state.vote.map { "\($0)" } ?? "-")") }
        if let install = write.install { parts.append("install snapshot \(install.header.applied.position)") }
        if let first = write.entries.first, let last = write.entries.last {
            let range = first.index == last.index ? "\(first.index)" : "\(first.index)...\(last.index)"
            parts.append((write.truncatesLog ? "replace from " : "append ") + "\(range)@\(last.term)")
        }
        if let first = write.commands.first, let last = write.commands.last {
            let (low, high) = (first.entry.index, last.entry.index)
            parts.append("apply " + (low == high ? "\(low)" : "\(low)...\(high)"))
        }
        if let position = write.compactThrough { parts.append("compact \(position)") }
        return parts.joined(separator: ", ")
    }

    static func describe(_ message: Message) -> String {
        let head = "\(message.from)->\(message.to) t\(message.term) "
        switch message.body {
        case .requestVote(let last, let isPreVote, let force):
            return head + (isPreVote ? "pre-vote?" : "vote?") + " last \(last)" + (force ? " forced" : "")
        case .vote(let granted, let isPreVote):
            return head + (isPreVote ? "pre-vote " : "vote ") + (granted ? "granted" : "refused")
        case .append(let previous, let entries, let commit):
            let list = entries.map { "\($0.index)@\($0.term)" }.joined(separator: " ")
            return head + "append [\(list)] after \(previous) commit \(commit)"
        case .appended(let match): return head + "appended \(match)"
        case .appendRejected(let previous, let hint): return head + "rejected \(previous), try \(hint)"
        case .heartbeat(let commit, let round): return head + "heartbeat commit \(commit) round \(round)"
        case .heartbeatReply(let round): return head + "heartbeat-reply round \(round)"
        case .timeoutNow: return head + "timeout-now"
        }
    }
}
