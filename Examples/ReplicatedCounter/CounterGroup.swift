import Engines
import RaftHost
import RaftLog

/// What can go wrong in the example.
struct CounterError: Error, CustomStringConvertible {
    var description: String
}

/// The three replicas, and a caller that finds the leader.
final class CounterGroup {
    private(set) var replicas: [ReplicaID: CounterReplica] = [:]
    private var nextRequest: UInt64 = 1

    init(_ disks: [ReplicaID: Disk]) throws {
        let network = LocalNetwork()
        for (id, disk) in disks { replicas[id] = CounterReplica(id: id, disk: disk, network: network) }
        try open()
    }

    var ids: [ReplicaID] { replicas.keys.sorted() }

    private func open() throws {
        var members: [Member] = []
        var founded: [ReplicaID] = []
        for (id, replica) in replicas {
            let incarnation = try replica.mount()
            members.append(Member(id: id, address: "replica-\(id)", incarnation: incarnation, standing: .voter))
            if try replica.bootstrapRecord() != nil { founded.append(id) }
        }
        // All three are in this process, so everybody's incarnation is at hand. Replicas on several machines ask
        // each other first; `BootstrapCore` says whom, and when it is safe to go on.
        if founded.isEmpty {
            let record = BootstrapRecord(
                clusterID: [], gid: CounterReplica.gid, membership: Membership(members: members))
            for replica in replicas.values { try replica.found(record) }
        } else if founded.count < replicas.count {
            // Never found a group again around the survivors: `ReplicaHost.change(.replace(…))` is the way.
            let lost = ids.filter { !founded.contains($0) }.map(\.description).joined(separator: ", ")
            throw CounterError(description: "the disk of replica \(lost) was lost; use a fresh --directory")
        }
        for replica in replicas.values { try replica.start() }
    }

    func close() throws {
        for replica in replicas.values { try replica.stop() }
    }

    func restart(_ id: ReplicaID) throws {
        guard let replica = replicas[id] else { return }
        _ = try replica.mount()
        try replica.start()
    }

    /// The replica that leads; waits for an election.
    func leader() async throws -> CounterReplica {
        for _ in 0..<1_000 {
            if let found = replicas.values.first(where: { $0.host?.status.hasCommittedInTerm == true }) { return found }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw CounterError(description: "no leader after 10 s")
    }

    /// Increments once, however often the request must be sent. Returns the count.
    func increment() async throws -> UInt64 {
        let request = nextRequest
        nextRequest += 1
        while true {
            switch await (try leader()).increment(request: request) {
            case .applied(_, let count): return count
            // `unknown`: it may have been executed. The machine knows, so asking again is safe.
            case .notLeader, .busy, .unknown: try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    /// The newest count, confirmed by a majority.
    func count() async throws -> UInt64 { try await read(CounterMachine.countKey) }

    /// After reopening: request numbers go on where they stopped.
    func resume() async throws { nextRequest = try await read(CounterMachine.lastRequestKey) + 1 }

    private func read(_ key: [UInt8]) async throws -> UInt64 {
        while true {
            if let number = try await leader().linearizableRead(key) { return number }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Waits until every replica has the same count as the leader.
    func waitForAgreement() async throws -> [ReplicaID: UInt64] {
        let expected = try await count()
        for _ in 0..<1_000 {
            var counts: [ReplicaID: UInt64] = [:]
            for (id, replica) in replicas { counts[id] = try replica.localCount() }
            if counts.values.allSatisfy({ $0 == expected }) { return counts }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw CounterError(description: "the replicas don't agree after 10 s")
    }
}
