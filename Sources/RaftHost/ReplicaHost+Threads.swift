public import Engines
internal import Glibc
public import RaftLog
internal import Synchronization

extension ReplicaHost {
    // MARK: - Driver

    /// A clock that is set by the network moves by less; in milliseconds.
    public static var clockToleranceMax: Int64 { 2_000 }

    func runDriver(_ initial: ReplicaDriver) {
        var driver = initial
        var inputs: [Input] = []
        var role = driver.core.role
        var term = driver.core.term
        var leader = driver.core.leader
        var membership = driver.core.membership
        var installed = driver.snapshotsInstalled
        var waitsFor = driver.waitsFor
        var begunTerm: Term = 0
        var clockJumps = false
        let tickInterval = max(1, configuration.driver.core.heartbeatInterval / 5)
        var nextTick = HostClock.monotonic() + tickInterval
        while inbox.take(into: &inputs, until: nextTick) {
            let now = HostClock.monotonic()
            let wall = HostClock.wall()
            driver.observe(wall: wall, now: now)
            for input in inputs { handle(input, &driver, now: now) }
            if now >= nextTick {
                driver.tick(now: now)
                nextTick = now + tickInterval
            }
            repeat { carryOut(driver.effects(now: now), driver.core) } while driver.hasMoreToWrite
            // Before anyone hears of what is new in it.
            publish(driver, condition: nil, sent: 0)
            if role != driver.core.role || term != driver.core.term || leader != driver.core.leader {
                (role, term, leader) = (driver.core.role, driver.core.term, driver.core.leader)
                observe(.roleChanged(role, term: term, leader: leader))
            }
            if membership != driver.core.membership {
                membership = driver.core.membership
                observe(.membershipChanged(membership))
            }
            if installed != driver.snapshotsInstalled {
                installed = driver.snapshotsInstalled
                observe(.snapshotInstalled(LogPosition(index: driver.core.applied, term: driver.core.term)))
            }
            let begun = driver.core.hasCommittedInTerm ? driver.core.term : 0
            if begunTerm != begun {
                begunTerm = begun
                if begun > 0 { observe(.termBegan(begun)) }
            }
            let jumps = driver.clockAhead > Self.clockToleranceMax
            if jumps != clockJumps {
                clockJumps = jumps
                observe(.clockJumped(ahead: jumps ? driver.clockAhead : 0))
            }
            if waitsFor != driver.waitsFor {
                waitsFor = driver.waitsFor
                observe(.waits(forStaged: waitsFor))
            }
        }
        for case .change(_, let done) in inputs { done(.failure(.notLeader(hint: nil))) }
    }

    private func handle(_ input: Input, _ driver: inout ReplicaDriver, now: Milliseconds) {
        switch input {
        case .message(let message): driver.receive(message, now: now)
        case .propose(let payload, let token, let isUrgent):
            if case .failure(let error) = driver.propose(payload, token: token, isUrgent: isUrgent, now: now) {
                let waiter = waiters.withLock { $0.waiting.removeValue(forKey: token) }
                switch error.refusal {
                case .notLeader(let hint): waiter?.fail(.notLeader(hint: hint))
                case .busy: waiter?.fail(.busy)
                }
            }
        case .read(let token, let isUrgent):
            if !driver.read(token: token, isUrgent: isUrgent) {
                let waiter = waiters.withLock { $0.waiting.removeValue(forKey: token) }
                waiter?.fail(driver.core.isLeader ? .busy : .notLeader(hint: driver.core.leader))
            }
        case .change(let change, let done): done(driver.propose(change))
        case .transfer(let target?): _ = driver.transferLeadership(to: target)
        case .transfer(nil): _ = driver.handOver()
        case .completed(let completion): driver.completed(completion)
        case .entries(let entries, let peer): driver.provideEntries(entries, to: peer)
        case .entriesUnreadable(let peer): driver.entriesUnreadable(for: peer)
        case .snapshotStarted(let peer, let position): driver.snapshotStarted(to: peer, index: position.index)
        case .snapshotEnded(let peer, let position):
            driver.snapshotEnded(to: peer, index: position?.index)
            if position != nil { publish(driver, condition: nil, sent: 1) }
        case .install(let snapshot): driver.install(snapshot, now: now)
        case .staged: driver.staged()
        }
    }

