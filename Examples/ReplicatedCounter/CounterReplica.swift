import Engines
import Foundation
import RaftHost
import RaftLog

/// One replica of the counter: a disk, and while it runs, the host that works on it.
final class CounterReplica {
    static let gid: UInt64 = 1

    let id: ReplicaID
    private let disk: Disk
    private let network: LocalNetwork
    private var open: Open?
    private(set) var host: ReplicaHost<CounterMachine>?

    /// The disk, and where the group's rows lie on it. One `FamilyTable` for each open engine: it hands out the
    /// engine's families.
    private struct Open {
        var disk: Disk.Mounted
        var families: FamilyTable
        var layout: GroupLayout
    }

    init(id: ReplicaID, disk: Disk, network: LocalNetwork) {
        self.id = id
        self.disk = disk
        self.network = network
    }

    /// Opens the disk. The host starts later, once the group's founders are known.
    func mount() throws(EngineError) -> Incarnation {
        let mounted = try disk.mount(gid: Self.gid, replica: id)
        let families = try FamilyTable(engine: mounted.engine)
        try families.sweepUnmapped()
        open = Open(disk: mounted, families: families, layout: try families.layout(of: Self.gid))
        return mounted.incarnation
    }

    /// The record with which the group began, if this disk has been part of it.
    func bootstrapRecord() throws(EngineError) -> BootstrapRecord? {
        guard let open else { throw .closed }
        let view = try open.disk.engine.snapshot()
        defer { view.close() }
        return try open.layout.bootstrapRecord(in: view)
    }

    /// Writes the group's first membership. It must be on disk before the replica takes part in anything.
    func found(_ record: BootstrapRecord) throws(EngineError) {
        guard let open else { throw .closed }
        var batch = WriteBatch()
        record.write(to: open.layout, in: &batch)
        try open.disk.engine.write(batch, durability: .synced)
    }

    /// Starts the host's threads and connects it.
    func start() throws(EngineError) {
        guard let open else { throw .closed }
        var configuration = ReplicaHost<CounterMachine>.Configuration(staging: open.disk.staging)
        // Keep little of the log, so that a replica that was away for long needs a snapshot.
        configuration.driver.retainedEntries = 100
        let host = try ReplicaHost(
            configuration: configuration, engine: open.disk.engine, families: open.families, layout: open.layout,
            machine: CounterMachine(), id: id, incarnation: open.disk.incarnation,
            seed: .random(in: .min ... .max), transport: network
        ) { [id] event in
            // After a failed write nothing that the replica says can be trusted: it has stopped, and so do we.
            if case .failed(let error) = event {
                print("replica \(id) has stopped: \(error)")
                exit(1)
            }
        }
        self.host = host
        network.connect(id, host)
    }

    /// Ends the replica without a word to the others; requests that wait hear `unknown`.
    func stop() throws(EngineError) {
        network.disconnect(id)
        host?.stop()
        host = nil
        if let open { try disk.unmount(open.disk) }
        open = nil
    }

    // MARK: - Requests

    func increment(request: UInt64) async -> ProposalResult<UInt64> {
        guard let host else { return .notLeader(hint: nil) }
        return await withCheckedContinuation { continuation in
            host.propose(CounterMachine.increment(request: request)) { continuation.resume(returning: $0) }
        }
    }

    /// A linearizable read of one row; `nil` if this replica can't answer (it doesn't lead).
    func linearizableRead(_ key: [UInt8]) async throws -> UInt64? {
        guard let host else { return nil }
        let layout = host.layout
        return try await withCheckedThrowingContinuation { continuation in
            host.read { result in
                guard case .ready(let snapshot) = result else { return continuation.resume(returning: nil) }
                continuation.resume(with: Result { try CounterMachine.read(key, layout, in: snapshot) })
            }
        }
    }

    /// The count as this replica has it just now, which may be old.
    func localCount() throws(EngineError) -> UInt64 {
        guard let open else { throw .closed }
        let view = try open.disk.engine.snapshot()
        defer { view.close() }
        return try CounterMachine.read(CounterMachine.countKey, open.layout, in: view)
    }
}
