/// Known defects of what decides about moves that are put back, for the simulator to find.
package enum MovePlant: Sendable {
    /// One member that has staged a shard is enough. (`GroupMachine.Plant.activatesUnstaged` besides: the log asks too.)
    case activatesUnstaged
    /// What a member has answered in an earlier round counts for this one.
    case countsEarlierRounds
    /// The source is asked to remove its copy as soon as the target has staged it.
    case collectsBeforeActivation
    /// A source that has waited for long serves again, whatever its target has decided.
    case unfreezesOnTimeout
    /// A source ends a move though it has frozen the shard for it. (`GroupMachine.Plant.abandonsFrozen` besides.)
    case abandonsFrozen
    /// Shards that the map calls blank are adopted again. (`GroupMachine.Plant.adoptsTwice` besides.)
    case adoptsTwice
    /// Nobody looks whether what has arrived is what was frozen.
    case skipsHashes
    /// The source removes its copy without a look at it.
    case collectsUncompared
}
