import Engines
import RaftLog
import Testing

/// The loop on the front page of RaftLog's documentation, line for line (scripts/docs compares them).
@Suite struct HostLoopExampleTests {
    @Test func threeLoopsCommitOneCommandAndReadItBack() throws {
        let loops = try [1, 2, 3].map { try HostLoop(ReplicaID($0), of: 3) }
        var now: Milliseconds = 0
        /// Lets time pass, and hands messages over, until it is true.
        func run(until isDone: () -> Bool) throws {
            while !isDone() {
                try #require(now < 60_000)
                now += 50
                for loop in loops {
                    try loop.turn(now: now, wall: 1_700_000_000_000 + now)
                    for message in loop.sent.splice() {
                        loops.first { $0.driver.id == message.to }?.arrived.append(message)
                    }
                }
            }
        }
        try run { loops.contains { $0.driver.core.hasCommittedInTerm } }
        let leader = try #require(loops.first { $0.driver.core.isLeader })
        leader.asked = [(Array("set sail".utf8), token: 1)]
        try run { leader.answers[1] != nil }
        #expect(leader.answers[1] == leader.driver.core.commit)
        try run { loops.allSatisfy { $0.driver.core.applied == leader.driver.core.applied } }
        let isTaken = leader.driver.read(token: 2)
        #expect(isTaken)
        try run { leader.values[2] != nil }
        #expect(leader.values[2] == Array("set sail".utf8))
        #expect(loops.allSatisfy { $0.dismissed.isEmpty })
        for loop in loops { #expect(try loop.lastCommand(in: loop.engine.snapshot()) == Array("set sail".utf8)) }
    }
}

/// Keeps the last command, and answers with its place in the log.
struct LastCommandMachine: StateMachine {
    static let key = Array("last".utf8)

    mutating func load(in context: inout ApplyContext) {}

    mutating func apply(_ entry: Entry, in context: inout ApplyContext) -> LogIndex {
        context.setStateRow(Self.key, entry.payload)
        return entry.index
    }
}

/// A shell without threads: one replica, whose every turn waits for its disk.
final class HostLoop {
    let engine = MemoryEngine()
    let families: FamilyTable
    let layout: GroupLayout
    var storage: GroupStorage<LastCommandMachine>
    var driver: ReplicaDriver
    var arrived: [Message] = []
    var asked: [([UInt8], token: UInt64)] = []
    var sent: [Message] = []
    var answers: [UInt64: LogIndex] = [:]
    var values: [UInt64: [UInt8]] = [:]
    var dismissed: Set<UInt64> = []
    /// Bytes of log in one answer to a follower that is behind.
    private let pageBytesMax = 256 << 10

    init(_ id: ReplicaID, of count: Int) throws {
        let members = (1...count).map { number in
            Member(
                id: ReplicaID(UInt64(number)), address: "", incarnation: Incarnation(high: 0, low: UInt64(number)),
                standing: .voter)
        }
        families = try FamilyTable(engine: engine)
        layout = try families.layout(of: 7)
        // Once, in an empty directory: the group's first membership.
        let record = BootstrapRecord(clusterID: [], gid: 7, membership: Membership(members: members))
        var batch = WriteBatch()
        record.write(to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
        // At every start: what is on disk goes to the storage and to the driver.
        let view = try engine.snapshot()
        let opened = try GroupStorage.open(layout, machine: LastCommandMachine(), in: view)
        view.close()
        storage = opened.storage
        driver = ReplicaDriver(
            id: id, incarnation: Incarnation(high: 0, low: id.rawValue), configuration: .init(), state: opened.state,
            seed: id.rawValue, now: 0)
    }

    func turn(now: Milliseconds, wall: Milliseconds) throws(EngineError) {
        driver.observe(wall: wall, now: now)
        driver.tick(now: now)
        for message in arrived.splice() { driver.receive(message, now: now) }
        for (payload, token) in asked.splice() {
            if case .failure = driver.propose(payload, token: token, now: now) { dismiss(token) }
        }
        while case let effects = driver.effects(now: now), !effects.isEmpty {
            let view = try engine.snapshot()
            defer { view.close() }
            send(effects.messages)  // at once: what had to wait for a write is not among them before it is done
            for token in effects.readyReads { answer(token, try lastCommand(in: view)) }
            for token in effects.failedReads + effects.unknownProposals { dismiss(token) }
            for (peer, from, through) in effects.neededEntries {
                let entries = try layout.readEntries(from: from, through: through, bytesMax: pageBytesMax, in: view)
                driver.provideEntries(entries, to: peer)
            }
            for member in effects.neededSnapshots { sendSnapshot(to: member) }
            for family in effects.discardedFamilies { try engine.dropFamily(family) }
            guard let request = effects.write else { continue }
            var batch = StorageBatch(view: view, newFamily: families.take)
            let outcome = try storage.execute(request, in: &batch)
            try engine.write(batch.batch, durability: batch.durability)  // all of it: one batch, at most one fsync
            driver.completed(outcome.completion)  // it is as durable as was asked, and not before
            for (token, _, reply) in outcome.replies { answer(token, reply) }
            for token in outcome.abandoned { dismiss(token) }
            for family in batch.unmapped { try engine.dropFamily(family) }
        }
    }

    private func send(_ messages: [Message]) { sent += messages }
    private func answer(_ token: UInt64, _ reply: LogIndex) { answers[token] = reply }
    private func answer(_ token: UInt64, _ value: [UInt8]?) { values[token] = value }
    private func dismiss(_ token: UInt64) { dismissed.insert(token) }
    /// Nobody here is ever so far behind.
    private func sendSnapshot(to member: Member) { driver.snapshotEnded(to: member.id, index: nil) }

    func lastCommand(in view: any ReadView) throws(EngineError) -> [UInt8]? {
        try view.get(layout.meta, key: [GroupLayout.statePrefix] + LastCommandMachine.key)
    }
}

extension Array {
    /// Takes everything out.
    fileprivate mutating func splice() -> [Element] {
        defer { self = [] }
        return self
    }
}
