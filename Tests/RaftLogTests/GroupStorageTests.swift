import Engines
import RaftLog
import Testing

/// The writing half: what a request leaves on the disk, and what opening makes of it.
@Suite struct GroupStorageTests {
    typealias Storage = GroupStorage<TranscriptGroup.ListMachine>

    /// A founder's disk.
    private final class Disk {
        let engine = MemoryEngine()
        let families: FamilyTable
        let layout: GroupLayout
        var storage: Storage
        var serial: UInt64 = 0
        /// Of the last batch.
        var durability: Durability?

        init() throws {
            families = try FamilyTable(engine: engine)
            layout = try families.layout(of: 7)
            var batch = WriteBatch()
            BootstrapRecord(clusterID: [1], gid: 7, membership: DriverFixture.membership).write(to: layout, in: &batch)
            try engine.write(batch, durability: .synced)
            storage = try GroupStorage.open(layout, machine: TranscriptGroup.ListMachine(), in: engine.snapshot())
                .storage
        }

        @discardableResult
        func execute(_ change: (inout WriteRequest) -> Void) throws -> Storage.Outcome {
            serial += 1
            var request = WriteRequest(serial: serial)
            change(&request)
            var batch = StorageBatch(view: try engine.snapshot()) { [families] () throws(EngineError) in
                try families.take()
            }
            let outcome = try storage.execute(request, in: &batch)
            durability = batch.durability
            try engine.write(batch.batch, durability: batch.durability)
            for family in batch.unmapped { try engine.dropFamily(family) }
            return outcome
        }

        /// Appends and applies.
        @discardableResult
        func run(_ entries: [Entry]) throws -> Storage.Outcome {
            try execute {
                $0.entries = entries
                $0.commands = entries.map { .init(entry: $0, token: nil) }
            }
        }

        func open() throws -> (storage: Storage, state: RestoredState) {
            try GroupStorage.open(layout, machine: TranscriptGroup.ListMachine(), in: engine.snapshot())
        }

