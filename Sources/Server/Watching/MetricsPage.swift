package import Keyspace
internal import Telemetry

/// A node's status as Prometheus reads it. Names are etcd's where the meaning is the same, with `flotilla` for `etcd`
/// (https://etcd.io/docs/v3.6/metrics/). Pure.
package enum MetricsPage {
    package static func text(
        _ status: NodeStatus, process: ProcessUsage, memory: MemoryUsage = MemoryUsage(held: 0, budget: 0)
    ) -> String {
        var page = MetricsText()
        page.gauge(
            "flotilla_server_version", "Which version is running: 1.", UInt64(1),
            [
                ("server_version", status.version), ("engine", status.engine), ("group", "\(status.gid)"),
                ("node", "\(status.id)"),
            ])
        page.gauge(
            "flotilla_server_has_leader", "Whether the node knows a leader.", status.leaderID != nil ? 1 : UInt64(0))
        page.gauge(
            "flotilla_server_is_leader", "Whether the node leads its group.", status.role == .leader ? 1 : UInt64(0))
        page.gauge(
            "flotilla_server_is_learner", "Whether the node has no vote.", status.role == .learner ? 1 : UInt64(0))
        page.counter(
            "flotilla_server_leader_changes_seen_total", "Leaders seen come into office.", status.leaderChanges)
        page.gauge("flotilla_server_term", "The Raft term.", status.term)
        // Indexes of the log: the group's counts, not this process's, hence gauges as in etcd.
        page.gauge("flotilla_server_proposals_committed_total", "Log entries committed.", status.commitIndex)
        page.gauge("flotilla_server_proposals_applied_total", "Log entries applied.", status.lastApplied)
        page.gauge(
            "flotilla_server_proposals_pending", "Proposals that wait for their answer.", status.proposalsPending)
        page.counter(
            "flotilla_server_proposals_failed_total", "Writes that were answered with an error.",
            status.proposalsFailed)
        page.counter("flotilla_server_snapshots_sent_total", "Snapshots sent to other members.", status.snapshotsSent)
        page.counter(
            "flotilla_server_snapshots_installed_total", "Snapshots taken from a leader.", status.snapshotsInstalled)
        page.gauge(
            "flotilla_server_clock_ahead_seconds",
            "How far this machine's clock has jumped ahead of the one that the node goes by.",
            Double(status.clockAhead) / 1000)
        page.gauge("flotilla_server_config", "The newest config that the node has heard of.", status.config)
        page.histogram(
            "flotilla_disk_wal_fsync_duration_seconds", "Batches of log entries, from the write to the disk's word.",
            status.fsync)
        page.gauge("flotilla_db_total_size_in_bytes", "The engine's files.", status.storageBytes)
        page.gauge(
            "flotilla_db_total_size_in_use_in_bytes", "The engine's files without what is free inside them.",
            status.storageBytes - min(status.storageBytes, status.reusableBytes))
        page.gauge("flotilla_disk_capacity_bytes", "The file system that the directory is on.", status.storageCapacity)
        page.gauge("flotilla_disk_free_bytes", "Free on it.", status.storageFree)
        page.gauge(
            "flotilla_disk_is_short", "Whether new values are refused for want of room.",
            status.isShortOfSpace ? 1 : UInt64(0))
        for row in status.operations {
            page.histogram(
                "flotilla_operation_duration_seconds", "Requests of clients, from arrival to a good answer.",
                row.latency, [("operation", row.name)])
        }
        for row in status.operations {
            page.counter(
                "flotilla_operation_errors_total", "Requests of clients that failed.", row.errors,
                [("operation", row.name)])
        }
        for peer in status.peers {
            page.histogram(
                "flotilla_network_peer_round_trip_time_seconds", "A small call to another member.",
                peer.roundTrips, [("To", "\(peer.id)")])
        }
        for member in status.members where status.role == .leader && member.id != status.id {
            page.gauge(
                "flotilla_server_peer_lag_entries", "Entries of a leader's log that a member doesn't have yet.",
                status.lastIndex - min(status.lastIndex, member.matchIndex), [("To", "\(member.id)")])
        }
        shards(status.shards, &page)
        page.gauge("process_start_time_seconds", "Unix seconds.", Double(status.startedAt) / 1000)
        page.gauge("process_resident_memory_bytes", "Resident memory.", process.residentBytes)
        page.gauge(
            "flotilla_memory_held_bytes", "Requests and answers that are held for clients and peers.",
            UInt64(memory.held))
        page.gauge("flotilla_memory_budget_bytes", "What of them may be held at once.", UInt64(memory.budget))
        page.gauge("process_open_fds", "Open file descriptors.", process.openDescriptors)
        page.gauge("process_max_fds", "File descriptors that the process may have.", process.descriptorsMax)
        page.counter("process_cpu_seconds_total", "Processor time, of user and system.", process.cpuSeconds)
        return page.text
    }

    private static func shards(_ shards: [ShardStatus], _ page: inout MetricsText) {
        func each(_ body: (ShardStatus, MetricsText.Labels) -> Void) {
            for shard in shards { body(shard, [("shard", "\(shard.shard)")]) }
        }
        each { page.gauge("flotilla_shard_keys", "Keys, as the engine estimates them.", $0.keys, $1) }
        each {
            page.gauge("flotilla_shard_bytes", "Bytes of keys and values, as the engine estimates them.", $0.bytes, $1)
        }
        each { page.counter("flotilla_shard_reads_total", "Gets and scans answered.", $0.reads, $1) }
        each { page.counter("flotilla_shard_writes_total", "Writes answered.", $0.writes, $1) }
        for shard in shards {
            page.gauge(
                "flotilla_shard_state", "1 for the state that the shard is in here.", UInt64(1),
                [("shard", "\(shard.shard)"), ("state", shard.state.rawValue)])
        }
    }
}
