import Engines
import Foundation
import RaftHost
import RaftLog
import Synchronization
import Testing

/// The shell: real threads, real engines, messages handed over in memory. Every wait is for an event.
@Suite(.serialized) struct ReplicaHostTests {
    typealias Host = ReplicaHost<TranscriptGroup.ListMachine>

    @Test func aGroupOnThreeEnginesAgrees() async throws {
        let group = try HostGroup([.rocksdb, .lmdb, .sqlite])
        defer { group.stop() }
        let leader = await group.nextLeader()
        for number in 1...20 {
            guard case .applied(_, let reply) = await leader.propose("\(number)") else {
                Issue.record("proposal \(number) was not applied")
                return
            }
            #expect(reply == Array("\(number)".utf8))
        }
        #expect(try await leader.list() == (1...20).map(String.init).joined(separator: " "))
        // Whoever takes over has all of it.
        let next = try #require(group.members.first { $0.host.status.id != leader.host.status.id })
        leader.host.transferLeadership(to: next.host.status.id)
        let successor = await group.nextLeader()
        #expect(successor.host.status.id != leader.host.status.id)
        #expect(try await successor.list() == (1...20).map(String.init).joined(separator: " "))
    }

    @Test func aFollowerSendsItsClientsToTheLeader() async throws {
        let group = try HostGroup([.memory, .memory, .memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        // A follower knows the leader once it has heard of it: after something was committed by all.
        _ = await leader.propose("a")
        for member in group.members where member.host.status.id != leader.host.status.id {
            guard case .notLeader = await member.propose("b") else {
                Issue.record("a follower took a proposal")
                continue
            }
            guard case .notLeader = await member.read() else {
                Issue.record("a follower took a read")
                continue
            }
        }
    }

    /// A page that comes late, or a verdict on what was staged before, must not touch what the log has mapped meanwhile.
    @Test(arguments: [EngineKind.memory] + EngineKind.durable) func onlyWhatIsStillStagedAsItWasIsChanged(
        kind: EngineKind
    ) async throws {
        let group = try HostGroup([kind])
        defer { group.stop() }
        let leader = await group.nextLeader()
        let (host, name) = (leader.host, "shard")
        try host.stage(name, StagedFamily(family: nil, note: [1]))
        func change(from note: [UInt8], to next: [UInt8], _ value: [UInt8]?) throws -> (isDone: Bool, before: [UInt8]?)
        {
            var before: [UInt8]?
            let isDone = try host.changeStaged(name, noted: note) { (row) throws(EngineError) in
                before = try row([7])
                return Host.StagedChange(rows: [([7], value)], note: next)
            }
            return (isDone, before)
        }
        let first = try change(from: [1], to: [2], [10])
        #expect(first.isDone && first.before == nil, "in a family that is made for it")
        let late = try change(from: [1], to: [3], [11])
        #expect(!late.isDone)
        let second = try change(from: [2], to: [3], nil)
        #expect(second.isDone && second.before == [10])
        try host.discardStaged([name], noted: [2])
        let third = try change(from: [3], to: [4], [12])
        #expect(third.isDone && third.before == nil, "what was judged was another copy")
        try host.discardStaged([name], noted: [4])
        let gone = try change(from: [4], to: [5], nil)
        #expect(!gone.isDone)
    }

    @Test func manyProposalsAreAllAnsweredOnce() async throws {
        let group = try HostGroup([.memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        let applied = await withTaskGroup(of: Int.self) { tasks in
            for number in 0..<500 {
                tasks.addTask { if case .applied = await leader.propose("\(number)") { 1 } else { 0 } }
            }
            return await tasks.reduce(0, +)
        }
        #expect(applied == 500)
        #expect(try await leader.list()?.split(separator: " ").count == 500)
    }

    /// An fsync error poisons the replica: it stops, says why, and nobody waits for an answer that can't come.
    @Test func aReplicaWhoseDiskFailsStopsAndAnswersEverybody() async throws {
        let group = try HostGroup([.memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        _ = await leader.propose("a")
        (leader.engine as? MemoryEngine)?.failNextWrite(.io(place: "disk", errno: 5))
        guard case .unknown = await leader.propose("b") else {
            Issue.record("the proposal has another answer than unknown")
            return
        }
        #expect(await group.nextFailure() == .io(place: "disk", errno: 5))
        guard case .busy = await leader.propose("c"), case .busy = await leader.read() else {
            Issue.record("a replica that has stopped takes requests")
            return
        }
        #expect(leader.host.status.condition == EngineError.io(place: "disk", errno: 5))
    }

    /// The others are whole: what can't be read here is read there.
    @Test func aLeaderThatCannotReadARowGivesWay() async throws {
        let group = try HostGroup([.memory, .memory, .memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        _ = await leader.propose("a")
        leader.host.noteDamage(.busy("no damage"))
        leader.host.noteDamage(.corruption(place: "a row"))
        let next = await group.nextLeader()
        #expect(next.host.status.id != leader.host.status.id)
        #expect(try await next.list() == "a")
    }

    @Test func aFullDiskIsTriedAgain() async throws {
        let group = try HostGroup([.memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        _ = await leader.propose("a")
        (leader.engine as? MemoryEngine)?.failNextWrite(.noSpace(place: "disk"))
        _ = await leader.propose("b")
        #expect(try await leader.list() == "a b")
    }

    /// Somebody else holds SQLite's file for a moment: nothing was written, and the replica goes on.
    @Test func aBusyFileIsTriedAgain() async throws {
        let group = try HostGroup([.memory])
        defer { group.stop() }
        let leader = await group.nextLeader()
        _ = await leader.propose("a")
        (leader.engine as? MemoryEngine)?.failNextWrite(.busy("another connection"))
        guard case .applied = await leader.propose("b") else {
            Issue.record("the proposal was not applied")
            return
        }
        #expect(try await leader.list() == "a b")
        #expect(leader.host.status.condition == nil)
    }

    /// A row of the log that can't be read: followers that need it get a snapshot, and somebody is told.
    @Test(arguments: [nil, [1, 2, 3]] as [[UInt8]?])
    func aLogRowThatCannotBeReadBringsFollowersASnapshotAndAnAlarm(damage: [UInt8]?) async throws {
        // Nothing that was applied is answered from memory.
        let group = try HostGroup([.memory, .memory, .memory]) { $0.driver.core.memoryBytesMax = 0 }
        defer { group.stop() }
        let leader = await group.nextLeader()
        _ = await leader.propose("a")
        let behind = try #require(group.members.first { $0.host.status.id != leader.host.status.id })
        group.isolate(behind.host.status.id)
        guard case .applied(let position, _) = await leader.propose("b"), case .applied = await leader.propose("c"),
            case .applied = await leader.propose("d")
        else {
            Issue.record("a majority didn't apply")
            return
        }
        // In both, whichever leads when the third comes back.
        for member in group.members where member.host.status.id != behind.host.status.id {
            var batch = WriteBatch()
            let (log, key) = (member.host.layout.log, GroupLayout.logKey(position.index))
            if let damage { batch.put(log, key: key, value: damage) } else { batch.delete(log, key: key) }
            try member.engine.write(batch, durability: .synced)
        }
        group.isolate(nil)
        #expect(await group.damageAndSnapshot(at: behind.host.status.id))
        #expect(try await behind.storedList() == "a b c d")
    }

    @Test func whoWaitsWhenTheHostStopsIsAnswered() async throws {
        let group = try HostGroup([.memory, .memory])
        let leader = await group.nextLeader()
        // Without the other one nothing is committed any more.
        group.isCut.cut()
        async let proposal = leader.propose("never")
        async let read = leader.read()
        while leader.host.status.last.index < 3 { await Task.yield() }
        group.stop()
        if case .applied = await proposal { Issue.record("applied without a majority") }
        if case .ready = await read { Issue.record("read without a majority") }
        guard case .busy = await leader.propose("late") else {
            Issue.record("a host that has stopped takes proposals")
            return
        }
    }
}

/// Hosts in one process, and what happens to them.
private final class HostGroup: Sendable {
    typealias Host = ReplicaHost<TranscriptGroup.ListMachine>

    struct MemberHost: Sendable {
        let engine: any StorageEngine
        let host: Host

        func propose(_ text: String) async -> ProposalResult<[UInt8]> {
            await withCheckedContinuation { done in host.propose(Array(text.utf8)) { done.resume(returning: $0) } }
        }

        func read() async -> ReadResult {
            await withCheckedContinuation { done in host.read { done.resume(returning: $0) } }
        }

        /// The list as it is here.
        func storedList() async throws -> String? {
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            guard let family = try host.layout.family(TranscriptGroup.ListMachine.family, in: snapshot) else {
                return nil
            }
            return try snapshot.get(family, key: TranscriptGroup.ListMachine.key)
                .map { String(decoding: $0, as: UTF8.self) }
        }

        /// The list, by a linearizable read.
        func list() async throws -> String? {
            let layout = host.layout
            let row: Result<[UInt8]?, any Error> = await withCheckedContinuation { done in
                host.read { result in
                    done.resume(
                        returning: Result {
                            guard case .ready(let snapshot) = result else { throw EngineError.busy("\(result)") }
                            guard let family = try layout.family(TranscriptGroup.ListMachine.family, in: snapshot)
                            else { return nil }
                            return try snapshot.get(family, key: TranscriptGroup.ListMachine.key)
                        })
                }
            }
            return try row.get().map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// Hands messages over to whoever is named.
    private final class Transport: ReplicaTransport {
        let group: Mutex<[ReplicaID: Host]> = Mutex([:])
        let isolated: Mutex<ReplicaID?> = Mutex(nil)
        let isCut: @Sendable () -> Bool
        private let path: String
        private let serial = Atomic<Int>(0)

        /// - Parameter path: for snapshots on their way.
        init(_ path: String, isCut: @escaping @Sendable () -> Bool) {
            self.path = path
            self.isCut = isCut
        }

        func send(_ messages: [Message], membership: Membership) {
            if isCut() { return }
            let hosts = group.withLock { $0 }
            let isolated = isolated.withLock { $0 }
            for message in messages where message.to != isolated && message.from != isolated {
                hosts[message.to]?.receive([message])
            }
        }

        func sendSnapshot(from sender: ReplicaID, to member: Member, done: @escaping @Sendable (Bool) -> Void) {
            let hosts = group.withLock { $0 }
            guard let source = hosts[sender], let target = hosts[member.id], isolated.withLock({ $0 != member.id })
            else {
                return done(false)
            }
            let directory = "\(path)/snapshot-\(serial.add(1, ordering: .relaxed).newValue)"
            // The caller is the driver, which doesn't wait.
            Task.detached {
                do throws(EngineError) {
                    let exported = try source.exportSnapshot(for: member.id, formats: target.formats, to: directory)
                    try target.install(exported.header, manifests: exported.manifests, from: directory)
                    done(true)
                } catch { done(false) }
            }
        }
    }

    private enum Event: Sendable {
        case leader(ReplicaID)
        case damaged(EngineError)
        case installed(ReplicaID)
        case failed(EngineError)
    }

    let members: [MemberHost]
    let isCut = CutSwitch()
    private let path: String
    private let events: AsyncStream<Event>
    private let isStopped = Mutex(false)
    private let transport: Transport

    init(_ kinds: [EngineKind], _ configure: (inout Host.Configuration) -> Void = { _ in }) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-hosts-\(UUID().uuidString)").path
        let (stream, post) = AsyncStream.makeStream(of: Event.self)
        events = stream
        let ids = kinds.indices.map { ReplicaID(UInt64($0) + 1) }
        let membership = Membership(
            members: ids.map {
                Member(id: $0, address: "n\($0)", incarnation: TranscriptGroup.incarnation($0), standing: .voter)
            })
        let transport = Transport(path) { [isCut] in isCut.isCut }
        self.transport = transport
        var members: [MemberHost] = []
        for (id, kind) in zip(ids, kinds) {
            let directory = "\(path)/\(id)"
            for name in ["engine", "staging"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
            }
            let engine = try kind.open("\(directory)/engine")
            let families = try FamilyTable(engine: engine)
            let layout = try families.layout(of: 7)
            var batch = WriteBatch()
            BootstrapRecord(clusterID: [1], gid: 7, membership: membership).write(to: layout, in: &batch)
            try engine.write(batch, durability: .synced)
            var configuration = Host.Configuration(staging: StagingArea("\(directory)/staging"))
            configure(&configuration)
            let host = try Host(
                configuration: configuration, engine: engine,
                families: families, layout: layout, machine: TranscriptGroup.ListMachine(), id: id,
                incarnation: TranscriptGroup.incarnation(id), seed: id.rawValue, transport: transport
            ) { event in
                switch event {
                case .roleChanged(.leader, _, _): post.yield(.leader(id))
                case .failed(let error): post.yield(.failed(error))
                case .damaged(let error): post.yield(.damaged(error))
                case .snapshotInstalled: post.yield(.installed(id))
                default: break
                }
            }
            transport.group.withLock { $0[id] = host }
            members.append(MemberHost(engine: engine, host: host))
        }
        self.members = members
    }

    /// Waits until somebody becomes leader.
    func nextLeader() async -> MemberHost {
        for await event in events {
            if case .leader(let id) = event { return members[Int(id.rawValue) - 1] }
        }
        preconditionFailure("no more events")
    }

    /// Nothing reaches this one, and nothing comes from it; `nil`: no longer.
    func isolate(_ member: ReplicaID?) { transport.isolated.withLock { $0 = member } }

    /// Waits until damage was reported, and a snapshot installed there after it.
    func damageAndSnapshot(at id: ReplicaID) async -> Bool {
        var isDamaged = false
        for await event in events {
            switch event {
            case .damaged(.corruption): isDamaged = true
            case .installed(id): return isDamaged
            case .leader, .installed, .damaged, .failed: break
            }
        }
        return false
    }

    func nextFailure() async -> EngineError? {
        for await event in events {
            if case .failed(let error) = event { return error }
        }
        return nil
    }

    func stop() {
        let isFirst = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard isFirst else { return }
        for member in members { member.host.stop() }
        for member in members { try? member.engine.close() }
        try? FileManager.default.removeItem(atPath: path)
    }
}

private final class CutSwitch: Sendable {
    private let value = Atomic<Bool>(false)
    var isCut: Bool { value.load(ordering: .relaxed) }
    func cut() { value.store(true, ordering: .relaxed) }
}
