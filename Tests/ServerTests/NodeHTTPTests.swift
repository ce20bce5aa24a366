import Engines
import HTTPService
import Keyspace
import RaftLog
import Server
import Telemetry
import Testing

/// `/metrics`, `/healthz`, `/readyz`.
@Suite struct NodeHTTPTests {
    private func status(_ change: (inout NodeStatus) -> Void = { _ in }) -> NodeStatus {
        var status = NodeStatus(
            gid: 100, id: 0, address: "a:1", role: .follower, term: 1, commitIndex: 5_000, lastApplied: 5_000,
            firstIndex: 1, lastIndex: 5_000, leaderID: 1)
        change(&status)
        return status
    }

    private func answer(
        _ path: String, method: String = "GET", failure: String? = nil, _ status: NodeStatus
    ) async -> HTTPAnswer {
        await NodeHTTP(failure: { failure }, replica: { status }, status: { status }).answer(HTTPQuestion(method, path))
    }

    @Test func aNodeIsReadyWhenItCanAnswer() async {
        #expect(await answer("/readyz", status()).status == 200)
        #expect(await answer("/readyz", status { $0.leaderID = nil }).status == 503)
        #expect(await answer("/readyz", status { $0.role = .learner }).status == 503)
        #expect(await answer("/readyz", status { $0.condition = "waiting" }).status == 503)
        #expect(await answer("/readyz", status { $0.lastApplied = 4_000 }).status == 200)
        #expect(await answer("/readyz", status { $0.lastApplied = 3_999 }).status == 503)
        #expect(await answer("/readyz", failure: "the disk is broken", status()).status == 503)
    }

    @Test func aNodeLivesUntilItHasFailed() async {
        #expect(await answer("/healthz", status { $0.leaderID = nil }).status == 200)
        #expect(await answer("/healthz", failure: "the disk is broken", status()).status == 503)
        let failures: [NodeFailure] = [.cannotStart("its directory is of group 2"), .stopped(.noSpace(place: "/d"))]
        for (failure, words) in zip(failures, ["can't start: its directory is of group 2", "stopped: "]) {
            let answer = await answer("/healthz", failure: "\(failure)", status())
            guard case .bytes(let body) = answer.body else { continue }
            #expect(answer.status == 503 && String(decoding: body, as: UTF8.self).hasPrefix(words))
        }
    }

    @Test func mistakesAreAnswered() async {
        #expect(await answer("/", status()).status == 404)
        let answer = await answer("/metrics", method: "POST", status())
        #expect(answer.status == 405)
        #expect(answer.headers.contains { $0.name == "Allow" })
    }

    @Test func metricsHaveEtcdsNames() {
        var histogram = DurationHistogram()
        histogram.record(2_000_000)
        let text = MetricsPage.text(
            status {
                $0.role = .leader
                $0.leaderChanges = 3
                $0.fsync = histogram
            }, process: ProcessUsage())
        for line in [
            "flotilla_server_has_leader 1", "flotilla_server_is_leader 1",
            "flotilla_server_leader_changes_seen_total 3",
            "flotilla_server_proposals_committed_total 5000", "flotilla_server_proposals_applied_total 5000",
            "flotilla_disk_wal_fsync_duration_seconds_count 1", "flotilla_disk_wal_fsync_duration_seconds_sum 0.002",
        ] {
            #expect(text.contains("\n\(line)\n"), "\(line)")
        }
    }

    @Test func redirectsAreNoErrors() {
        let metrics = NodeMetrics()
        func answer(_ code: KvError.Code?) {
            let response = KvResponse(id: 1, code.map { .failed(KvError($0, "no")) } ?? .written(.put))
            metrics.answered(NodeMetrics.Pending(operation: .put, shard: 3, start: 5), response, at: 1_000_005)
        }
        for code: KvError.Code? in [nil, nil, .notLeader, .wrongGroup, .busy] { answer(code) }
        var status = status()
        metrics.complete(&status, pending: 7)
        let put = status.operations.first { $0.name == "put" }
        #expect(put?.latency.count == 2)
        #expect(put?.errors == 1)
        #expect(metrics.load(of: 3).writes == 2)
        #expect(metrics.load(of: 3).reads == 0)
        #expect(status.proposalsPending == 7)
    }

    @Test func theSameLeaderOfAnotherTermIsNoChange() {
        let metrics = NodeMetrics()
        func changes() -> UInt64 {
            var status = status()
            metrics.complete(&status, pending: 0)
            return status.leaderChanges
        }
        metrics.led(by: nil)
        #expect(changes() == 0)
        metrics.led(by: ReplicaID(1))
        metrics.led(by: ReplicaID(1))
        #expect(changes() == 1)
        metrics.led(by: nil)
        metrics.led(by: ReplicaID(1))
        #expect(changes() == 2)
    }
}
