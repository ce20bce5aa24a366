internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What nodes ask each other beside Raft's messages, as `PeerCalls`, `ExportFetch` and `ControllerLink` do.
enum PeerQuestion {
    /// Who a founder of this group is.
    case identify(GroupID, from: ReplicaID)
    /// Of a controller: the map above a number, or the same after a while.
    case map(newerThan: UInt64?)
    /// Of a controller: a command for its log.
    case command([UInt8])
    /// The address of the group's leader.
    case whoLeads
    /// Of the source of a move.
    case source(SourceQuestion, Party)
    /// Of a member of the own group, in this life.
    case stage(StageOrder, life: Incarnation)
    case openExport(ShardEpoch, Party)
    /// What has changed in a shard that is on the move.
    case changes(ShardEpoch, Party, after: LogIndex)
    /// Rows of an export from this one on.
    case readExport(UInt64, from: Int)
    case closeExport(UInt64)
    /// A snapshot of the group for the member of this life.
    case snapshot(for: Incarnation)
}

enum PeerAnswer {
    case identified(NodeCore.Identified)
    case map(ShardMap)
    case done
    case leader(String?)
    case prepared(PreparedShard)
    case frozen(FrozenShard)
    case changes(ShardChanges, checksum: ContentHash)
    case staged(isActivated: Bool)
    case export(ExportOffer)
    /// Rows of an export; none: that was all.
    case rows([FamilyRow])
    case snapshot(SnapshotHeader, [[FamilyRow]])
}

typealias FamilyRow = (key: [UInt8], value: [UInt8])

/// An export that lies ready, and what its receiver needs to know of it.
struct ExportOffer {
    var id: UInt64
    /// Of all rows; `nil`: the shard has no family.
    var contentHash: String?
    var count = 0
    /// What the source had applied.
    var through: LogIndex = 0
}

struct PeerFailure: Error {
    /// Somebody who knows Flotilla has answered.
    var refusal: KvError?
    var reason: String
    /// The node answers nothing at all.
    var isSilent = false

    init(_ refusal: KvError) {
        self.refusal = refusal
        reason = refusal.message
    }

    init(_ reason: String, isSilent: Bool = false) {
        self.reason = reason
        self.isSilent = isSilent
    }
}

typealias PeerResult = Result<PeerAnswer, PeerFailure>
/// What becomes of an answer.
typealias PeerContinuation = (inout World, PeerResult) throws -> Void

/// One question that is under way.
struct PeerCall {
    let from: Int
    /// Of whoever has asked: nobody waits any more after a restart.
    let life: UInt64
    let to: Int
    /// Of whoever is asked: a connection ends with its process.
    let toLife: UInt64
    let until: UInt64
    /// Whoever asks looks whether the other is alive.
    let isWatched: Bool
    /// Signs of life in a row that were missed.
    var misses = 0
    /// The question or its answer is lost, with the connection.
    var isBroken = false
    let then: PeerContinuation
}
