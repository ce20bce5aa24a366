internal import RaftLog

/// What a seed sets once: small limits, so that every path of flow control is walked, and how quickly things happen.
struct GroupKnobs {
    let driver: ReplicaDriver.Configuration
    let tickInterval: UInt64 = 10
    /// How many repeated messages are seconds old.
    let latePercent: UInt64
    /// How long inputs may wait for others before a round takes them all.
    let roundDelayMax: UInt64
    /// How long the completion of a write may take from the disk to the driver.
    let completionDelayMax: UInt64
    /// Members in the beginning.
    let nodes: Int
    /// The operator adds and removes members, and at most so many milliseconds pass before the next step.
    let changesMembers: Bool
    let operatorPace: UInt64
    /// How readily a replica that lacks something fetches it.
    let fetchPercent: UInt64

    init(_ options: Simulation.Options, _ random: inout SplitMix64) {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: values.indices, using: &random)] }
        var configuration = ReplicaDriver.Configuration()
        configuration.core.electionTimeout = 200
        configuration.core.heartbeatInterval = 40
        configuration.core.appendBytesMax = pick([48, 200, 4096])
        configuration.core.inflightMessagesMax = pick([1, 3, 64])
        configuration.core.memoryBytesMax = pick([0, 400, 1 << 20])
        // What waits must be done with in bounded time, so a group that takes one entry at a time takes little in.
        let isSlow = configuration.core.appendBytesMax == 48 && configuration.core.inflightMessagesMax == 1
        let most = pick([600, 64 << 20, 64 << 20])
        configuration.core.unappliedBytesMax = isSlow ? 600 : most
        configuration.core.urgentBytesMax = 400
        configuration.retainedEntries = pick([4, 20, 10_000])
        configuration.applyBytesMax = pick([48, 1 << 20])
        configuration.logBytesMax = pick([48, 4 << 20])
        configuration.core.plant = options.plant?.inCore
        driver = configuration
        latePercent = pick([10, 20, 70])
        roundDelayMax = pick([0, 0, 1, 4])
        completionDelayMax = pick([0, 0, 2, 20])
        operatorPace = pick([300, 4_000])
        fetchPercent = pick([1, 10])
        let drawn = (nodes: pick([3, 3, 5, 5, 4]), changes: pick([true, false]))
        nodes = options.nodes ?? drawn.nodes
        changesMembers = options.changesMembers ?? drawn.changes
    }
}
