public import Engines
internal import Glibc
public import RaftLog
internal import Synchronization

extension ReplicaHost {
    // MARK: - Driver

    func runDriver(_ initial: ReplicaDriver) {
        var driver = initial
        var inputs: [Input] = []
        var role = driver.core.role
        var term = driver.core.term
        var leader = driver.core.leader
        var membership = driver.core.membership
        var installed = driver.snapshotsInstalled
        let tickInterval = max(1, configuration.driver.core.heartbeatInterval / 5)
        var nextTick = HostClock.monotonic() + tickInterval
        while inbox.take(into: &inputs, until: nextTick) {
            let now = HostClock.monotonic()
            let wall = HostClock.wall()
            for input in inputs { handle(input, &driver, now: now, wall: wall) }
            if now >= nextTick {
                driver.tick(now: now)
                nextTick = now + tickInterval
            }
            repeat { carryOut(driver.effects(now: now), driver.core) } while driver.hasMoreToApply
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
            publish(driver, condition: nil, sent: 0)
        }
        for case .change(_, let done) in inputs { done(.failure(.notLeader(hint: nil))) }
    }

    private func handle(_ input: Input, _ driver: inout ReplicaDriver, now: Milliseconds, wall: Milliseconds) {
        switch input {
        case .message(let message): driver.receive(message, now: now)
        case .propose(let payload, let token):
            if case .failure(let error) = driver.propose(payload, token: token, stamp: wall) {
                let waiter = waiters.withLock { $0.waiting.removeValue(forKey: token) }
                switch error.refusal {
                case .notLeader(let hint): waiter?.fail(.notLeader(hint: hint))
                case .busy: waiter?.fail(.busy)
                }
            }
        case .read(let token):
            if !driver.read(token: token) {
                let waiter = waiters.withLock { $0.waiting.removeValue(forKey: token) }
                waiter?.fail(driver.core.isLeader ? .busy : .notLeader(hint: driver.core.leader))
            }
        case .change(let change, let done): done(driver.propose(change))
        case .transfer(let target): _ = driver.transferLeadership(to: target)
        case .completed(let completion): driver.completed(completion)
        case .entries(let entries, let peer): driver.provideEntries(entries, to: peer)
        case .snapshotStarted(let peer, let position): driver.snapshotStarted(to: peer, index: position.index)
        case .snapshotEnded(let peer, let position):
            driver.snapshotEnded(to: peer, index: position?.index)
            if position != nil { publish(driver, condition: nil, sent: 1) }
        case .install(let snapshot): driver.install(snapshot, now: now)
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
        for member in effects.neededSnapshots { chores.post(.sendSnapshot(member)) }
        if !effects.discardedFamilies.isEmpty { chores.post(.drop(effects.discardedFamilies)) }
    }

    // MARK: - Writer

    func runWriter(_ initial: GroupStorage<Machine>) {
        var storage = initial
        var requests: [WriteRequest] = []
        while writes.take(into: &requests, until: nil) {
            do throws(EngineError) {
                try write(requests, &storage)
            } catch {
                // An fsync that failed once may have lost anything since the last that succeeded: stop, say so.
                published.withLock { $0.condition = error.description }
                writes.close()
                inbox.close()
                dismissWaiters()
                observe(.failed(error))
                return
            }
        }
    }

    private func write(_ requests: [WriteRequest], _ storage: inout GroupStorage<Machine>) throws(EngineError) {
        let view = try engine.snapshot()
        var batch = StorageBatch(view: view) { [self] () throws(EngineError) in
            try whenThereIsRoom { () throws(EngineError) in try families.take() }
        }
        var outcomes: [GroupStorage<Machine>.Outcome] = []
        outcomes.reserveCapacity(requests.count)
        for request in requests { outcomes.append(try storage.execute(request, in: &batch)) }
        view.close()
        try writeWhenThereIsRoom(batch)
        var done: [(@Sendable (ProposalResult<Machine.Reply>) -> Void, LogPosition, Machine.Reply)] = []
        waiters.withLock { table in
            for outcome in outcomes {
                for answer in outcome.replies {
                    if case .proposal(let reply)? = table.waiting.removeValue(forKey: answer.token) {
                        done.append((reply, answer.position, answer.reply))
                    }
                }
            }
        }
        inbox.post(outcomes.map { Input.completed($0.completion) })
        for (reply, position, result) in done { reply(.applied(position, result)) }
        if !batch.unmapped.isEmpty { chores.post(.drop(batch.unmapped)) }
        if batch.tookFamilies { chores.post(.stock) }
    }

    private func writeWhenThereIsRoom(_ batch: StorageBatch) throws(EngineError) {
        try whenThereIsRoom { () throws(EngineError) in
            try engine.write(batch.batch, durability: batch.mustSync ? .synced : .buffered)
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
                guard case .noSpace(let place) = error, !waiters.withLock({ $0.isStopped }) else { throw error }
                if !wasFull {
                    observe(.noSpace(place))
                    published.withLock { $0.condition = error.description }
                }
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
        var complaint: String?
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
                    complaint = error.description
                    published.withLock { $0.condition = error.description }
                }
            }
        }
    }

    private func carryOut(_ chore: Chore) throws(EngineError) {
        switch chore {
        case .readEntries(let peer, let from, let through):
            var entries: [Entry] = []
            // The driver waits for an answer; without entries it asks again, or sends a snapshot.
            defer { inbox.post(.entries(entries, to: peer)) }
            let snapshot = try engine.snapshot()
            defer { snapshot.close() }
            entries = try layout.readEntries(
                from: from, through: through, bytesMax: configuration.driver.core.appendBytesMax, in: snapshot)
        case .sendSnapshot(let member):
            do throws(EngineError) { try sendSnapshot(to: member) } catch {
                inbox.post(.snapshotEnded(to: member.id, nil))
                throw error
            }
        case .drop(let unmapped):
            for family in unmapped { try engine.dropFamily(family) }
        case .stock:
            try families.stock(configuration.spareFamilies)
        case .removeStaging(let path):
            removeTree(path)
        }
    }

    /// Exports at disk speed into files, lets go of the engine's snapshot, then sends the files.
    private func sendSnapshot(to member: Member) throws(EngineError) {
        let directory = try makeStagingDirectory("out")
        let snapshot = try engine.snapshot()
        var outgoing: OutgoingSnapshot
        do throws(EngineError) {
            defer { snapshot.close() }
            let (header, physical) = try SnapshotHeader.read(layout, in: snapshot)
            inbox.post(.snapshotStarted(to: member.id, header.applied.position))
            observe(.snapshotSending(to: member.id, position: header.applied.position))
            outgoing = OutgoingSnapshot(header: header, manifests: [], directory: directory)
            for (number, family) in physical.enumerated() {
                let path = "\(directory)/\(number)"
                try makeDirectory(path)
                outgoing.manifests.append(
                    try engine.export(family, from: snapshot, format: ChunkFormat.portable, to: path))
            }
        } catch {
            removeTree(directory)
            throw error
        }
        let position = outgoing.header.applied.position
        transport.sendSnapshot(outgoing, to: member) { [inbox, chores] delivered in
            inbox.post(.snapshotEnded(to: member.id, delivered ? position : nil))
            chores.post(.removeStaging(directory))
        }
    }

    /// A directory for a snapshot that arrives.
    public func makeIncomingDirectory() throws(EngineError) -> String { try makeStagingDirectory("in") }

    public func removeIncomingDirectory(_ path: String) { removeTree(path) }

    /// Loads a received snapshot into unmapped families and hands it to the driver. Blocks for as long as
    /// loading takes; call it from a thread that may.
    public func install(
        _ header: SnapshotHeader, manifests: [FamilyManifest], from directory: String
    ) throws(EngineError) {
        guard manifests.count == header.families.count else { throw .corruption(place: "snapshot header") }
        var loaded: [FamilyID] = []
        do throws(EngineError) {
            for (number, manifest) in manifests.enumerated() {
                let family = try families.take()
                loaded.append(family)
                try engine.ingest(manifest, from: "\(directory)/\(number)", into: family)
            }
        } catch {
            chores.post(.drop(loaded))
            throw error
        }
        inbox.post(.install(SnapshotInstall(header: header, families: loaded)))
    }

    private func makeStagingDirectory(_ kind: String) throws(EngineError) -> String {
        let serial = stagingSerial.add(1, ordering: .relaxed).newValue
        let path = "\(configuration.stagingDirectory)/\(kind)-\(serial)"
        try makeDirectory(path)
        return path
    }
}

func makeDirectory(_ path: String) throws(EngineError) {
    if mkdir(path, 0o700) != 0, errno != EEXIST { throw .io(place: "creating \(path)", errno: errno) }
}

/// Removes a directory with everything in it; what can't be removed stays for the sweep at the next start.
func removeTree(_ path: String) {
    guard let directory = opendir(path) else { return }
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name == "." || name == ".." { continue }
        let child = "\(path)/\(name)"
        if unlink(child) != 0 { removeTree(child) }
    }
    closedir(directory)
    rmdir(path)
}
