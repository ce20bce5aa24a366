internal import RaftLog
internal import Sharding

/// What a seed sets once: small limits, so that every path of flow control is walked, and the sizes of things.
struct Knobs {
    let driver: ReplicaDriver.Configuration
    let tickInterval: UInt64
    /// How often a node looks at the shard map and at what it has.
    let stepInterval: UInt64 = 60
    /// How long inputs may wait for others before a round takes them all.
    let roundDelayMax: UInt64
    /// How long the completion of a write may take from the disk to the driver.
    let completionDelayMax: UInt64
    let controllers: Int
    let groups: Int
    let shardCount: Int
    let clients: Int
    let keys: Int
    /// Milliseconds; short, so that sessions end during a run.
    let sessionLifetime: UInt64
    let attemptPatience: UInt64
    /// Milliseconds from one operation of a client to the next, at most.
    let clientPace: UInt64
    /// Operations that a client has under way, at most.
    let operationsMax: Int
    let changesMembers: Bool
    /// Milliseconds from one thing that the administrator does to the next, at most.
    let administratorPace: UInt64
    /// Rows of an export that are sent at once.
    let rowsInPiece: Int
    /// Bytes of changes that a source sends at once, about.
    let changesBytesMax: Int
    /// When a target has so little left to copy that it freezes.
    let copying: CopyLimits
    /// How much longer values are than they need to be.
    let padding: Int
    /// Requests that wait in a client for one of its streams, at most.
    let streamQueueMax: Int

    init(_ random: inout SplitMix64, _ options: World.Options) {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: values.indices, using: &random)] }
        // There it is the load that is out of the ordinary.
        let isHot = options.scenario == .hotShard
        var configuration = ReplicaDriver.Configuration()
        configuration.core.electionTimeout = 250
        configuration.core.heartbeatInterval = 50
        configuration.core.appendBytesMax = pick(isHot ? [8_192] : [120, 1_000, 8_192])
        configuration.core.inflightMessagesMax = pick(isHot ? [64] : [1, 3, 64])
        configuration.core.memoryBytesMax = pick([0, 2_000, 1 << 20])
        // What waits must be done with in bounded time, so a group that takes one entry at a time takes little in.
        let isSlow = configuration.core.appendBytesMax == 120 && configuration.core.inflightMessagesMax == 1
        configuration.core.unappliedBytesMax = isSlow ? 1_000 : pick([1_500, 20_000, 64 << 20])
        configuration.core.unappliedBytesMin = pick([0, 1_000, 16 << 20])
        configuration.core.urgentBytesMax = 4_000
        configuration.core.plant = options.plant?.inRaft
        configuration.retainedEntries = pick([6, 30, 10_000])
        configuration.applyBytesMax = pick(isHot ? [1 << 20] : [120, 1 << 20])
        configuration.logBytesMax = pick(isHot ? [4 << 20] : [120, 4 << 20])
        driver = configuration
        tickInterval = 10
        roundDelayMax = pick([0, 0, 1, 4])
        completionDelayMax = pick([0, 0, 2, 20])
        controllers = pick([1, 1, 2, 3, 3, 4, 5])
        groups = isHot ? 2 : min(pick([1, 2, 2, 3, 3, 4]), max(1, options.groupsMax))
        shardCount = isHot ? 1 : pick([1, 2, 5])
        clients = min(isHot ? 8 : pick([1, 2, 3, 4]), max(1, options.clientsMax))
        keys = isHot ? 40 : pick([1, 2, 4, 6])
        sessionLifetime = pick([1_200, 3_000, 20_000])
        attemptPatience = pick([60, 200, 700])
        clientPace = isHot ? 1 : pick([30, 80, 250])
        // Of callers there are 64, or 1,024.
        operationsMax = isHot ? pick([8, 128]) : pick([1, 3, 8])
        changesMembers = !isHot && Bool.random(using: &random)
        rowsInPiece = pick(isHot ? [50, 500] : [1, 3, 50])
        changesBytesMax = pick(isHot ? [8_192, 1 << 20] : [1, 200, 1 << 20])
        let left: UInt64 = pick(isHot ? [2_000, 20_000] : [0, 100, 1_000, 256 << 10])
        copying = CopyLimits(bytesLeftMax: left, bytesAllowedMin: left / 2)
        padding = pick(isHot ? [0, 60, 500] : [0, 0, 0, 500])
        streamQueueMax = pick([2, 1_000])
        administratorPace = isHot ? 100 : pick([250, 600, 1_500])
    }

    /// Replicas of a data group.
    static func replicas(_ random: inout SplitMix64) -> Int {
        [1, 2, 3, 3, 3, 3, 4, 5, 5, 7][Int.random(in: 0..<10, using: &random)]
    }
}
