internal import Keyspace
internal import RaftHost
internal import RaftLog
internal import Synchronization
internal import Telemetry

/// Measures how long the other members take to answer a small call. (The Raft stream goes one way, and its messages wait
/// for disks.)
final class PeerProbe: Sendable {
    private static let interval: Duration = .seconds(2)

    private struct Peer {
        var address: String
        var roundTrips = DurationHistogram()
        var last: UInt64 = 0
        /// Monotonic milliseconds; `nil` before the first answer.
        var heardAt: UInt64?
    }

    private let peers = Mutex<[ReplicaID: Peer]>([:])

    /// - Parameters:
    ///   - members: the others, as of now.
    ///   - ask: whether the node at an address has answered. Has its own deadline.
    func run(
        members: @Sendable () -> [Member], ask: @escaping @Sendable (Member) async -> Bool
    ) async {
        while !Task.isCancelled {
            let members = members()
            await withTaskGroup(of: Void.self) { group in
                for member in members {
                    group.addTask {
                        let start = HostClock.nanoseconds()
                        guard await ask(member) else { return }
                        self.heard(member, HostClock.nanoseconds() - start)
                    }
                }
            }
            peers.withLock { peers in
                let ids = Set(members.map(\.id))
                peers = peers.filter { ids.contains($0.key) }
                for member in members {
                    peers[member.id, default: Peer(address: member.address)].address = member.address
                }
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    private func heard(_ member: Member, _ nanoseconds: UInt64) {
        let now = HostClock.monotonic()
        peers.withLock { peers in
            var peer = peers[member.id] ?? Peer(address: member.address)
            peer.roundTrips.record(nanoseconds)
            peer.last = nanoseconds
            peer.heardAt = now
            peers[member.id] = peer
        }
    }

    /// The others, by id, as a status shows them.
    var report: [NodeStatus.Peer] {
        let now = HostClock.monotonic()
        return peers.withLock { $0 }.sorted { $0.key.rawValue < $1.key.rawValue }.map { id, peer in
            NodeStatus.Peer(
                id: id.rawValue, address: peer.address, roundTripNanoseconds: peer.heardAt.map { _ in peer.last },
                heardAgoMs: peer.heardAt.map { now - min(now, $0) }, roundTrips: peer.roundTrips)
        }
    }
}
