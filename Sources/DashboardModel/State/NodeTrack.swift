internal import Keyspace
internal import Telemetry

/// What is known of one node: its last report, and since when it has been silent.
struct NodeTrack: Sendable, Equatable {
    let gid: GroupID
    let address: String
    /// Its place among the group's addresses.
    private(set) var place: UInt64
    /// The last one, which may be old.
    private(set) var report: NodeStatus?
    /// When the last report came, in Unix milliseconds.
    private(set) var lastSeen: UInt64?
    /// Between the last two reports; `nil` if there is only one, or if no time passed in between.
    private(set) var rates: NodeRates?
    /// Why it didn't answer this time; `nil` if it did.
    private(set) var error: String?
    private(set) var downSince: UInt64?
    /// By the last observation, its process is another one than before.
    private(set) var hasRestarted = false
    /// By the members that its group knows, as long as the node itself has said nothing.
    private(set) var presumedID: UInt64?

    init(gid: GroupID, address: String) {
        self.gid = gid
        self.address = address
        place = 0
    }

    var id: UInt64 { report?.id ?? presumedID ?? place }
    var answers: Bool { error == nil && report != nil }
    /// It answers, and works.
    var takesPart: Bool { answers && report?.takesPart == true }
    /// Shown while it answers: an old rate is none.
    var presentRates: NodeRates? { answers ? rates : nil }

    mutating func observe(_ result: NodeObservation.Result, place: UInt64, presumedID: UInt64?, at now: UInt64) {
        self.place = place
        self.presumedID = presumedID
        hasRestarted = false
        switch result {
        case .failed(let why):
            error = why.isEmpty ? "no answer" : why.clipped
            if downSince == nil { downSince = now }
        case .answered(var answer):
            answer.condition = answer.condition.clipped
            if let report, let lastSeen, report.id == answer.id {
                hasRestarted = Self.isAnotherLife(answer, than: report)
                let hasTimes = answer.takenAt != 0 && report.takenAt != 0
                let (from, to) = hasTimes ? (report.takenAt, answer.takenAt) : (lastSeen, now)
                rates =
                    to > from
                    ? NodeRates(from: hasRestarted ? nil : report, to: answer, seconds: Double(to - from) / 1000)
                    : nil
            } else {
                rates = nil
            }
            report = answer
            lastSeen = now
            error = nil
            downSince = nil
        }
    }

    /// Whether the process has begun anew: it says so, or, if it doesn't say when it began, its counters do.
    private static func isAnotherLife(_ later: NodeStatus, than earlier: NodeStatus) -> Bool {
        if later.startedAt != 0, earlier.startedAt != 0 { return later.startedAt != earlier.startedAt }
        return later.fsync.count < earlier.fsync.count || later.leaderChanges < earlier.leaderChanges
            || requests(later) < requests(earlier)
    }

    private static func requests(_ report: NodeStatus) -> UInt64 {
        report.operations.lazy.map(\.latency.count).total
    }
}