        func list() throws -> String? {
            let opened = try open().storage
            guard let family = opened.families[TranscriptGroup.ListMachine.family] else { return nil }
            return try engine.snapshot().get(family, key: TranscriptGroup.ListMachine.key)
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func command(_ index: LogIndex, _ payload: String, stamp: Milliseconds = 0, term: Term = 1) -> Entry {
        Entry(index: index, term: term, kind: .command, stamp: stamp, payload: Array(payload.utf8))
    }

    private func apply(_ entries: [Entry]) -> [WriteRequest.Command] { entries.map { .init(entry: $0, token: nil) } }

    @Test func aRestartRestoresExactlyWhatWasWritten() throws {
        let disk = try Disk()
        let entries = [command(2, "a", stamp: 50), command(3, "b", stamp: 40), command(4, "c")]
        try disk.execute {
            $0.hardState = HardState(term: 4, vote: ReplicaID(3))
            $0.entries = entries
            $0.commands = self.apply(Array(entries[..<2]))
        }
        let state = try disk.open().state
        #expect(state.hardState == HardState(term: 4, vote: ReplicaID(3)))
        #expect(state.base == BootstrapRecord.position)
        #expect(state.applied == LogPosition(index: 3, term: 1))
        #expect(state.stored.map(\.index) == [2, 3])
        #expect(state.unapplied == [entries[2]])
        #expect(state.membership == DriverFixture.membership)
        #expect(try disk.open().storage.applied.logTime == 50, "log time never goes back")
        #expect(try disk.list() == "a b")
    }

    @Test func twoCommandsOnOneKeyInOneBatchBothCount() throws {
        let disk = try Disk()
        try disk.run((2...6).map { self.command($0, "x") })
        #expect(try disk.list() == "x x x x x")
    }

    @Test func aCrashLosesEffectAndPositionTogether() throws {
        for kept in 0...2 {
            let disk = try Disk()
            try disk.execute { $0.entries = [self.command(2, "a"), self.command(3, "b")] }
            try disk.execute { $0.commands = self.apply([self.command(2, "a")]) }
            let applied = disk.engine.unsyncedCount
            try disk.execute { $0.commands = self.apply([self.command(3, "b")]) }
            // Making the list's family syncs what was before it.
            disk.engine.crash(keepingUnsynced: min(kept, disk.engine.unsyncedCount))
            let position = try disk.open().state.applied.index
            #expect(try disk.list() == [1: nil, 2: "a", 3: "a b"][position] ?? nil, "kept \(kept) of \(applied)")
        }
    }

    @Test func effectsMayLagByAsMuchAsTheyLikeAndTheLogMayNot() throws {
        let disk = try Disk()
        // The list's family is there from now on.
        try disk.run([command(2, "a")])
        try disk.engine.sync()
        for index: LogIndex in 3...20 {
            try disk.execute {
                $0.hardState = HardState(term: index, vote: nil)
                $0.entries = [self.command(index, "b")]
                $0.commands = self.apply([self.command(index, "b")])
            }
            #expect(disk.durability == .logged)
        }
        try disk.execute { $0.compactThrough = LogPosition(index: 15, term: 1) }
        #expect(disk.durability == .buffered)
        disk.engine.crash(keepingUnsynced: 4)
        let state = try disk.open().state
        #expect(state.hardState.term == 20)
        #expect(state.applied.index == 6)
        #expect(state.base == BootstrapRecord.position, "the log goes no sooner than the effects")
        #expect(state.unapplied.map(\.index) == Array(7...20))
        #expect(try disk.list() == "a b b b b")
    }

    @Test func aChangeOfMembersIsSyncedWithAllThatIsBeforeIt() throws {
        let disk = try Disk()
        try disk.run([command(2, "a")])
        try disk.run([command(3, "b")])
        let change = MembershipChange.remove(ReplicaID(2))
        let entry = Entry(index: 4, term: 1, kind: .membership, stamp: 0, payload: change.encoded)
        try disk.execute { $0.entries = [entry] }
        #expect(disk.durability == .logged)
        try disk.execute { $0.commands = self.apply([entry]) }
        #expect(disk.durability == .synced)
        disk.engine.crash(keepingUnsynced: 0)
        let state = try disk.open().state
        #expect(state.applied.index == 4)
        #expect(state.membership[ReplicaID(2)] == nil)
    }

    @Test func replacedEntriesAreGone() throws {
        let disk = try Disk()
        try disk.execute { $0.entries = (2...6).map { self.command($0, "old") } }
        try disk.execute {
            $0.entries = [self.command(4, "new", term: 2)]
            $0.truncatesLog = true
        }
        #expect(try disk.open().state.unapplied.map(\.term) == [1, 1, 2])
    }

    @Test func compactionForgetsTheLogUpToItsPosition() throws {
        let disk = try Disk()
        let entries = (2...9).map { command($0, "x") }
        try disk.execute {
            $0.entries = entries
            $0.commands = self.apply(entries)
        }
        try disk.execute { $0.compactThrough = LogPosition(index: 6, term: 1) }
        let state = try disk.open().state
        #expect(state.base == LogPosition(index: 6, term: 1))
        #expect(state.stored.map(\.index) == [7, 8, 9])
        let left = try disk.layout.readEntries(from: 1, through: 99, bytesMax: .max, in: disk.engine.snapshot())
        #expect(left.isEmpty, "the beginning is gone: \(left.map(\.index))")
        #expect(
            try disk.layout.readEntries(from: 7, through: 8, bytesMax: .max, in: disk.engine.snapshot()).map(\.index)
                == [7, 8])
        #expect(
            try disk.layout.readEntries(from: 7, through: 9, bytesMax: 1, in: disk.engine.snapshot()).map(\.index) == [
                7
            ])
    }

    @Test func aMissingEntryIsFoundOut() throws {
        let disk = try Disk()
        try disk.execute { $0.entries = (2...5).map { self.command($0, "x") } }
        var batch = WriteBatch()
        batch.delete(disk.layout.log, key: GroupLayout.logKey(3))
        try disk.engine.write(batch, durability: .synced)
        #expect(throws: EngineError.corruption(place: "log of group 7: entry 3 is missing")) { _ = try disk.open() }
    }

