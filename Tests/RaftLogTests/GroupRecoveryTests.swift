import Bytes
import Engines
import RaftLog
import Testing

/// A survivor goes on alone, and nobody who was thrown out comes back through its log or its network.
@Suite struct GroupRecoveryTests {
    private static let newLife = Incarnation(high: 77, low: 7)
    private static let own = ReplicaID(1)

    /// The disk of replica 1 of 1, 2, 3, or of other members.
    private final class Survivor {
        let engine = MemoryEngine()
        let families: FamilyTable
        let layout: GroupLayout
        private(set) var storage: GroupStorage<TranscriptGroup.ListMachine>
        private var last = BootstrapRecord.position
        var term: Term = 1

        init(_ membership: Membership = DriverFixture.membership) throws {
            families = try FamilyTable(engine: engine)
            layout = try families.layout(of: 7)
            var batch = WriteBatch()
            BootstrapRecord(clusterID: [1], gid: 7, membership: membership).write(to: layout, in: &batch)
            try engine.write(batch, durability: .synced)
            storage = try GroupStorage.open(layout, machine: TranscriptGroup.ListMachine(), in: engine.snapshot())
                .storage
        }

        func add(_ kind: Entry.Kind, _ payload: [UInt8], applied isApplied: Bool) throws {
            let entry = Entry(
                index: last.index + 1, term: term, kind: kind, stamp: kind == .command ? last.index * 10 : 0,
                payload: payload)
            last = LogPosition(index: entry.index, term: entry.term)
            try execute {
                $0.entries = [entry]
                if isApplied { $0.commands = [.init(entry: entry, token: nil)] }
            }
        }

        func execute(_ fill: (inout WriteRequest) -> Void) throws {
            var request = WriteRequest(serial: 1)
            fill(&request)
            var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in
                try families.take()
            }
            _ = try storage.execute(request, in: &batch)
            try engine.write(batch.batch, durability: .synced)
        }

        func recovery() throws -> GroupRecovery {
            try GroupRecovery(
                layout, id: own, incarnation: DriverFixture.incarnation(own), in: engine.snapshot())
        }

