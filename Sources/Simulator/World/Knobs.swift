internal import RaftLog

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

    init(_ random: inout SplitMix64, _ options: World.Options) {
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: values.indices, using: &random)] }
        var configuration = ReplicaDriver.Configuration()
        configuration.core.electionTimeout = 250
        configuration.core.heartbeatInterval = 50
        configuration.core.appendBytesMax = pick([120, 1_000, 8_192])
        configuration.core.inflightMessagesMax = pick([1, 3, 64])
        configuration.core.memoryBytesMax = pick([0, 2_000, 1 << 20])
        configuration.retainedEntries = pick([6, 30, 10_000])
        configuration.applyBytesMax = pick([120, 1 << 20])
        configuration.logBytesMax = pick([120, 4 << 20])
        driver = configuration
        tickInterval = 10
        roundDelayMax = pick([0, 0, 1, 4])
        completionDelayMax = pick([0, 0, 2, 20])
        controllers = pick([1, 1, 2, 3, 3, 5])
        groups = min(pick([1, 2, 2, 3, 3]), max(1, options.groupsMax))
        shardCount = pick([1, 2, 5])
        clients = min(pick([1, 2, 3, 4]), max(1, options.clientsMax))
        keys = pick([1, 2, 4, 6])
        sessionLifetime = pick([1_200, 3_000, 20_000])
        attemptPatience = pick([60, 200, 700])
        clientPace = pick([30, 80, 250])
        operationsMax = pick([1, 3, 8])
        changesMembers = Bool.random(using: &random)
        rowsInPiece = pick([1, 3, 50])
        administratorPace = pick([250, 600, 1_500])
    }

    /// Replicas of a data group.
    static func replicas(_ random: inout SplitMix64) -> Int { [1, 2, 3, 3, 5][Int.random(in: 0..<5, using: &random)] }
}
