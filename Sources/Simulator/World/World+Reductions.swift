extension World: SimulatedRun {}
extension World.Report: RunReport {}

/// Fewer clients, groups, faults and actions of people, and a shorter time with faults.
extension World.Options: RunOptions {
    private static var counts: [(name: String, path: WritableKeyPath<Self, Int>)] {
        [("clients", \.clientsMax), ("groups", \.groupsMax), ("faults", \.faultsMax), ("actions", \.actionsMax)]
    }
    /// What a seed draws at most of each; from there on it is made smaller.
    private static let most = ["clients": 8, "groups": 4, "faults": 64, "actions": 64]

    public var reductions: [Reduction] {
        let counts = Self.counts.compactMap { name, path in
            self[keyPath: path] == .max ? nil : Reduction(name, self[keyPath: path])
        }
        return counts + (faultyTime == Self(seed: seed).faultyTime ? [] : [Reduction("faulty-time", [faultyTime])])
    }

    public mutating func reduce(_ reduction: Reduction) -> Bool {
        guard let count = reduction.count else { return false }
        if reduction.name == "faulty-time" {
            faultyTime = UInt64(count)
            return true
        }
        guard let path = Self.counts.first(where: { $0.name == reduction.name })?.path else { return false }
        self[keyPath: path] = count
        return true
    }

    public func smaller(after report: some RunReport) -> [Self] {
        var candidates: [Reduction] = []
        for (name, path) in Self.counts {
            let present = min(self[keyPath: path], Self.most[name] ?? 0)
            // A cluster without clients or groups finds nothing.
            let least = name == "clients" || name == "groups" ? 1 : 0
            for count in [least, present / 4, present / 2, present - 1]
            where count >= least && count < self[keyPath: path] && count < present {
                candidates.append(Reduction(name, count))
            }
        }
        let times = shorterTimes(than: faultyTime, foundAt: report.virtualTime).map { Reduction("faulty-time", [$0]) }
        return reduced(by: times + candidates)
    }

    public mutating func use(scenario: String) -> Bool {
        guard let known = World.Scenario(rawValue: scenario) else { return false }
        use(known)
        return true
    }

    mutating func use(_ scenario: World.Scenario) {
        self.scenario = scenario
        // What is asked for is much, and its histories are long.
        faultyTime = 7_000
    }

    public mutating func use(_ disks: RealDisks) -> Bool {
        self.disks = disks
        return true
    }
}
