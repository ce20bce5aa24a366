internal import Bytes
public import Keyspace

/// What a dashboard is, and says of itself.
public struct DashboardSettings: Sendable, Equatable {
    /// Of the programs.
    public var version: String
    /// Whether it starts moves.
    public var allowActions: Bool
    /// Between observations.
    public var updateIntervalMs: UInt64

    public init(version: String, allowActions: Bool, updateIntervalMs: UInt64) {
        self.version = version
        self.allowActions = allowActions
        self.updateIntervalMs = updateIntervalMs
    }
}

/// A node that can be asked.
public struct NodePlace: Sendable, Equatable {
    public var gid: GroupID
    public var id: UInt64
    public var address: String
}

/// The cluster as the dashboard has seen it: the last of everything, since when something is missing, what happens in a
/// second, and what has happened so far.
///
/// A pure value: observations go in, answers come out. Nobody who sends nonsense can stop it.
public struct ClusterModel: Sendable {
    public let settings: DashboardSettings
    /// How many observations there have been.
    public private(set) var sequence: UInt64 = 0
    /// The time of the last one, in Unix milliseconds.
    public private(set) var observedAt: UInt64?
    /// The newest that was seen, made fit; it stays when no controller answers.
    public private(set) var config: HeldMap?
    private(set) var configError: String?
    private(set) var configMissingSince: UInt64?
    private var configSeenAt: UInt64 = 0

    private(set) var controller = GroupState(gid: 0, nodes: [])
    /// By gid.
    private(set) var groups: [GroupState] = []
    private var groupIndex: [GroupID: Int] = [:]

    private(set) var events = EventLog()
    private(set) var moveLog = MoveLog()
    private(set) var historyLog = HistoryLog()

    public init(settings: DashboardSettings) { self.settings = settings }

    func group(_ gid: GroupID) -> GroupState? {
        gid == .controller ? controller : groupIndex[gid].map { groups[$0] }
    }

    /// The controller, then all groups.
    var allGroups: [GroupState] { [controller] + groups }

    /// The nodes of a group (0: of the controller), by id.
    public func nodes(of gid: GroupID) -> [NodePlace] {
        (group(gid)?.nodes ?? []).map { NodePlace(gid: gid, id: $0.id, address: $0.address) }
    }

    /// How many members of a group vote.
    public func voterCount(of gid: GroupID) -> Int { group(gid)?.voterCount ?? 0 }

    // MARK: - Observing

    /// Takes over what was seen at one time. What has no time between it and the last observation, or was seen before
    /// it, counts as the present state, but gives no rates.
    public mutating func observe(_ observation: Observation) {
        let now = observation.at
        sequence += 1
        events.begin(at: now)
        observeConfig(observation.config, at: now)
        observeNodes(observation.nodes, at: now)
        observeTransfers()
        observedAt = now
        historyLog.add(sample(at: now))
    }

    private mutating func observeConfig(_ result: Observation.ConfigResult, at now: UInt64) {
        switch result {
        case .failed(let why):
            let error = why.isEmpty ? "no answer" : why.clipped
            if configError == nil {
                configMissingSince = now
                events.add(.controllerLost, .error, "the controller doesn't answer: \(error)")
            }
            configError = error
        case .answered(let next):
            if configError != nil {
                events.add(.controllerFound, .info, "the controller answers")
                configError = nil
                configMissingSince = nil
            }
            let isSameCluster = config?.map.clusterID == next.map.clusterID
            // A node of the controller that is behind may answer.
            if let config, isSameCluster, next.map.number < config.map.number { return }
            events.compare(config, next)
            if !isSameCluster { moveLog.forgetLive() }
            moveLog.observe(next.map, after: isSameCluster ? config?.map : nil, lastAt: configSeenAt, at: now, &events)
            config = next
            configSeenAt = now
        }
    }

