internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What waits, and what is kept in memory, is bounded, whatever goes wrong.
extension World {
    /// One proposal may go beyond the bound on bytes that wait.
    ///
    /// - Parameter allowed: before.
    func checkAdmission(_ node: Int, _ shell: ReplicaShell, allowed: Int) throws {
        let size = shell.driver.core.unappliedSize
        let most = max(allowed, shell.driver.core.unappliedBytesAllowed)
        // A value, its key and its session; and what the group itself has waiting.
        let bound = most + knobs.driver.core.urgentBytesMax + 2 * (knobs.padding + 1_024)
        guard size > bound, shell.driver.core.isLeader else { return }
        try violate("\(nodes[node].name) took a proposal with \(size) bytes waiting, where \(most) are allowed")
    }

    func checkBounds(_ node: Int, _ shell: ReplicaShell) throws {
        var name: String { nodes[node].name }
        if shell.driver.core.isLeader {
            let worst = shell.driver.core.progress.lazy.map { (peer: $0.key, count: $0.value.inFlight) }
                .filter { $0.count > knobs.driver.core.inflightMessagesMax }.min { $0.peer < $1.peer }
            if let worst { try violate("\(name) has \(worst.count) appends to n\(worst.peer) in flight") }
        }
        if nodes[node].desks.files.count > ExportTable.openMax {
            try violate("\(name) has \(nodes[node].desks.files.count) exports open")
        }
        // One fetch of a shard under an epoch at a time; one of an epoch that is over may be about to end.
        if nodes[node].desks.incoming.count > 2 * knobs.shardCount {
            try violate("\(name) fetches \(nodes[node].desks.incoming.count) copies of \(knobs.shardCount) shards")
        }
    }

    /// In the end nothing waits any more, and what is in memory is what may be.
    func checkMemory(_ node: Int, _ shell: ReplicaShell) throws {
        let name = nodes[node].name
        if shell.driver.core.unappliedSize != 0 {
            try violate("\(name) counts \(shell.driver.core.unappliedSize) bytes as waiting, and has applied all")
        }
        // What is written and applied goes once something is applied.
        if shell.driver.core.logBytesInMemory > knobs.driver.core.memoryBytesMax + 64 * 1_024 {
            try violate("\(name) has \(shell.driver.core.logBytesInMemory) bytes of its log in memory")
        }
        if let waiting = nodes[node].waiters.keys.min() { try violate("\(name) never answers request \(waiting)") }
        if !nodes[node].desks.incoming.isEmpty { try violate("\(name) never ends a fetch") }
    }
}
