/// What can be run by its seed, again and again: a group, or a whole cluster.
public protocol SimulatedRun: SendableMetatype {
    associatedtype Options: RunOptions
    associatedtype Report: RunReport
    /// Runs one seed. `trace` gets one line for each event.
    static func run(_ options: Options, trace: ((String) -> Void)?) -> Report
}

public protocol RunReport: Codable, Sendable {
    var seed: UInt64 { get }
    var violation: String? { get }
    var events: UInt64 { get }
    /// Milliseconds.
    var virtualTime: UInt64 { get }
    var summary: String { get }
    /// Counts another run in.
    mutating func add(_ other: Self)
}

/// What a run is made of, beside its seed: all of it can be made smaller, so that a finding comes with little around it.
public protocol RunOptions: Codable, Sendable {
    associatedtype Plant: PlantedBug
    init(seed: UInt64, plant: Plant?)
    var seed: UInt64 { get }
    var plant: Plant? { get }
    /// What differs from the seed's own run, in words that `reduce` takes.
    var reductions: [Reduction] { get }
    /// Makes the run smaller; false if the name or the value means nothing here.
    mutating func reduce(_ reduction: Reduction) -> Bool
    /// Runs with a little less in them, the boldest first.
    ///
    /// - Parameter report: what this run found.
    func smaller(after report: some RunReport) -> [Self]
    /// Puts the nodes on real disks; false if these are always in memory.
    mutating func use(_ disks: RealDisks) -> Bool
    /// Makes the run one about one thing; false if it knows no such scenario.
    mutating func use(scenario: String) -> Bool
}

extension RunOptions {
    public mutating func use(_ disks: RealDisks) -> Bool { false }
    public mutating func use(scenario: String) -> Bool { false }
}

/// `faulty-time=5000`, `skip=3+7`.
public struct Reduction: Sendable, Equatable {
    public var name: String
    public var values: [UInt64]

    public init(_ name: String, _ values: [UInt64]) {
        self.name = name
        self.values = values
    }

    public init(_ name: String, _ value: Int) { self.init(name, [UInt64(value)]) }

    /// Reads what `text` writes.
    public init?(text: String) {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        name = String(parts[0])
        values = []
        for part in parts[1].split(separator: "+", omittingEmptySubsequences: false) {
            guard let value = UInt64(part) else { return nil }
            values.append(value)
        }
    }

    public var text: String { name + "=" + values.map(String.init).joined(separator: "+") }

    /// Not beyond what a number of things, or of milliseconds, can be.
    var count: Int? { values.count == 1 && values[0] <= 1_000_000_000 ? Int(values[0]) : nil }
}

extension RunOptions {
    /// Each of `reductions` that this run can take, as a run of its own.
    func reduced(by candidates: [Reduction]) -> [Self] {
        candidates.compactMap { candidate in
            var options = self
            return options.reduce(candidate) ? options : nil
        }
    }

    /// Shorter times with faults: just long enough for what was found, and less than that.
    func shorterTimes(than time: UInt64, foundAt: UInt64) -> [UInt64] {
        [foundAt / 4, foundAt / 2, foundAt + 100, time / 2, time * 3 / 4].filter { $0 > 0 && $0 < time }
    }
}

extension Simulation: SimulatedRun {}
extension Simulation.Report: RunReport {}

extension Simulation.Options: RunOptions {
    public var reductions: [Reduction] {
        var reductions: [Reduction] = []
        let normal = Self(seed: seed)
        if faultyTime != normal.faultyTime { reductions.append(Reduction("faulty-time", [faultyTime])) }
        if healingTime != normal.healingTime { reductions.append(Reduction("healing-time", [healingTime])) }
        if let nodes { reductions.append(Reduction("nodes", nodes)) }
        if let faultsMax { reductions.append(Reduction("faults", faultsMax)) }
        if !skippedFaults.isEmpty { reductions.append(Reduction("skip", skippedFaults.map { UInt64($0) })) }
        if let requestsMax { reductions.append(Reduction("requests", requestsMax)) }
        if let changesMembers { reductions.append(Reduction("changes", changesMembers ? 1 : 0)) }
        return reductions
    }

    public mutating func reduce(_ reduction: Reduction) -> Bool {
        if reduction.name == "skip" {
            skippedFaults = reduction.values.compactMap { Int(exactly: $0) }
            return true
        }
        guard let count = reduction.count else { return false }
        switch reduction.name {
        case "faulty-time": faultyTime = UInt64(count)
        case "healing-time":
            guard count >= 8_000 else { return false }
            healingTime = UInt64(count)
        case "nodes":
            guard (1...9).contains(count) else { return false }
            nodes = count
        case "faults": faultsMax = count
        case "requests": requestsMax = count
        case "changes":
            guard count <= 1 else { return false }
            changesMembers = count == 1
        default: return false
        }
        return true
    }

    public func smaller(after report: some RunReport) -> [Self] {
        var candidates: [Reduction] = []
        let faults = (report as? Simulation.Report)?.faults ?? 0
        if changesMembers == nil { candidates.append(Reduction("changes", 0)) }
        if nodes == nil { candidates.append(Reduction("nodes", 3)) }
        for time in shorterTimes(than: faultyTime, foundAt: report.virtualTime) {
            candidates.append(Reduction("faulty-time", [time]))
        }
        for count in [0, faults / 2, faults * 3 / 4, faults - 1] where count >= 0 && count < faultsMax ?? .max {
            candidates.append(Reduction("faults", count))
        }
        for count in [0, 10, 50, 200] where count < requestsMax ?? .max {
            candidates.append(Reduction("requests", count))
        }
        for fault in (0..<min(faults, faultsMax ?? .max)).reversed() where !skippedFaults.contains(fault) {
            candidates.append(Reduction("skip", (skippedFaults + [fault]).sorted().map { UInt64($0) }))
        }
        return reduced(by: candidates)
    }
}