    private mutating func observeNodes(_ nodes: [NodeObservation], at now: UInt64) {
        var answers: [GroupID: [String: NodeObservation.Result]] = [:]
        var controllers: [String] = []
        for node in nodes where answers[node.gid]?[node.address] == nil {
            answers[node.gid, default: [:]][node.address] = node.result
            if node.gid == .controller { controllers.append(node.address) }
        }
        var next: [GroupState] = []
        for (gid, group) in (config?.map.groups ?? [:]).sorted(by: { $0.key < $1.key }) {
            next.append(observed(gid, Self.once(group.addresses), answers[gid] ?? [:], at: now))
        }
        controller = observed(0, controllers, answers[0] ?? [:], at: now)
        groups = next
        groupIndex = Dictionary(uniqueKeysWithValues: next.enumerated().map { ($1.gid, $0) })
    }

    /// Each address once: a map may be a stranger's.
    private static func once(_ addresses: [String]) -> [String] {
        var seen: Set<String> = []
        return addresses.filter { !$0.isEmpty && seen.insert($0).inserted }
    }

    /// A group after this observation.
    private mutating func observed(
        _ gid: GroupID, _ addresses: [String], _ answers: [String: NodeObservation.Result], at now: UInt64
    ) -> GroupState {
        // Before its nodes have been asked, the controller is not one without a leader.
        let before = group(gid).flatMap { $0.nodes.isEmpty ? nil : $0 }
        var known: [String: NodeTrack] = [:]
        for node in before?.nodes ?? [] { known[node.address] = node }
        let presumed = before?.memberIDs ?? [:]
        let expected = Self.memberIDs(answers, of: gid)
        var owners: [UInt64: String] = [:]
        var nodes: [NodeTrack] = []
        for (place, address) in addresses.enumerated() {
            var node = known[address] ?? NodeTrack(gid: gid, address: address)
            var result = answers[address] ?? .failed("it was not asked")
            if case .answered(let report) = result {
                if let lie = lie(report, gid: gid, address: address, expected[address], owners) {
                    result = .failed(lie)
                } else {
                    owners[report.id] = address
                }
            }
            let presumedID = expected[address] ?? presumed[address]
            node.observe(result, place: UInt64(place), presumedID: presumedID, at: now)
            events.compare(known[address], node)
            nodes.append(node)
        }
        let after = GroupState(gid: gid, nodes: nodes)
        events.compare(before, after)
        return after
    }

    /// The ids at each address by the members that the leader of the highest term knows.
    private static func memberIDs(_ answers: [String: NodeObservation.Result], of gid: GroupID) -> [String: UInt64] {
        var leading: NodeStatus?
        for case .answered(let report) in answers.values where report.gid == gid && report.role == .leader {
            // Of two in one term, which can't be, always the same.
            if let leading, (leading.term, leading.id) >= (report.term, report.id) { continue }
            leading = report
        }
        var ids: [String: UInt64] = [:]
        for member in leading?.members ?? [] where ids[member.address] == nil { ids[member.address] = member.id }
        return ids
    }

    /// Why an answer isn't that of the node that was asked; `nil` if it is.
    ///
    /// A node's id is what its group's members say it is at its address. Its place in the config says nothing: after a
    /// change of members, the addresses of nodes 0, 2 and 3 have the places 0, 1 and 2.
    private func lie(
        _ report: NodeStatus, gid: GroupID, address: String, _ expected: UInt64?, _ owners: [UInt64: String]
    ) -> String? {
        let found = "node \(report.id) of \(GroupState.name(report.gid)) answers at \(address)"
        if report.gid != gid { return "\(found), not a node of \(GroupState.name(gid))" }
        let clusterID = config?.map.clusterID ?? []
        if !clusterID.isEmpty, !report.clusterID.isEmpty, report.clusterID != clusterID {
            return "\(found), but it belongs to another cluster, \(report.clusterID.hexadecimal.clipped)"
        }
        if let expected, expected != report.id { return "\(found), not node \(expected)" }
        if let other = owners[report.id] { return "\(found), and at \(other) too" }
        return nil
    }

    private mutating func observeTransfers() {
        for group in groups {
            let transfers = group.nodes.filter(\.answers).flatMap { $0.report?.transfers ?? [] }
            if !transfers.isEmpty { moveLog.observe(transfers, of: group.gid) }
        }
    }
}