        @discardableResult
        func recover() throws -> RecoveryNote {
            var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in
                try families.take()
            }
            let note = try recovery().recover(TranscriptGroup.ListMachine(), life: newLife, time: 5, in: &batch)
            #expect(batch.mustSync)
            try engine.write(batch.batch, durability: .synced)
            return note
        }

        /// The replica as a server would start it, under its new life.
        func start() throws -> (driver: ReplicaDriver, storage: GroupStorage<TranscriptGroup.ListMachine>) {
            let opened = try GroupStorage.open(layout, machine: TranscriptGroup.ListMachine(), in: engine.snapshot())
            let driver = ReplicaDriver(
                id: own, incarnation: newLife, configuration: ReplicaDriver.Configuration(), state: opened.state,
                seed: 3, now: 0)
            return (driver, opened.storage)
        }

        func words() throws -> [String] {
            let view = try engine.snapshot()
            guard let family = try layout.family(TranscriptGroup.ListMachine.family, in: view) else { return [] }
            return try view.get(family, key: TranscriptGroup.ListMachine.key)
                .map { String(decoding: $0, as: UTF8.self).split(separator: " ").map(String.init) } ?? []
        }
    }

    private func life(_ id: UInt64, _ low: UInt64 = 9) -> Incarnation { Incarnation(high: id, low: low) }

    /// Lets time pass for a driver that is alone, until it has nothing left to do. Returns what it said.
    private func runAlone(_ survivor: Survivor, until isDone: (ReplicaDriver) -> Bool) throws -> [Message] {
        var (driver, storage) = try survivor.start()
        var said: [Message] = []
        var now: Milliseconds = 0
        while !isDone(driver), now < 10_000 {
            now += 50
            driver.tick(now: now)
            for _ in 0..<20 {
                let effects = driver.effects(now: now)
                said += effects.messages
                guard let write = effects.write else { break }
                var batch = StorageBatch(view: try survivor.engine.snapshot()) { () throws(EngineError) in
                    try survivor.families.take()
                }
                let outcome = try storage.execute(write, in: &batch)
                try survivor.engine.write(batch.batch, durability: .synced)
                driver.completed(outcome.completion)
            }
        }
        #expect(isDone(driver), "still \(driver.core.role) in term \(driver.core.term), commit \(driver.core.commit)")
        return said
    }

    @Test func theSurvivorElectsItselfAndKeepsItsWholeLog() throws {
        let survivor = try Survivor()
        for word in ["a", "b"] { try survivor.add(.command, Array(word.utf8), applied: true) }
        survivor.term = 3
        for word in ["c", "d"] { try survivor.add(.command, Array(word.utf8), applied: false) }
        let before = try survivor.recovery()
        #expect(before.unapplied.map(\.index) == [4, 5] && before.last == LogPosition(index: 5, term: 3))
        #expect(before.lost.map(\.id) == [ReplicaID(2), ReplicaID(3)] && before.obstacle == nil)
        let note = try survivor.recover()
        #expect(try survivor.words() == ["a", "b", "c", "d"])
        #expect(note.index == 6 && note.last == before.last && note.before == DriverFixture.membership)
        let said = try runAlone(survivor) { $0.core.hasCommittedInTerm }
        #expect(said.isEmpty, "there is nobody to speak to")
        let state = try survivor.start().driver.core
        #expect(state.membership.members.map(\.id) == [Self.own] && state.membership.index == 6)
        #expect(try survivor.layout.recoveries(in: survivor.engine.snapshot()) == [note])
    }

    @Test func aVoteInAHigherTermIsLeftBehind() throws {
        let survivor = try Survivor()
        try survivor.add(.command, [97], applied: false)
        try survivor.execute { $0.hardState = HardState(term: 9, vote: ReplicaID(3)) }
        try survivor.recover()
        let state = try survivor.start().driver.core
        #expect(state.hardState == HardState(term: 10, vote: Self.own))
        #expect(state.lastPosition == LogPosition(index: 3, term: 10))
        _ = try runAlone(survivor) { $0.core.hasCommittedInTerm && $0.core.term == 11 }
    }

    /// Applied after the recovery such a change would make a quorum of which the survivor is no longer the half.
    @Test func changesOfMembersInTheLogDoNotBringAnybodyBack() throws {
        let survivor = try Survivor()
        let changes: [MembershipChange] = [
            .add(ReplicaID(4), address: "n4", incarnation: life(4)), .promote(ReplicaID(4), incarnation: life(4)),
            .remove(ReplicaID(2)), .replace(ReplicaID(3), address: "n3", incarnation: life(3)), .remove(Self.own),
        ]
        for change in changes {
            try survivor.add(.membership, change.encoded, applied: false)
            try survivor.add(.command, [120], applied: false)
        }
        let recovery = try survivor.recovery()
        #expect(recovery.pendingChanges.map(\.change) == changes)
        #expect(recovery.finalMembership[Self.own] == nil && recovery.obstacle == nil)
        #expect(recovery.lost.map(\.address) == ["n2", "n3", "n3", "n4"])
        let note = try survivor.recover()
        _ = try runAlone(survivor) { $0.core.hasCommittedInTerm }
        let core = try survivor.start().driver.core
        #expect(
            core.membership.members == [
                Member(id: Self.own, address: "n1", incarnation: Self.newLife, standing: .voter)
            ])
        #expect(core.membership.index == note.index && core.unappliedMemberships.isEmpty)
        #expect(try survivor.words().count == changes.count)
    }

    /// Two of three that come back elect a leader of a higher term, whose messages name the survivor's old life.
    @Test func whoWasThrownOutIsNotHeard() throws {
        let survivor = try Survivor()
        try survivor.add(.command, [97], applied: true)
        try survivor.recover()
        var driver = try survivor.start().driver
        let before = driver.core
        let bodies: [Message.Body] = [
            .append(previous: LogPosition(index: 2, term: 1), entries: [DriverFixture.entry(3, 40)], commit: 3),
            .heartbeat(commit: 3, round: 1),
            .requestVote(last: LogPosition(index: 50, term: 40), isPreVote: false, force: true),
            .timeoutNow, .vote(granted: true, isPreVote: false), .appended(match: 50),
        ]
        for body in bodies {
            driver.receive(
                Message(
                    from: ReplicaID(2), to: Self.own, fromIncarnation: DriverFixture.incarnation(ReplicaID(2)),
                    toIncarnation: DriverFixture.incarnation(Self.own), term: 40, body: body),
                now: 1)
        }
        #expect(driver.core.hardState == before.hardState && driver.core.leader == nil)
        #expect(driver.core.lastPosition == before.lastPosition)
        #expect(driver.effects(now: 1).isEmpty)
    }

    @Test func aSurvivorTakesNewMembers() throws {
        let survivor = try Survivor()
        try survivor.add(.command, [97], applied: false)
        try survivor.recover()
        _ = try runAlone(survivor) { $0.core.hasCommittedInTerm }
        var driver = try survivor.start().driver
        var now: Milliseconds = 0
        while !driver.core.isLeader, now < 5_000 {
            now += 50
            driver.tick(now: now)
            if let write = driver.effects(now: now).write { driver.completed(WriteCompletion(serial: write.serial)) }
        }
        for _ in 0..<5 {
            if let write = driver.effects(now: now).write {
                var completion = WriteCompletion(serial: write.serial)
                completion.applied = write.commands.last.map { LogPosition(index: $0.entry.index, term: $0.entry.term) }
                driver.completed(completion)
            }
        }
        // The numbers of those who are lost are free again.
        let added = driver.propose(.add(ReplicaID(2), address: "n2", incarnation: life(2, 10)))
        #expect(throws: Never.self) { _ = try added.get() }
        #expect(throws: RaftCore.ChangeRefusal.self) {
            try driver.propose(.replace(ReplicaID(3), address: "n3", incarnation: life(3, 10))).get()
        }
    }

    @Test func whoHasNoVoteOrDecidesAloneIsNotRecovered() throws {
        func obstacle(_ members: [Member]) throws -> GroupRecovery.Obstacle? {
            try Survivor(Membership(members: members)).recovery().obstacle
        }
        let others = DriverFixture.membership.members.dropFirst()
        let own = DriverFixture.membership.members[0]
        var learner = own
        learner.standing = .learner
        var stranger = own
        stranger.incarnation = life(1, 99)
        #expect(try obstacle([own] + others) == nil)
        #expect(try obstacle([learner] + others) == .notVoter)
        #expect(try obstacle([stranger] + others) == .notVoter)
        #expect(try obstacle(Array(others)) == .notVoter)
        #expect(try obstacle([own]) == .onlyVoter)
        #expect(try obstacle([]) == .nothingHere)
        // It decides alone, but its log holds somebody who would have to agree.
        let survivor = try Survivor(Membership(members: [own]))
        try survivor.add(
            .membership, MembershipChange.add(ReplicaID(2), address: "n2", incarnation: life(2)).encoded, applied: false
        )
        try survivor.add(
            .membership, MembershipChange.promote(ReplicaID(2), incarnation: life(2)).encoded, applied: false)
        #expect(try survivor.recovery().obstacle == nil)
        try survivor.recover()
        _ = try runAlone(survivor) { $0.core.hasCommittedInTerm }
    }

    @Test(arguments: 0..<60) func anyLogEndsWithTheSurvivorAlone(seed: Int) throws {
        var dice = SplitMix64(seed: UInt64(seed))
        let survivor = try Survivor()
        var words: [String] = []
        let count = Int.random(in: 0...30, using: &dice)
        let applied = Int.random(in: 0...count, using: &dice)
        for number in 0..<count {
            if Int.random(in: 0..<6, using: &dice) == 0 { survivor.term += 1 }
            let id = ReplicaID(UInt64.random(in: 1...5, using: &dice))
            let isApplied = number < applied
            switch Int.random(in: 0..<8, using: &dice) {
            case 0: try survivor.add(.opening, [], applied: isApplied)
            case 1:
                let change = MembershipChange.add(id, address: "n\(id)", incarnation: life(id.rawValue))
                try survivor.add(.membership, change.encoded, applied: isApplied)
            case 2:
                let change = MembershipChange.promote(id, incarnation: life(id.rawValue))
                try survivor.add(.membership, change.encoded, applied: isApplied)
            case 3 where id != Self.own:
                try survivor.add(.membership, MembershipChange.remove(id).encoded, applied: isApplied)
            default:
                words.append("w\(number)")
                try survivor.add(.command, Array("w\(number)".utf8), applied: isApplied)
            }
        }
        let before = try survivor.recovery()
        if before.obstacle == .onlyVoter { return }
        #expect(before.obstacle == nil)
        let note = try survivor.recover()
        #expect(note.index > before.rows.membership.index && note.index > before.finalMembership.index)
        _ = try runAlone(survivor) { $0.core.hasCommittedInTerm }
        #expect(try survivor.words() == words)
        let core = try survivor.start().driver.core
        #expect(core.membership.members.map(\.id) == [Self.own] && core.membership.voters == [Self.own])
    }

    @Test func aNoteIsReadAsItWasWritten() throws {
        let note = RecoveryNote(
            time: 1, index: 2, applied: LogPosition(index: 3, term: 4), last: LogPosition(index: 5, term: 6),
            before: DriverFixture.membership, oldLife: life(1), life: Self.newLife, missing: ["shard/3/4"])
        #expect(try RecoveryNote(encoded: note.encoded) == note)
        for length in 0..<note.encoded.count {
            #expect(throws: CodingError.self) { _ = try RecoveryNote(encoded: Array(note.encoded.prefix(length))) }
        }
        let alone = Membership(
            members: [Member(id: Self.own, address: "n1", incarnation: Self.newLife, standing: .voter)], index: 2)
        #expect(note.isUnfinished(in: alone, id: Self.own, incarnation: life(1)))
        #expect(!note.isUnfinished(in: alone, id: Self.own, incarnation: Self.newLife))
    }
}
