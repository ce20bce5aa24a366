import Engines
import Foundation
import Inspect
import Keyspace
import RaftLog
import Sharding
import Testing

/// The directory of a node, filled without a server: commands go through the machine and the log as in production.
final class StoppedNode<Machine: StateMachine> {
    let path: String
    let identity: DirectoryIdentity
    /// Locked until the node is closed.
    private var directory: NodeDirectory?
    let engine: any StorageEngine
    let families: FamilyTable
    let layout: GroupLayout
    private(set) var storage: GroupStorage<Machine>
    private var last: LogPosition
    private var serial: UInt64 = 0
    /// The leader's clock: the stamp of the next entries.
    var now: Milliseconds = 1_700_000_000_000
    var term: Term

    /// A founder of the group of these members.
    init(
        _ path: String, _ kind: EngineKind, role: String, gid: GroupID, id: UInt64, record: BootstrapRecord,
        clusterID: [UInt8], machine: Machine
    ) throws {
        self.path = path
        let life = record.membership[ReplicaID(id)]?.incarnation ?? Incarnation(high: 0, low: 0)
        let opened = try NodeDirectory.open(
            path, engine: kind, role: role, groupId: gid.rawValue, nodeId: id, incarnation: life.description)
        engine = try opened.openEngine()
        families = try FamilyTable(engine: engine)
        layout = try families.layout(of: gid.rawValue)
        var batch = WriteBatch()
        record.write(to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
        try opened.record(clusterId: Incarnation(bytes: clusterID)?.description ?? "")
        try opened.recordJoined()
        identity = opened.identity
        directory = opened
        storage = try GroupStorage.open(layout, machine: machine, in: engine.snapshot()).storage
        last = storage.applied.position
        term = last.term
    }

    private func entries(_ payloads: [(kind: Entry.Kind, payload: [UInt8])]) -> [Entry] {
        payloads.enumerated().map { offset, payload in
            Entry(
                index: last.index + 1 + LogIndex(offset), term: term, kind: payload.kind,
                stamp: payload.kind == .command ? now : 0, payload: payload.payload)
        }
    }

    @discardableResult
    private func execute(_ fill: (inout WriteRequest) -> Void) throws -> GroupStorage<Machine>.Outcome {
        serial += 1
        var request = WriteRequest(serial: serial)
        fill(&request)
        var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in
            try families.take()
        }
        let outcome = try storage.execute(request, in: &batch)
        try engine.write(batch.batch, durability: .synced)
        for family in batch.unmapped { try engine.dropFamily(family) }
        if let end = request.entries.last { last = LogPosition(index: end.index, term: end.term) }
        return outcome
    }

    /// Entries that are in the log and applied; the answers to the commands.
    @discardableResult
    func run(_ payloads: [(kind: Entry.Kind, payload: [UInt8])]) throws -> [Machine.Reply] {
        let made = entries(payloads)
        return try execute { request in
            request.entries = made
            request.commands = made.map { .init(entry: $0, token: $0.kind == .command ? $0.index : nil) }
        }.replies.map(\.reply)
    }

    @discardableResult
    func run(_ payload: [UInt8]) throws -> Machine.Reply {
        try #require(try run([(.command, payload)]).first)
    }

    /// Entries that are in the log, and of which nobody here knows whether they are committed.
    func append(_ payloads: [(kind: Entry.Kind, payload: [UInt8])]) throws {
        let made = entries(payloads)
        try execute { $0.entries = made }
    }

    /// Forgets the log up to an entry that is applied.
    func compact(through index: LogIndex) throws {
        try execute { $0.compactThrough = LogPosition(index: index, term: 1) }
    }

    func vote(_ state: HardState) throws { try execute { $0.hardState = state } }

    /// Loads a family beside the log, as a member of a move's target does.
    func stage(_ name: String, rows: [(key: [UInt8], value: [UInt8])], note: [UInt8]) throws {
        let family = try families.take()
        var batch = WriteBatch()
        for row in rows { batch.put(family, key: row.key, value: row.value) }
        layout.putStaged(name, StagedFamily(family: family, note: note), in: &batch)
        try engine.write(batch, durability: .synced)
    }

    /// Adds the node's group to an archive that is being written.
    func save(to writer: ArchiveWriter) throws {
        let view = try engine.snapshot()
        defer { view.close() }
        try DirectoryTests.save(layout, identity, engine, view, to: writer)
    }

    func close() throws {
        try engine.close()
        directory = nil
    }
}

/// Members 0, 1, … of a group, at made-up addresses.
func members(_ count: Int, gid: GroupID, index: LogIndex = 0) -> Membership {
    Membership(
        members: (0..<count).map { number in
            Member(
                id: ReplicaID(UInt64(number)), address: "127.0.0.1:\(10_000 + gid.rawValue * 10 + UInt64(number))",
                incarnation: Incarnation(
                    high: gid.rawValue &* 0x0101_0101 &+ 0xabcd, low: UInt64(number) &* 0x11 &+ 0xef01),
                standing: .voter)
        }, index: index)
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A temporary directory for the time of `body`.
func withTemporaryDirectory(_ body: (String) throws -> Void) throws {
    let root = "\(NSTemporaryDirectory())/flotilla-directories-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: root) }
    try body(root)
}

func withTemporaryDirectory(_ body: (String) async throws -> Void) async throws {
    let root = "\(NSTemporaryDirectory())/flotilla-directories-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: root) }
    try await body(root)
}
