import Engines
import RaftLog

/// A group of replica drivers whose network, disks and clock stand still until a transcript moves them.
///
/// Messages wait in `network`, write requests in each node's `disk`. There is one clock for all nodes.
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

    struct Node {
        let id: ReplicaID
        var incarnation: Incarnation
        var engine = MemoryEngine()
        var driver: ReplicaDriver
        var storage: GroupStorage<ListMachine>
        var families: FamilyTable
        var disk: [WriteRequest] = []
        var isUp = true
    }

    let configuration: ReplicaDriver.Configuration
    var nodes: [ReplicaID: Node] = [:]
    var network: [Message] = []
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
        let families = try FamilyTable(engine: engine)
        let layout = try families.layout(of: Self.gid)
        let view = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: ListMachine(), in: view)
        view.close()
        let driver = ReplicaDriver(
            id: id, incarnation: incarnation, configuration: configuration, state: opened.state, seed: id.rawValue,
            now: now)
        return Node(
            id: id, incarnation: incarnation, engine: engine, driver: driver, storage: opened.storage,
            families: families)
    }

    /// The process dies with everything that isn't synced, and its messages that nobody has read yet stay.
    func crash(_ id: ReplicaID) {
        nodes[id]?.engine.crash(keepingUnsynced: 0)
        nodes[id]?.disk = []
        nodes[id]?.isUp = false
    }

    func restart(_ id: ReplicaID) throws {
        guard let node = nodes[id] else { return }
        nodes[id] = try open(id, node.incarnation, node.engine)
    }

    // MARK: - Moving on

    /// Changes a driver and carries out what it says.
    func with(_ id: ReplicaID, _ body: (inout ReplicaDriver) -> Void) throws {
        guard var node = nodes[id], node.isUp else { return }
        body(&node.driver)
        if node.driver.core.role != nodes[id]?.driver.core.role {
            lines.append("\(id) becomes \(node.driver.core.role) in term \(node.driver.core.term)")
        }
        repeat {
            let effects = node.driver.effects(now: now)
            nodes[id] = node
            try carryOut(effects, id)
            node = nodes[id] ?? node
        } while node.driver.hasMoreToWrite
    }

    private func carryOut(_ effects: ReplicaDriver.Effects, _ id: ReplicaID) throws {
        for message in effects.messages {
            let isLost = isolated.contains(message.from) || isolated.contains(message.to)
            if !isLost { network.append(message) }
            lines.append((isLost ? "lost " : "") + Self.describe(message))
        }
        if let write = effects.write {
            nodes[id]?.disk.append(write)
            lines.append("\(id) disk: \(Self.describe(write))")
        }
        for token in effects.readyReads { lines.append("\(id) read \(token) may be answered: \(try list(id))") }
        for token in effects.failedReads { lines.append("\(id) read \(token) failed") }
        for token in effects.unknownProposals { lines.append("\(id) proposal \(token): outcome unknown") }
        for needed in effects.neededEntries {
            lines.append("\(id) reads entries \(needed.from)...\(needed.through) for \(needed.peer)")
            guard let node = nodes[id] else { continue }
            let view = try node.engine.snapshot()
            let entries = try node.storage.layout.readEntries(
                from: needed.from, through: needed.through, bytesMax: configuration.core.appendBytesMax, in: view)
            nodes[id]?.driver.provideEntries(entries, to: needed.peer)
            try with(id) { _ in }
        }
        for member in effects.neededSnapshots { lines.append("\(id) must send a snapshot to \(member.id)") }
        for family in effects.discardedFamilies { lines.append("\(id) discards \(family)") }
    }

    func deliver(_ message: Message) throws { try with(message.to) { $0.receive(message, now: now) } }

    /// The disk finishes everything that it was given: one batch, one sync.
    func flushDisk(_ id: ReplicaID) throws {
        guard var node = nodes[id], node.isUp, !node.disk.isEmpty else { return }
        let requests = node.disk
        node.disk = []
        let view = try node.engine.snapshot()
        let families = node.families
        var batch = StorageBatch(view: view) { () throws(EngineError) in try families.take() }
        var outcomes: [GroupStorage<ListMachine>.Outcome] = []
        for request in requests { outcomes.append(try node.storage.execute(request, in: &batch)) }
        view.close()
        try node.engine.write(batch.batch, durability: batch.durability)
        for family in batch.unmapped { try node.engine.dropFamily(family) }
        nodes[id] = node
        for outcome in outcomes {
            for reply in outcome.replies {
                lines.append(
                    "\(id) answers proposal \(reply.token): \(String(decoding: reply.reply, as: UTF8.self)) at \(reply.position)"
                )
            }
        }
        try with(id) { driver in for outcome in outcomes { driver.completed(outcome.completion) } }
    }

    /// Carries a snapshot over as it is now.
    func sendSnapshot(from: ReplicaID, to: ReplicaID) throws {
        guard let source = nodes[from], let target = nodes[to] else { return }
        let view = try source.engine.snapshot()
        let (header, families) = try SnapshotHeader.read(source.storage.layout, in: view)
        try with(from) { $0.snapshotStarted(to: to, index: header.applied.position.index) }
        var loaded: [FamilyID] = []
        for family in families {
            let copy = try target.families.take()
            var batch = WriteBatch()
            try view.scan(family) { key, value in
                batch.put(copy, key: Array(key), value: Array(value))
                return true
            }
            try target.engine.write(batch, durability: .synced)
            loaded.append(copy)
        }
        try with(to) { $0.install(SnapshotInstall(header: header, families: loaded), now: now) }
        try with(from) { $0.snapshotEnded(to: to, index: header.applied.position.index) }
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
            } else if let id = ids.first(where: { takesPart($0) && nodes[$0]?.disk.isEmpty == false }) {
                try flushDisk(id)
            } else if let id = ids.first(where: { takesPart($0) && hasCommitToAnnounce($0) }) {
                try with(id) { $0.tick(now: now) }
            } else {
                return
            }
        }
    }

    // MARK: - Showing

    /// What the machine of a node has applied.
    func list(_ id: ReplicaID) throws -> String {
        guard let node = nodes[id], let family = node.storage.families[ListMachine.family] else { return "[]" }
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