    @Test func aDamagedEntryIsFoundOut() throws {
        let disk = try Disk()
        try disk.execute { $0.entries = [self.command(2, "payload")] }
        var record = try #require(try disk.engine.snapshot().get(disk.layout.log, key: GroupLayout.logKey(2)))
        record[record.count - 1] ^= 1
        var batch = WriteBatch()
        batch.put(disk.layout.log, key: GroupLayout.logKey(2), value: record)
        try disk.engine.write(batch, durability: .synced)
        #expect(throws: EngineError.corruption(place: "log of group 7, entry 2")) { _ = try disk.open() }
        #expect(throws: EngineError.self) {
            _ = try disk.layout.readEntries(from: 2, through: 2, bytesMax: .max, in: disk.engine.snapshot())
        }
    }

    /// A disk restored from an old copy beside a newer log (dragonboat #156).
    @Test func aStateOlderThanItsLogsBeginningIsFoundOut() throws {
        let disk = try Disk()
        var batch = WriteBatch()
        let base = AppliedState(position: LogPosition(index: 50, term: 2), logTime: 0)
        batch.put(disk.layout.meta, key: GroupLayout.baseKey, value: base.encoded)
        try disk.engine.write(batch, durability: .synced)
        #expect(throws: EngineError.self) { _ = try disk.open() }
    }

    // MARK: - Snapshots

    private func snapshot(of disk: Disk, for target: Disk) throws -> SnapshotInstall {
        let view = try disk.engine.snapshot()
        let (header, families) = try SnapshotHeader.read(disk.layout, in: view)
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
        return SnapshotInstall(header: header, families: loaded)
    }

    @Test func aSnapshotIsFlippedInWithOneBatch() throws {
        let (source, target) = (try Disk(), try Disk())
        let entries = (2...9).map { command($0, "\($0)", stamp: 7) }
        try source.run(entries)
        try target.execute {
            $0.hardState = HardState(term: 3, vote: ReplicaID(2))
            $0.entries = [self.command(2, "other"), self.command(3, "other")]
            $0.commands = self.apply([self.command(2, "other")])
        }
        let install = try snapshot(of: source, for: target)
        #expect(try target.list() == "other", "loading shows nothing yet")
        try target.execute { $0.install = install }
        #expect(try target.list() == "2 3 4 5 6 7 8 9")
        // All of it was synced, and the log is empty behind it; vote and term are this replica's own.
        target.engine.crash(keepingUnsynced: 0)
        let opened = try target.open()
        #expect(opened.state.base == LogPosition(index: 9, term: 1))
        #expect(opened.state.applied == LogPosition(index: 9, term: 1))
        #expect(opened.state.unapplied.isEmpty && opened.state.stored.isEmpty)
        #expect(opened.state.hardState == HardState(term: 3, vote: ReplicaID(2)))
        #expect(opened.storage.applied.logTime == 7)
        #expect(try target.list() == "2 3 4 5 6 7 8 9")
    }

    @Test func aCrashBeforeTheFlipLeavesWhatWasThere() throws {
        let (source, target) = (try Disk(), try Disk())
        try source.run((2...5).map { self.command($0, "new") })
        try target.run([self.command(2, "old")])
        try target.engine.sync()
        let install = try snapshot(of: source, for: target)
        target.engine.crash(keepingUnsynced: 0)
        #expect(try target.list() == "old")
        let opened = try target.open().storage
        try target.families.sweep(mapped: Set(opened.families.values).union([target.layout.log, target.layout.meta]))
        #expect(try !target.engine.families().contains(try #require(install.families.first)), "swept away")
        #expect(try target.list() == "old")
    }

    @Test func commandsAfterASnapshotMayShareItsBatch() throws {
        let (source, target) = (try Disk(), try Disk())
        try source.run([self.command(2, "a"), self.command(3, "b")])
        let install = try snapshot(of: source, for: target)
        let next = [command(4, "c"), command(5, "d")]
        let outcome = try target.execute {
            $0.install = install
            $0.entries = next
            $0.commands = self.apply(next)
        }
        #expect(outcome.completion.applied == LogPosition(index: 5, term: 1))
        #expect(try target.list() == "a b c d")
        #expect(try target.open().state.stored.map(\.index) == [4, 5])
    }

    @Test func aMembershipChangeTakesEffectWhereItIsApplied() throws {
        let disk = try Disk()
        let change = MembershipChange.remove(ReplicaID(3))
        let entry = Entry(index: 2, term: 1, kind: .membership, stamp: 0, payload: change.encoded)
        let again = Entry(index: 3, term: 1, kind: .membership, stamp: 0, payload: change.encoded)
        let outcome = try disk.run([entry, again])
        #expect(outcome.completion.membership?.voters == [ReplicaID(1), ReplicaID(2)])
        #expect(outcome.completion.membership?.index == 2, "made twice, it changes nothing the second time")
        #expect(try disk.open().state.membership.voters.count == 2)
    }
}