    private func carryOut(_ effects: ReplicaDriver.Effects, _ core: RaftCore) {
        if !effects.messages.isEmpty { transport.send(effects.messages, membership: core.membership) }
        if let write = effects.write { writes.post(write) }
        if !effects.readyReads.isEmpty {
            let ready = waiters.withLock { table in
                effects.readyReads.compactMap { table.waiting.removeValue(forKey: $0) }
            }
            let reads = ready.compactMap { waiter -> (@Sendable (ReadResult) -> Void)? in
                if case .read(let done) = waiter { done } else { nil }
            }
            if !readers.post(reads) { for read in reads { read(.busy) } }
        }
        if !effects.failedReads.isEmpty || !effects.unknownProposals.isEmpty {
            let (reads, proposals) = waiters.withLock { table in
                (
                    effects.failedReads.compactMap { table.waiting.removeValue(forKey: $0) },
                    effects.unknownProposals.compactMap { table.waiting.removeValue(forKey: $0) }
                )
            }
            for read in reads { read.fail(.notLeader(hint: core.leader)) }
            for proposal in proposals { proposal.fail(.unknown) }
        }
        for needed in effects.neededEntries {
            chores.post(.readEntries(peer: needed.peer, from: needed.from, through: needed.through))
        }
        for member in effects.neededSnapshots {
            exported.withLock { $0[member.id] = nil }
            transport.sendSnapshot(from: core.id, to: member) { [self] delivered in
                let position = exported.withLock { $0.removeValue(forKey: member.id) }
                inbox.post(.snapshotEnded(to: member.id, delivered ? position : nil))
            }
        }
        if !effects.discardedFamilies.isEmpty { chores.post(.drop(effects.discardedFamilies)) }
    }

    // MARK: - Writer

    /// Bytes of log entries and commands in one batch, unless one request alone has more.
    private static var batchBytesMax: Int { 8 << 20 }

    func runWriter(_ initial: GroupStorage<Machine>) {
        var storage = initial
        var requests: [WriteRequest] = []
        while writes.take(into: &requests, until: nil) {
            do throws(EngineError) {
                // What has queued goes into one batch and one sync, within reason: the driver judges a disk by what it
                // finishes, and everybody waits for the whole batch.
                var rest = requests[...]
                while let first = rest.first {
                    var bytes = first.bytes
                    var count = 1
                    while count < rest.count, bytes + rest[rest.startIndex + count].bytes <= Self.batchBytesMax {
                        bytes += rest[rest.startIndex + count].bytes
                        count += 1
                    }
                    try write(Array(rest.prefix(count)), &storage)
                    rest.removeFirst(count)
                }
            } catch {
                // An fsync that failed once may have lost anything since the last that succeeded: stop, say so.
                published.withLock { $0.condition = error }
                writes.close()
                inbox.close()
                dismissWaiters()
                observe(.failed(error))
                return
            }
        }
    }

    private func write(_ requests: [WriteRequest], _ storage: inout GroupStorage<Machine>) throws(EngineError) {
        let (batch, outcomes) = try writing.withLock { _ throws(EngineError) in try execute(requests, &storage) }
        var done: [(@Sendable (ProposalResult<Machine.Reply>) -> Void, LogPosition, Machine.Reply)] = []
        var abandoned: [Waiter] = []
        waiters.withLock { table in
            for outcome in outcomes {
                for answer in outcome.replies {
                    if case .proposal(let reply)? = table.waiting.removeValue(forKey: answer.token) {
                        done.append((reply, answer.position, answer.reply))
                    }
                }
                abandoned += outcome.abandoned.compactMap { table.waiting.removeValue(forKey: $0) }
            }
        }
        for waiter in abandoned { waiter.fail(.unknown) }
        inbox.post(outcomes.map { Input.completed($0.completion) })
        for (reply, position, result) in done { reply(.applied(position, result)) }
        if !batch.unmapped.isEmpty { chores.post(.drop(batch.unmapped)) }
        if batch.tookFamilies { chores.post(.stock) }
    }

    private func execute(
        _ requests: [WriteRequest], _ storage: inout GroupStorage<Machine>
    ) throws(EngineError) -> (StorageBatch, [GroupStorage<Machine>.Outcome]) {
        let view = try engine.snapshot()
        var batch = StorageBatch(view: view) { [self] () throws(EngineError) in
            try whenThereIsRoom { () throws(EngineError) in try families.take() }
        }
        var outcomes: [GroupStorage<Machine>.Outcome] = []
        outcomes.reserveCapacity(requests.count)
        for request in requests { outcomes.append(try storage.execute(request, in: &batch)) }
        view.close()
        try writeWhenThereIsRoom(batch)
        return (batch, outcomes)
    }

    private func writeWhenThereIsRoom(_ batch: StorageBatch) throws(EngineError) {
        try whenThereIsRoom { () throws(EngineError) in
            let start = HostClock.nanoseconds()
            try engine.write(batch.batch, durability: batch.durability)
            if batch.durability != .buffered {
                observe(.synced(nanoseconds: HostClock.nanoseconds() - start))
            }
        }
    }

