import Engines
import Foundation
import RaftHost
import RaftLog
import Sharding
import Synchronization

/// A replica on a directory, started as a server starts it, with its peers in the same process.
final class RunningReplica<Machine: StateMachine>: Sendable {
    let directory: NodeDirectory
    let engine: any StorageEngine
    let host: ReplicaHost<Machine>
    let record: BootstrapRecord?

    init(
        _ path: String, _ identity: DirectoryIdentity, machine: Machine, transport: InProcessTransport<Machine>
    ) throws {
        directory = try NodeDirectory.open(
            path, engine: identity.engine, role: identity.role, groupId: identity.groupId, nodeId: identity.nodeId,
            incarnation: String(repeating: "0", count: 32))
        engine = try directory.openEngine()
        let families = try FamilyTable(engine: engine)
        try families.sweepUnmapped()
        let layout = try families.layout(of: identity.groupId)
        let view = try engine.snapshot()
        record = try layout.bootstrapRecord(in: view)
        view.close()
        let incarnation = try unwrapped(Incarnation(hex: directory.identity.incarnation))
        let id = ReplicaID(identity.nodeId)
        host = try ReplicaHost(
            configuration: .init(staging: directory.staging), engine: engine, families: families,
            layout: layout, machine: machine, id: id, incarnation: incarnation, seed: identity.nodeId + 1,
            transport: transport
        ) { _ in }
        transport.add(id, host)
    }

    func propose(_ payload: [UInt8]) async throws -> Machine.Reply {
        let result = await withCheckedContinuation { done in host.propose(payload) { done.resume(returning: $0) } }
        guard case .applied(_, let reply) = result else { throw Missing(what: "applied, not \(result)") }
        return reply
    }

    /// A linearizable read.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (GroupLayout, any ReadSnapshot) throws -> Value
    ) async throws -> Value {
        let layout = host.layout
        let result: Result<Value, any Error> = await withCheckedContinuation { done in
            host.read { answer in
                done.resume(
                    returning: Result {
                        guard case .ready(let snapshot) = answer else { throw Missing(what: "ready, not \(answer)") }
                        return try body(layout, snapshot)
                    })
            }
        }
        return try result.get()
    }

    func stop() {
        host.stop()
        try? engine.close()
    }
}

/// Hands messages over within the process, snapshots included.
final class InProcessTransport<Machine: StateMachine>: ReplicaTransport {
    private let hosts = Mutex<[ReplicaID: ReplicaHost<Machine>]>([:])
    private let staging: String

    init(staging: String) { self.staging = staging }

    func add(_ id: ReplicaID, _ host: ReplicaHost<Machine>) { hosts.withLock { $0[id] = host } }

    func send(_ messages: [Message], membership: Membership) {
        let hosts = hosts.withLock { $0 }
        for message in messages { hosts[message.to]?.receive([message]) }
    }

    func sendSnapshot(from sender: ReplicaID, to member: Member, done: @escaping @Sendable (Bool) -> Void) {
        let (from, to) = hosts.withLock { ($0[sender], $0[member.id]) }
        guard let from, let to else { return done(false) }
        let path = "\(staging)/\(UUID().uuidString)"
        Thread.detachNewThread {
            do {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                let made = try from.exportSnapshot(for: member.id, formats: to.formats, to: path)
                try to.install(made.header, manifests: made.manifests, from: path)
                done(true)
            } catch { done(false) }
        }
    }

    /// Waits until a host leads and has committed in its term.
    func leader() async throws -> ReplicaID {
        func found() -> ReplicaID? {
            hosts.withLock { $0 }.first { $0.value.status.role == .leader && $0.value.status.hasCommittedInTerm }?.key
        }
        return try await wait { found() }
    }

    /// Waits until `probe` answers. So many looks, not so many seconds: a machine that is busy with other tests may leave
    /// this one waiting for longer than any deadline.
    func wait<Value: Sendable>(_ probe: () -> Value?) async throws -> Value {
        for _ in 0..<5_000 {
            if let value = probe() { return value }
            try await Task.sleep(for: .milliseconds(2))
        }
        let states = hosts.withLock { $0 }.map { "\($0.key): \($0.value.status)" }.sorted()
        throw Missing(what: "what was waited for, in 5,000 looks; \(states.joined(separator: "; "))")
    }
}
