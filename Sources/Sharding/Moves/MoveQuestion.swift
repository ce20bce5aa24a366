internal import Bytes
public import Keyspace
public import RaftLog

/// What a `MoveDriver` asks of the world, and what may come of it.
///
/// Each question may be asked again after a lost answer: who has done it before answers so at once.
public enum MoveQuestion: Sendable, Equatable {
    /// The controllers' map above a number, or the same after a while: `map`.
    case map(newerThan: UInt64?)
    /// What the leader's group has of every shard, with all that was committed before: `records`.
    case records
    /// What the leader's log has decided of a move, likewise: `decision`.
    case decision(ShardEpoch)
    /// A command for the own log: `done`, or a failure if it was void.
    case command(GroupCommand)
    /// Who leads a group, by the word of its nodes: `leader`.
    case leader([String])
    /// Have the source note what changes in a shard, or go on with that: `prepared`.
    case prepare(ShardEpoch, at: SourceGroup, CopyPace)
    /// Have the source freeze a shard: `frozen`.
    case freeze(ShardEpoch, at: SourceGroup)
    /// Have the source remove its copy, or serve again: `done`.
    case collect(ShardEpoch, ShardDecision, at: SourceGroup)
    /// Have a member of the own group stage a shard: `staged`.
    case stage(StageOrder, at: Member)
    /// Tell the controller how far a move is: `done`.
    case report(ShardEpoch, ControllerCommand.MoveEvent)
    /// Tell the controller who is in this group: `done`.
    case reportGroup(addresses: [String], membershipIndex: LogIndex, identity: [UInt8])
    /// Stage a shard on this replica: `staged`.
    case fetch(StageOrder)
    /// Fetch and install a snapshot of another node of the own group, at an address: `done`.
    case snapshot(from: ReplicaID, at: String, term: Term)
    /// Whether a session is due to end by now, in the leader: `sessionIsDue`.
    case sessions
    /// Forget staged shards that no entry can map any more: `undecided`, with those that one may.
    case sweep

    /// After so many milliseconds without an answer it is taken for failed. The carriers of questions have finer limits
    /// (nodes that are silent are given up in seconds); this one is for answers that are lost altogether.
    var patience: Milliseconds {
        switch self {
        case .map, .records, .decision, .command, .leader, .sessions, .report, .reportGroup: 60_000
        // A scan of a whole shard, at whichever of the source's nodes leads.
        case .prepare, .freeze, .collect: 600_000
        case .stage: 660_000
        // A copy of a whole shard or group, which ends by itself when its sender falls silent.
        // And two sweeps at once would drop one family twice.
        case .fetch, .snapshot, .sweep: 86_400_000
        }
    }
}

/// What came of a `MoveQuestion`.
public enum MoveAnswer: Sendable, Equatable {
    case done
    case map(ShardMap)
    case records([ShardID: ShardRecord])
    case decision(ShardDecision?)
    case leader(String?)
    /// With the address of whoever has answered, who leads.
    case prepared(PreparedShard, by: String?)
    case frozen(FrozenShard, by: String?)
    /// It is on the member's disk, or mapped by the log already.
    case staged(isActivated: Bool)
    case sessionIsDue(Bool)
    case undecided([ShardEpoch])
    case failed(Failure)

    public struct Failure: Sendable, Equatable, CustomStringConvertible {
        /// One sentence.
        public var reason: String
        /// Somebody who knows has refused, and would refuse again.
        public var isForGood: Bool
        /// It is being done already.
        public var isBusy: Bool

        public init(_ reason: String, isForGood: Bool = false, isBusy: Bool = false) {
            self.reason = reason
            self.isForGood = isForGood
            self.isBusy = isBusy
        }

        public var description: String { reason }
    }

    /// The failure that an answer is when it isn't the one that was asked for.
    var failure: Failure {
        if case .failed(let failure) = self { return failure }
        return Failure("the answer was of another question")
    }
}

/// What a `MoveDriver` has people know.
public enum MoveNote: Sendable, Equatable, CustomStringConvertible {
    case bringing(ShardEpoch, from: GroupID)
    case freezing(ShardEpoch, from: GroupID, bytesLeft: UInt64)
    case arrived(ShardEpoch, ShardHashes)
    case waits(ShardEpoch, from: GroupID, MoveAnswer.Failure)
    case mapNames([String])
    case addressesRefused(MoveAnswer.Failure)
    /// The controllers are of another cluster.
    case foreignControllers(theirs: [UInt8], own: [UInt8])
    case overruled(ShardEpoch, by: GroupID)
    /// The map gives this group a shard that it has handed over.
    case goneFromHere(ShardEpoch)
    case notAtSource(ShardEpoch, GroupID, MoveAnswer.Failure)
    case noSnapshot(ReplicaID, MoveAnswer.Failure)

    public var isError: Bool {
        switch self {
        case .foreignControllers, .overruled, .goneFromHere: true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .bringing(let shard, let gid): "bringing shard \(shard.shard) from group \(gid)"
        case .freezing(let shard, let gid, let bytes):
            "shard \(shard.shard) is copied, and is to be frozen in group \(gid) with \(bytes) bytes to follow"
        case .arrived(let shard, let hashes): "shard \(shard.shard) is here: \(hashes.user)"
        case .waits(let shard, let gid, let why): "move of shard \(shard.shard) from group \(gid) waits: \(why)"
        case .mapNames(let addresses): "the shard map now names \(addresses.joined(separator: ", "))"
        case .addressesRefused(let why): "the controller doesn't take this group's addresses: \(why)"
        case .foreignControllers(let theirs, let own):
            "the controllers answer for cluster \(theirs.hexadecimal), and this node belongs to \(own.hexadecimal); start it with the right ones"
        case .overruled(let shard, let gid):
            "group \(gid) serves shard \(shard.shard) under epoch \(shard.epoch), and this group knows nothing of the move: it was recovered by force; the shard is frozen here"
        case .goneFromHere(let shard):
            "the map gives shard \(shard.shard) back to this group under epoch \(shard.epoch), and its copy here was removed when its target had taken it over: nobody serves it; bring its target back, or restore it from a backup"
        case .notAtSource(let shard, let gid, let why):
            "shard \(shard.shard) can't be had from group \(gid): \(why)"
        case .noSnapshot(let member, let why): "no snapshot from node \(member): \(why)"
        }
    }
}