    /// A full disk is not the end: nothing was written, and it is tried again until there is room or the host
    /// stops. Meanwhile the driver, whose writes don't complete, gives leadership up by itself.
    private func whenThereIsRoom<Result>(_ body: () throws(EngineError) -> Result) throws(EngineError) -> Result {
        var wasFull = false
        while true {
            do throws(EngineError) {
                let result = try body()
                if wasFull { published.withLock { $0.condition = nil } }
                return result
            } catch {
                guard !waiters.withLock({ $0.isStopped }) else { throw error }
                switch error {
                case .noSpace(let place): if !wasFull { observe(.noSpace(place)) }
                // Somebody else holds the file: a backup tool, a person with a shell. Nothing was written.
                case .busy: break
                default: throw error
                }
                published.withLock { $0.condition = error }
                wasFull = true
                usleep(200_000)
            }
        }
    }

    // MARK: - Reader

    func runReader() {
        var batch: [@Sendable (ReadResult) -> Void] = []
        while readers.take(into: &batch, until: nil) {
            guard !batch.isEmpty else { continue }
            do throws(EngineError) {
                let snapshot = try engine.snapshot()
                for read in batch { read(.ready(snapshot)) }
                snapshot.close()
            } catch {
                for read in batch { read(.failed(error)) }
            }
        }
    }

    // MARK: - Chores: whatever takes long and nobody waits for

    func runChores() {
        var batch: [Chore] = []
        var complaint: EngineError?
        while chores.take(into: &batch, until: nil) {
            for chore in batch {
                do throws(EngineError) {
                    try carryOut(chore)
                    // What went wrong before is over; what others have to say stays.
                    if let said = complaint {
                        published.withLock { if $0.condition == said { $0.condition = nil } }
                        complaint = nil
                    }
                } catch {
                    if case .closed = error { return }
                    complaint = error
                    published.withLock { $0.condition = error }
                }
            }
        }
    }

    private func carryOut(_ chore: Chore) throws(EngineError) {
        switch chore {
        case .readEntries(let peer, let from, let through):
            do throws(EngineError) {
                let snapshot = try engine.snapshot()
                defer { snapshot.close() }
                let entries = try layout.readEntries(
                    from: from, through: through, bytesMax: configuration.driver.core.appendBytesMax, in: snapshot)
                inbox.post(.entries(entries, to: peer))
            } catch {
                // The driver waits for an answer, and asking again would bring the same.
                inbox.post(.entriesUnreadable(for: peer))
                if case .corruption = error { observe(.damaged(error)) }
                throw error
            }
        case .drop(let unmapped):
            chores.post(.reclaim)
            for (number, family) in unmapped.enumerated() {
                do throws(EngineError) { try engine.dropFamily(family) } catch {
                    later(.drop(Array(unmapped[number...])), after: error)
                    throw error
                }
            }
        case .reclaim:
            // One slice at a time: whatever else is to be done comes between them.
            do throws(EngineError) {
                if try engine.reclaim() { chores.post(.reclaim) }
            } catch {
                later(.reclaim, after: error)
                throw error
            }
        case .stock:
            try families.stock(configuration.spareFamilies)
        }
    }

    /// A full disk is not the end, and dropping is what may make room.
    private func later(_ chore: Chore, after error: EngineError) {
        guard case .noSpace = error else { return }
        usleep(200_000)
        chores.post(chore)
    }

    // MARK: - Families in motion (on threads of the caller, who may wait)

    /// Exports the group at disk speed into files, and lets go of the engine's snapshot. `formats`: those that the
    /// receiver takes. `member`: for whom; its log is kept meanwhile.
    public func exportSnapshot(
        for member: ReplicaID?, formats: [String], to directory: String
    ) throws(EngineError) -> ExportedSnapshot {
        do throws(EngineError) { return try exportedSnapshot(for: member, formats, directory) } catch {
            noteDamage(error)
            throw error
        }
    }

    private func exportedSnapshot(
        for member: ReplicaID?, _ formats: [String], _ directory: String
    ) throws(EngineError) -> ExportedSnapshot {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        let (header, physical) = try SnapshotHeader.read(layout, in: snapshot)
        if let member {
            exported.withLock { $0[member] = header.applied.position }
            inbox.post(.snapshotStarted(to: member, header.applied.position))
            observe(.snapshotSending(to: member, position: header.applied.position))
        }
        var exported = ExportedSnapshot(header: header, manifests: [])
        for (number, family) in physical.enumerated() {
            exported.manifests.append(
                try export(family, from: snapshot, formats: formats, to: "\(directory)/\(number)"))
        }
        return exported
    }

    /// Exports one family into a new directory, in the best form that `formats` holds.
    public func export(
        _ family: FamilyID, from snapshot: any ReadSnapshot, formats: [String], to directory: String
    ) throws(EngineError) -> FamilyManifest {
        try makeDirectories(directory, isPassing: true)
        let format = engine.capabilities.format(for: formats)
        return try engine.export(family, from: snapshot, format: format, to: directory)
    }

