import HTTPService
import RaftLog
import Telemetry
import Testing
import Wire

@testable import Server

/// `/metrics`, `/healthz`, `/readyz`.
@Suite struct NodeHTTPTests {
    private func status(_ change: (inout Flotilla_V1_NodeStatus) -> Void = { _ in }) -> Flotilla_V1_NodeStatus {
        var status = Flotilla_V1_NodeStatus()
        status.role = .follower
        status.leaderID = 1
        status.commitIndex = 5_000
        status.lastApplied = 5_000
        change(&status)
        return status
    }

    private func answer(
        _ path: String, method: String = "GET", failure: String? = nil, _ status: Flotilla_V1_NodeStatus
    ) async -> HTTPAnswer {
        await NodeHTTP(failure: { failure }, replica: { status }, status: { status }).answer(HTTPQuestion(method, path))
    }

    @Test func aNodeIsReadyWhenItCanAnswer() async {
        #expect(await answer("/readyz", status()).status == 200)
        #expect(await answer("/readyz", status { $0.clearLeaderID() }).status == 503)
        #expect(await answer("/readyz", status { $0.role = .learner }).status == 503)
        #expect(await answer("/readyz", status { $0.condition = "waiting" }).status == 503)
        #expect(await answer("/readyz", status { $0.lastApplied = 4_000 }).status == 200)
        #expect(await answer("/readyz", status { $0.lastApplied = 3_999 }).status == 503)
        #expect(await answer("/readyz", failure: "the disk is broken", status()).status == 503)
    }

    @Test func aNodeLivesUntilItHasFailed() async {
        #expect(await answer("/healthz", status { $0.clearLeaderID() }).status == 200)
        #expect(await answer("/healthz", failure: "the disk is broken", status()).status == 503)
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
                $0.metrics.leaderChanges = 3
                $0.metrics.diskSync = histogram.wire
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
        func answer(_ code: Flotilla_V1_ErrorCode?) {
            var response = Flotilla_V1_Response()
            if let code {
                response.error = Flotilla_V1_Error(code, "no")
            } else {
                response.put = Flotilla_V1_PutResult()
            }
            metrics.answered(NodeMetrics.Pending(operation: .put, shard: 3, start: 5), response, at: 1_000_005)
        }
        for code: Flotilla_V1_ErrorCode? in [nil, nil, .notLeader, .wrongGroup, .busy] { answer(code) }
        let put = metrics.wire(pending: 7, peers: []).operations.first { $0.operation == "put" }
        #expect(put.map { DurationHistogram($0.latency).count } == 2)
        #expect(put?.errors == 1)
        #expect(metrics.load(of: 3).writes == 2)
        #expect(metrics.load(of: 3).reads == 0)
        #expect(metrics.wire(pending: 7, peers: []).proposalsPending == 7)
    }

    @Test func theSameLeaderOfAnotherTermIsNoChange() {
        let metrics = NodeMetrics()
        metrics.led(by: nil)
        #expect(metrics.wire(pending: 0, peers: []).leaderChanges == 0)
        metrics.led(by: ReplicaID(1))
        metrics.led(by: ReplicaID(1))
        #expect(metrics.wire(pending: 0, peers: []).leaderChanges == 1)
        metrics.led(by: nil)
        metrics.led(by: ReplicaID(1))
        #expect(metrics.wire(pending: 0, peers: []).leaderChanges == 2)
    }
}
