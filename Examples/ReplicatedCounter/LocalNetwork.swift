import Dispatch
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

    /// The files lie in `snapshot.directory` until `done` is called. Loading them takes a while, so it happens
    /// on a thread that may wait.
    func sendSnapshot(_ snapshot: OutgoingSnapshot, to member: Member, done: @escaping @Sendable (Bool) -> Void) {
        guard let host = hosts.withLock({ $0[member.id] }) else { return done(false) }
        DispatchQueue.global().async {
            do {
                try host.install(snapshot.header, manifests: snapshot.manifests, from: snapshot.directory)
                done(true)
            } catch {
                done(false)
            }
        }
    }
}