    /// Loads a received snapshot into unmapped families and hands it to the driver.
    public func install(
        _ header: SnapshotHeader, manifests: [FamilyManifest], from directory: String
    ) throws(EngineError) {
        guard manifests.count == header.families.count else { throw .corruption(place: "snapshot header") }
        var loaded: [FamilyID] = []
        do throws(EngineError) {
            for (number, manifest) in manifests.enumerated() {
                loaded.append(try load(manifest, from: "\(directory)/\(number)"))
            }
        } catch {
            chores.post(.drop(loaded))
            throw error
        }
        inbox.post(.install(SnapshotInstall(header: header, families: loaded)))
    }

    /// Loads an exported family into a new one that nothing maps.
    public func load(_ manifest: FamilyManifest, from directory: String) throws(EngineError) -> FamilyID {
        let family = try families.take()
        do throws(EngineError) { try engine.ingest(manifest, from: directory, into: family) } catch {
            chores.post(.drop([family]))
            throw error
        }
        return family
    }

    /// Notes, durably, that a loaded family is what the log calls `name`, and tries again what waits for it.
    public func stage(_ name: String, _ staged: StagedFamily) throws(EngineError) {
        var batch = WriteBatch()
        layout.putStaged(name, staged, in: &batch)
        try engine.write(batch, durability: .synced)
        inbox.post(.staged)
    }

    /// What a staged family becomes, and what is to be noted of it.
    public struct StagedChange: Sendable {
        /// `nil`: the row goes.
        public var rows: [(key: [UInt8], value: [UInt8]?)]
        public var note: [UInt8]

        public init(rows: [(key: [UInt8], value: [UInt8]?)], note: [UInt8]) {
            self.rows = rows
            self.note = note
        }
    }

    /// Changes a staged family and its note, durably and in one write. False if the log has mapped it meanwhile, or it was
    /// changed: then nothing happens.
    ///
    /// - Parameters:
    ///   - note: as of which it is changed.
    ///   - change: gets a row of the family as it is now.
    public func changeStaged(
        _ name: String, noted note: [UInt8],
        _ change: (_ row: ([UInt8]) throws(EngineError) -> [UInt8]?) throws(EngineError) -> StagedChange
    ) throws(EngineError) -> Bool {
        // The writer maps what is staged by what it has read: between its look and its write nobody may change that.
        try writing.withLock { _ throws(EngineError) in try changeStagedAlone(name, noted: note, change) }
    }

    private func changeStagedAlone(
        _ name: String, noted note: [UInt8],
        _ change: (_ row: ([UInt8]) throws(EngineError) -> [UInt8]?) throws(EngineError) -> StagedChange
    ) throws(EngineError) -> Bool {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        guard let staged = try layout.staged(name, in: snapshot), staged.note == note else { return false }
        let change = try change { (key) throws(EngineError) in
            try staged.family.flatMap { (family) throws(EngineError) in try snapshot.get(family, key: key) }
        }
        var family = staged.family
        if family == nil, !change.rows.isEmpty { family = try families.take() }
        var batch = WriteBatch()
        if let family {
            for row in change.rows {
                if let value = row.value {
                    batch.put(family, key: row.key, value: value)
                } else {
                    batch.delete(family, key: row.key)
                }
            }
        }
        layout.putStaged(name, StagedFamily(family: family, note: change.note), in: &batch)
        try engine.write(batch, durability: .synced)
        return true
    }

    /// What waits may be tried again: it is staged already.
    public func tryStagedAgain() { inbox.post(.staged) }

    /// Forgets what is staged under names that no entry can map any more.
    ///
    /// - Parameter note: they go only if this is noted of them.
    public func discardStaged(_ names: [String], noted note: [UInt8]? = nil) throws(EngineError) {
        // As in `changeStaged`: what the writer maps meanwhile must not go.
        let dropped = try writing.withLock { _ throws(EngineError) in try discardStagedAlone(names, noted: note) }
        if !dropped.isEmpty { chores.post(.drop(dropped)) }
    }

    private func discardStagedAlone(_ names: [String], noted note: [UInt8]?) throws(EngineError) -> [FamilyID] {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        var batch = WriteBatch()
        var dropped: [FamilyID] = []
        for name in names {
            guard let staged = try layout.staged(name, in: snapshot), note == nil || staged.note == note else {
                continue
            }
            layout.deleteStaged(name, in: &batch)
            if let family = staged.family { dropped.append(family) }
        }
        if !batch.isEmpty { try engine.write(batch, durability: .synced) }
        return dropped
    }

    /// Families that were loaded and are not needed after all.
    public func discard(_ families: [FamilyID]) { chores.post(.drop(families)) }

    /// For files on their way to and from this replica.
    public var staging: StagingArea { configuration.staging }

    /// Forms in which this replica takes families.
    public var formats: [String] { engine.capabilities.formats }
}
