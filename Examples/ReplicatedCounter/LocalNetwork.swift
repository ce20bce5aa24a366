import Dispatch
import Engines
import RaftHost
import RaftLog
import Synchronization

/// A network inside one process. Between processes a transport sends `Message.encoded` and the snapshot's files;
/// it may lose, delay, repeat and reorder messages, and Raft copes.
final class LocalNetwork: ReplicaTransport {
    private let hosts = Mutex<[ReplicaID: ReplicaHost<CounterMachine>]>([:])

    func connect(_ id: ReplicaID, _ host: ReplicaHost<CounterMachine>) { hosts.withLock { $0[id] = host } }
    func disconnect(_ id: ReplicaID) { hosts.withLock { $0[id] = nil } }

    /// Called from the driver's thread, so it must not block: `receive` only puts messages into a queue.
    func send(_ messages: [Message], membership: Membership) {
        for message in messages {
            hosts.withLock { $0[message.to] }?.receive([message])
        }
    }

    /// The sender exports, the receiver loads. Both take a while, so they happen on a thread that may wait.
    func sendSnapshot(from sender: ReplicaID, to member: Member, done: @escaping @Sendable (Bool) -> Void) {
        let (source, target) = hosts.withLock { ($0[sender], $0[member.id]) }
        guard let source, let target else { return done(false) }
        DispatchQueue.global().async {
            do {
                let directory = try source.staging.make("out")
                defer { source.staging.remove(directory) }
                let snapshot = try source.exportSnapshot(for: member.id, formats: target.formats, to: directory)
                try target.install(snapshot.header, manifests: snapshot.manifests, from: directory)
                done(true)
            } catch {
                done(false)
            }
        }
    }
}
